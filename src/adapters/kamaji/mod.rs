//! Kamaji's objects, as far as a switch of a tenant's datastore reads and changes them.
//!
//! Field names and meanings: `kamaji.clastix.io/v1alpha1`. What is not named here is kept as the server has it.
mod content;
mod credentials;
mod data_store;
mod tenant;

use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};

pub use content::{Content, Source, Unusable};
pub use credentials::{Credentials, read as read_credentials};
pub use data_store::DataStore;
pub use tenant::{Status, TenantControlPlane};

use super::kube::{Cluster, KubeError};

/// The API group.
pub const GROUP: &str = "kamaji.clastix.io";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// The annotation whose presence alone stops the controller from doing anything for a tenant.
pub const PAUSED: &str = "kamaji.clastix.io/paused";
/// Prefix of the annotations that only mean something to the migration Job.
pub const CLEANUP_PRIOR_MIGRATION: &str = "kamaji.clastix.io/cleanup-prior-migration";
/// How long the migration Job may take, a Go duration.
pub const MIGRATION_TIMEOUT: &str = "kamaji.clastix.io/migration-timeout";
/// The label of a control plane's pods that says which store they use.
pub const POD_DATA_STORE: &str = "component.kamaji.clastix.io/datastore";

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural)
}

/// The tenants' control planes of a namespace.
#[must_use]
pub fn tenants(cluster: &Cluster, namespace: &str) -> Api<DynamicObject> {
    let resource = resource("TenantControlPlane", "tenantcontrolplanes");
    Api::namespaced_with(cluster.client(), namespace, &resource)
}

/// The tenants' control planes of all namespaces.
#[must_use]
pub fn all_tenants(cluster: &Cluster) -> Api<DynamicObject> {
    let resource = resource("TenantControlPlane", "tenantcontrolplanes");
    Api::all_with(cluster.client(), &resource)
}

/// The datastores, which belong to no namespace.
#[must_use]
pub fn data_stores(cluster: &Cluster) -> Api<DynamicObject> {
    Api::all_with(cluster.client(), &resource("DataStore", "datastores"))
}

/// An object whose fields are not what Kamaji's definition says.
fn unreadable(what: &str, error: &serde_json::Error) -> KubeError {
    KubeError::Other {
        what: format!("cannot understand {what}"),
        cause: error.to_string(),
    }
}
