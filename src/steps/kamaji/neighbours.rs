//! Which control planes have a schema in a DataStore: two of one schema overwrite each other.
use anyhow::Result;

use crate::{
    adapters::{
        kamaji::{TenantControlPlane, all_tenants},
        kube::{Cluster, Selector, list_all},
    },
    steps::Place,
};

/// Control planes that have this schema, or log in as this user, in a DataStore: with everything or with some kinds
/// (`spec.dataStoreOverrides`), now or as soon as Kamaji is through. Default names collided in older releases.
pub(super) async fn holders(
    cluster: &Cluster,
    data_store: &str,
    schema: &str,
    user: Option<&str>,
) -> Result<Vec<TenantControlPlane>> {
    let mut found = Vec::new();
    for object in list_all(&all_tenants(cluster), &Selector::all()).await? {
        let tenant = TenantControlPlane::new(object)?;
        let setup = &tenant.status.storage.setup;
        let same = tenant.schema() == schema || user.is_some_and(|user| setup.user == user);
        if same && tenant.is_in(data_store) {
            found.push(tenant);
        }
    }
    Ok(found)
}

/// Where a control plane is.
pub(super) fn home_of(cluster: &Cluster, tenant: &TenantControlPlane) -> Place {
    Place {
        cluster: cluster.clone(),
        namespace: tenant.object.metadata.namespace.clone().unwrap_or_default(),
        remote: false,
    }
}

/// `namespace/name`.
pub(super) fn named(tenant: &TenantControlPlane) -> String {
    let metadata = &tenant.object.metadata;
    format!(
        "{}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}
