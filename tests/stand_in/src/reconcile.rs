//! One look at a tenant, and what follows from it.
use anyhow::{Context as _, Result, bail};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    api::{self, DataStore, Tenant},
    cluster::Cluster,
    control_plane, migration, pki, removal, status, storage,
    store::Store,
};

/// Brings a tenant one step nearer to what it wishes.
pub async fn reconcile(cluster: &Cluster, tenant: &Tenant) -> Result<()> {
    if api::is_paused(tenant) {
        return Ok(());
    }
    if tenant.metadata.deletion_timestamp.is_some() {
        return removal::remove(cluster, tenant).await;
    }
    hold(cluster, tenant).await?;
    let wanted = wanted(cluster, tenant).await?;
    let used = api::status(tenant).storage.data_store_name;
    if used.is_some_and(|used| used != wanted.name_any())
        && !Box::pin(migration::is_done(cluster, tenant, &wanted.name_any())).await?
    {
        return Ok(());
    }
    let store = Store::of(&cluster.client, &wanted).await?;
    let address = control_plane::settle_service(cluster, tenant).await?;
    pki::settle(cluster, tenant, &address).await?;
    let certificate = storage::settle(cluster, tenant, &store).await?;
    let deployment =
        control_plane::settle_deployment(cluster, tenant, &store, &certificate).await?;
    status::tell(cluster, tenant, &address, &deployment).await
}

/// The store that the tenant wishes to be on.
pub async fn wanted(cluster: &Cluster, tenant: &Tenant) -> Result<DataStore> {
    let wished = tenant.spec.data_store.as_deref();
    let name = wished.filter(|name| !name.is_empty());
    let name = name.unwrap_or(&cluster.datastore);
    let found = cluster.datastores().get_opt(name).await?;
    let store = found.with_context(|| format!("datastore {name} does not exist"))?;
    if !store.status.as_ref().is_some_and(|status| status.ready) {
        bail!("datastore {name} is not ready");
    }
    Ok(store)
}

async fn hold(cluster: &Cluster, tenant: &Tenant) -> Result<()> {
    if tenant
        .finalizers()
        .iter()
        .any(|one| one == removal::FINALIZER)
    {
        return Ok(());
    }
    let finalizers: Vec<_> = [tenant.finalizers(), &[removal::FINALIZER.to_owned()]].concat();
    let change = json!({"metadata": {
        "finalizers": finalizers, "resourceVersion": tenant.resource_version(),
    }});
    cluster
        .tenants(&api::namespace(tenant)?)
        .patch(
            &tenant.name_any(),
            &PatchParams::default(),
            &Patch::Merge(change),
        )
        .await?;
    Ok(())
}
