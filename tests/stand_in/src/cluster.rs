//! Kamaji's own cluster: who we are in it, and how objects get there.
use std::{collections::BTreeMap, fmt::Debug};

use anyhow::{Context as _, Result};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{self, DataStore, Tenant};

/// In whose name fields are held.
const MANAGER: &str = "kamaji";

/// The controller's place in its cluster.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// The controller's own namespace, in which its Jobs run.
    pub namespace: String,
    pub service_account: String,
    /// The image of the Jobs.
    pub migrate_image: String,
    /// The image of the tenants' API servers.
    pub control_plane_image: String,
    /// The image of what stands between them and all stores but etcd.
    pub kine_image: String,
    /// The store of tenants that name none.
    pub datastore: String,
    /// The authority of our webhooks' certificate.
    pub webhook_authority: String,
}

impl Cluster {
    /// The tenants of one namespace.
    pub fn tenants(&self, namespace: &str) -> Api<Tenant> {
        Api::namespaced_with(self.client.clone(), namespace, &api::tenants())
    }

    /// The tenants of all namespaces.
    pub fn all_tenants(&self) -> Api<Tenant> {
        Api::all_with(self.client.clone(), &api::tenants())
    }

    /// The stores.
    pub fn datastores(&self) -> Api<DataStore> {
        Api::all_with(self.client.clone(), &api::datastores())
    }

    /// Objects of a namespace.
    pub fn of<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Merges `change` into a tenant's status.
    pub async fn say(&self, tenant: &Tenant, change: Value) -> Result<()> {
        self.tenants(&api::namespace(tenant)?)
            .patch_status(
                &tenant.name_any(),
                &PatchParams::default(),
                &Patch::Merge(json!({"status": change})),
            )
            .await
            .with_context(|| format!("failed to update the status of {}", tenant.name_any()))?;
        Ok(())
    }
}

/// Makes an object, or makes it what it should be.
pub async fn apply<K>(api: &Api<K>, object: &Value) -> Result<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    api.patch(
        name,
        &PatchParams::apply(MANAGER).force(),
        &Patch::Apply(object),
    )
    .await
    .with_context(|| format!("failed to apply {} {name}", object["kind"]))
}

/// A Secret's content, if it is there.
pub async fn secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, ByteString>>> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = secrets
        .get_opt(name)
        .await
        .with_context(|| format!("failed to read secret {namespace}/{name}"))?;
    Ok(found.map(|secret| secret.data.unwrap_or_default()))
}

/// One text of a Secret's content.
pub fn text(content: &BTreeMap<String, ByteString>, key: &str) -> Option<String> {
    let bytes = &content.get(key)?.0;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// A Secret that belongs to a tenant.
pub fn secret_of(tenant: &Tenant, name: &str, content: &[(&str, &str)]) -> Value {
    let data: BTreeMap<_, _> = content
        .iter()
        .map(|(key, text)| (*key, ByteString(text.as_bytes().to_vec())))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata(tenant, name), "data": data,
    })
}

/// The metadata of what belongs to a tenant: it goes when the tenant goes.
pub fn metadata(tenant: &Tenant, name: &str) -> Value {
    json!({
        "name": name, "namespace": tenant.namespace(), "labels": labels(tenant),
        "ownerReferences": [{
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
            "name": tenant.name_any(), "uid": tenant.uid(),
            "controller": true, "blockOwnerDeletion": true,
        }],
    })
}

/// Now, to the second, as Kubernetes writes it.
pub fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now)
}

/// The labels of what belongs to a tenant.
pub fn labels(tenant: &Tenant) -> Value {
    json!({"kamaji.clastix.io/name": tenant.name_any()})
}
