//! What a migration is about: the workload, its volumes, and what its pods refer to.
//!
//! It is taken once, by the step `preflight`, and kept in the journal: later the workload is scaled to 0
//! and could no longer tell how many pods it had.
mod claims;
mod references;
mod source;

use anyhow::Result;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::api::{Api, ApiResource, DynamicObject};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Place;
use crate::{
    adapters::kube::{KubeError, Selector, get_opt, list_all},
    engine::{Failure, Kind},
    marks::ORIGINAL,
    plan::{Plan, Quantity, Workload},
};

pub(super) use claims::uses;
pub use claims::{Mode, Use, Volume, replicas};
pub use references::{Reference, references};
pub use source::{Now, Part};

/// What a migration is about, as it was when it began.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// The workload as the server had it, with its own fields only; null for a single volume.
    pub workload: Value,
    /// How many pods it is to have.
    pub replicas: u32,
    /// The volumes to be copied, in order of pod and claim.
    pub volumes: Vec<Volume>,
    /// Claims that look like the workload's and belong to no pod of it: they are not copied.
    pub left_out: Vec<String>,
}

/// There is nothing to do: the volumes are as the plan wants them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AsWanted(pub String);

impl Inventory {
    /// Whether its pods have claims: by templates, or by name.
    fn has_claims(&self) -> bool {
        let spec = &self.workload["spec"];
        let named = spec["template"]["spec"]["volumes"].as_array();
        spec["volumeClaimTemplates"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
            || named
                .into_iter()
                .flatten()
                .any(|volume| volume["persistentVolumeClaim"].is_object())
    }

    /// The capacity of all source volumes in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.volumes.iter().map(|volume| volume.capacity).sum()
    }

    /// The source's claims.
    #[must_use]
    pub fn claims(&self) -> Vec<String> {
        self.volumes
            .iter()
            .map(|volume| volume.source.clone())
            .collect()
    }

    /// Takes the inventory of a StatefulSet, which must have volumes.
    pub async fn of_statefulset(plan: &Plan, source: &Place, name: &str) -> Result<Self> {
        let workload = Workload::StatefulSet(name.to_owned());
        let inventory = Self::of_workload(plan, source, &workload).await?;
        if !inventory.volumes.is_empty() {
            return Ok(inventory);
        }
        let object = source.object("statefulset", name);
        let pods = claims::replicas(&inventory.workload);
        if plan.is_in_place() && pods > 0 && inventory.has_claims() {
            let why = format!("{object} unchanged: its volumes have that class and size");
            return Err(AsWanted(why).into());
        }
        let namespace = &source.namespace;
        let templates = &inventory.workload["spec"]["volumeClaimTemplates"];
        let note = &inventory.workload["metadata"]["annotations"][ORIGINAL];
        let why = if templates.as_array().is_none_or(Vec::is_empty) {
            format!(
                "{object} has no volumes of its own: there is no state to move, its manifest alone is enough (`kubectl get statefulset {name} -n {namespace} -o yaml`)"
            )
        } else if note.is_null() {
            format!(
                "{object} is scaled to 0, so that it does not tell which of its volumes count: scale it to what it is to have there (`kubectl scale statefulset {name} -n {namespace} --replicas N`)"
            )
        } else {
            format!(
                "{object} is scaled to 0, because another migration froze it: end that first, or roll it back (`kubectl migrate status -n {namespace}` shows it)"
            )
        };
        Err(Failure::new(Kind::Blocked, why).into())
    }

    /// Takes the inventory of a workload.
    pub async fn of_workload(plan: &Plan, source: &Place, workload: &Workload) -> Result<Self> {
        let name = workload.name();
        let object = source.object(workload.kind(), name);
        let resource = match workload {
            Workload::StatefulSet(_) => ApiResource::erase::<StatefulSet>(&()),
            Workload::Deployment(_) => ApiResource::erase::<Deployment>(&()),
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(source.cluster.client(), &source.namespace, &resource);
        let workload = get_opt(&api, name).await?.ok_or_else(|| {
            let plural = &resource.plural;
            let namespace = &source.namespace;
            Failure::new(Kind::Blocked, format!("{object} does not exist")).with_next(
                format!(
                    "kubectl get {plural} -n {namespace} --context {}",
                    source.cluster.context()
                ),
                "shows what does",
            )
        })?;
        let workload = serde_json::to_value(workload)?;
        let pods = pods_of(source).await?;
        let claims = list_all(&source.api::<PersistentVolumeClaim>(), &Selector::all()).await?;
        let (volumes, left_out) =
            claims::of_statefulset(plan, &object, name, &workload, &claims, &pods)?;
        Ok(Self {
            replicas: claims::replicas(&workload),
            workload,
            volumes,
            left_out,
        })
    }

    /// Takes the inventory of a single volume.
    pub async fn of_claim(plan: &Plan, source: &Place, name: &str) -> Result<Self> {
        let claim = source
            .api::<PersistentVolumeClaim>()
            .get_opt(name)
            .await
            .map_err(KubeError::from)?
            .ok_or_else(|| {
                let object = source.object("persistentvolumeclaim", name);
                let (namespace, context) = (&source.namespace, source.cluster.context());
                Failure::new(Kind::Blocked, format!("{object} does not exist")).with_next(
                    format!("kubectl get pvc -n {namespace} --context {context}"),
                    "shows what does",
                )
            })?;
        let pods = pods_of(source).await?;
        let target = plan
            .spec
            .target
            .pvc
            .clone()
            .unwrap_or_else(|| name.to_owned());
        let size: Option<Quantity> = plan.spec.target.size.clone();
        let class = plan.spec.target.storage_class.clone();
        Ok(Self {
            workload: Value::Null,
            replicas: 0,
            volumes: vec![claims::volume(
                &claim,
                target,
                class,
                size,
                &pods,
                plan.spec.target.context.is_some(),
            )?],
            left_out: Vec::new(),
        })
    }
}

async fn pods_of(place: &Place) -> Result<Vec<Pod>, KubeError> {
    list_all(&place.api::<Pod>(), &Selector::all()).await
}
