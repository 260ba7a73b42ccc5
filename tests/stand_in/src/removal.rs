//! The end of a tenant.
use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    api::{self, Tenant},
    cluster::Cluster,
    driver,
    storage::{self, Share},
    store::Store,
};

/// Holds a tenant until its store is cleaned up.
pub const FINALIZER: &str = "finalizer.kamaji.clastix.io";

/// Cleans up the store that the tenant wished to be on, even if its data is still on another one.
pub async fn remove(cluster: &Cluster, tenant: &Tenant) -> Result<()> {
    if !tenant.finalizers().iter().any(|one| one == FINALIZER) {
        return Ok(());
    }
    let name = tenant
        .spec
        .data_store
        .as_deref()
        .unwrap_or(&cluster.datastore);
    if let Some(found) = cluster.datastores().get_opt(name).await? {
        let store = Store::of(&cluster.client, &found).await?;
        let share = Share::of(tenant)?;
        driver::tear_down(&store, &share).await?;
    }
    let namespace = api::namespace(tenant)?;
    let secrets = cluster.of::<Secret>(&namespace);
    let config = storage::config(tenant);
    if secrets.get_opt(&config).await?.is_some() {
        release(&secrets, &config).await?;
    }
    release(&cluster.tenants(&namespace), &tenant.name_any()).await
}

/// Nothing of Kamaji's holds it any longer.
async fn release<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let ours = [FINALIZER, storage::FINALIZER];
    let found = api.get(name).await?;
    let others: Vec<_> = found
        .finalizers()
        .iter()
        .filter(|one| !ours.contains(&&***one))
        .collect();
    let change = json!({"metadata": {
        "finalizers": others, "resourceVersion": found.resource_version(),
    }});
    api.patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await?;
    Ok(())
}
