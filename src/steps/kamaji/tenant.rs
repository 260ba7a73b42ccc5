use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use serde::{Deserialize, Serialize};

use crate::{
    adapters::{
        datastore::Driver,
        kamaji::{TenantControlPlane, tenants},
        kube::get_opt,
    },
    engine::{Failure, Kind},
    plan::Plan,
    steps::Place,
};

/// A tenant as it was when the migration began: after the switch its control plane tells of the target.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// The control plane's name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// What its stores are.
    pub driver: Driver,
    /// The DataStore that it uses.
    pub source: String,
    /// The DataStore that it is to use.
    pub target: String,
    /// Its key prefix, database or bucket.
    pub schema: String,
    /// Its user in the store.
    pub user: String,
    /// How many API servers it is to have.
    pub replicas: i32,
    /// The version of its Kubernetes, `v1.33.0`.
    pub version: String,
    /// Its Deployment.
    pub deployment: String,
    /// What selects its pods, `key=value,…`.
    pub selector: String,
    /// The Secret of its administrator's kubeconfig.
    pub kubeconfig_secret: String,
    /// The key in it.
    pub kubeconfig_key: String,
}

impl Tenant {
    /// Reads a tenant from its control plane, as the plan names it.
    pub async fn of_plan(plan: &Plan, place: &Place) -> Result<Self> {
        let name = plan.spec.source.tenant_control_plane.clone();
        let target = plan.spec.target.data_store.clone().unwrap_or_default();
        Self::of(place, &name.unwrap_or_default(), target).await
    }

    /// Reads a tenant that is to go nowhere.
    pub(super) async fn as_it_is(place: &Place, name: &str) -> Result<Self> {
        Self::of(place, name, String::new()).await
    }

    async fn of(place: &Place, name: &str, target: String) -> Result<Self> {
        let control_plane = read(place, name).await?;
        let object = place.object("tenantcontrolplane", name);
        let status = &control_plane.status;
        let storage = &status.storage;
        ensure!(
            !storage.data_store_name.is_empty() && !storage.setup.schema.is_empty(),
            Failure::new(
                Kind::Blocked,
                format!(
                    "{object} does not say yet which DataStore and schema it uses: wait until it is Ready"
                ),
            )
        );
        let deployment = status.kubernetes_resources.deployment.name.clone();
        Ok(Self {
            selector: selector(place, &deployment).await?,
            uid: control_plane.uid().to_owned(),
            driver: storage.driver.parse().map_err(|why: String| {
                Failure::new(
                    Kind::Blocked,
                    format!("{object}: status.storage.driver: {why}"),
                )
            })?,
            source: storage.data_store_name.clone(),
            target,
            schema: storage.setup.schema.clone(),
            user: storage.setup.user.clone(),
            replicas: control_plane.spec.control_plane.deployment.replicas,
            version: status.kubernetes_resources.version.version.clone(),
            deployment,
            kubeconfig_secret: status.kubeconfig.admin.secret_name.clone(),
            kubeconfig_key: control_plane.kubeconfig_key().to_owned(),
            name: name.to_owned(),
        })
    }
}

/// The DataStore that a control plane uses; none while it wants another one.
pub async fn settled_in(place: &Place, name: &str) -> Result<Option<String>> {
    let found = read(place, name).await?;
    let uses = found.status.storage.data_store_name;
    Ok((found.spec.data_store == uses).then_some(uses))
}

/// What selects the pods of a Deployment.
async fn selector(place: &Place, name: &str) -> Result<String> {
    find_selector(place, name).await?.ok_or_else(|| {
        Failure::new(
            Kind::Blocked,
            format!(
                "{} does not exist, or selects no pods by their labels: wait until the control plane is Ready",
                place.object("deployment", name)
            ),
        )
        .into()
    })
}

/// What selects the pods of a Deployment; none where there is none, or it has no labels.
pub(super) async fn find_selector(place: &Place, name: &str) -> Result<Option<String>> {
    // No object has an empty name: the control plane never came to make one.
    if name.is_empty() {
        return Ok(None);
    }
    let found = get_opt(&place.api::<Deployment>(), name).await?;
    let labels = found
        .and_then(|found| found.spec)
        .and_then(|spec| spec.selector.match_labels)
        .unwrap_or_default();
    let pairs: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Ok((!pairs.is_empty()).then(|| pairs.join(",")))
}

/// A control plane that must be there.
pub(super) async fn read(place: &Place, name: &str) -> Result<TenantControlPlane> {
    let api = tenants(&place.cluster, &place.namespace);
    let found = get_opt(&api, name).await?.ok_or_else(|| {
        let object = place.object("tenantcontrolplane", name);
        let (namespace, context) = (&place.namespace, place.cluster.context());
        Failure::new(Kind::Blocked, format!("{object} does not exist")).with_next(
            format!("kubectl get tenantcontrolplanes -n {namespace} --context {context}"),
            "shows what does",
        )
    })?;
    Ok(TenantControlPlane::new(found)?)
}

impl super::Switch {
    /// The control plane as it is now: the same object that the migration began with.
    pub(super) async fn control_plane(&self) -> Result<TenantControlPlane> {
        let found = read(&self.place, &self.tenant.name).await?;
        ensure!(
            found.uid() == self.tenant.uid,
            Failure::new(
                Kind::Blocked,
                format!(
                    "{} was deleted and made anew since this migration began: nothing is changed on the new one",
                    self.shown()
                )
            )
        );
        Ok(found)
    }
}
