//! Kamaji's two kinds, as far as they are read here.
use anyhow::{Context as _, Result};
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    ResourceExt as _,
    core::{ApiResource, GroupVersionKind, Object},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Both kinds' group.
pub const GROUP: &str = "kamaji.clastix.io";
/// Its presence alone stops all work on a tenant.
pub const PAUSED: &str = "kamaji.clastix.io/paused";

/// A `TenantControlPlane`.
pub type Tenant = Object<TenantSpec, TenantStatus>;
/// A `DataStore`.
pub type DataStore = Object<DataStoreSpec, DataStoreStatus>;

/// How the API server knows `TenantControlPlane`.
pub fn tenants() -> ApiResource {
    resource("TenantControlPlane", "tenantcontrolplanes")
}

/// How the API server knows `DataStore`.
pub fn datastores() -> ApiResource {
    resource("DataStore", "datastores")
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

/// What is wanted of a tenant.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantSpec {
    pub data_store: Option<String>,
    pub data_store_schema: Option<String>,
    pub data_store_username: Option<String>,
    pub control_plane: ControlPlane,
    pub kubernetes: Kubernetes,
    pub network_profile: NetworkProfile,
    pub write_permissions: WritePermissions,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ControlPlane {
    pub deployment: Pods,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Pods {
    pub replicas: i32,
    pub strategy: Option<Value>,
}

impl Default for Pods {
    fn default() -> Self {
        Self {
            replicas: 2,
            strategy: None,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Kubernetes {
    pub version: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkProfile {
    pub port: u16,
    pub service_cidr: String,
}

impl Default for NetworkProfile {
    fn default() -> Self {
        Self {
            port: 6443,
            service_cidr: "10.96.0.0/16".to_owned(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WritePermissions {
    pub block_creation: bool,
    pub block_update: bool,
    pub block_deletion: bool,
}

impl WritePermissions {
    /// The operations of admission that are refused.
    pub fn refused(&self) -> Vec<&'static str> {
        [
            (self.block_creation, "CREATE"),
            (self.block_update, "UPDATE"),
            (self.block_deletion, "DELETE"),
        ]
        .into_iter()
        .filter_map(|(refused, operation)| refused.then_some(operation))
        .collect()
    }
}

/// What was last said of a tenant.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TenantStatus {
    pub observed_generation: Option<i64>,
    pub storage: Storage,
    pub kubernetes_resources: KubernetesResources,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Storage {
    pub driver: Option<String>,
    pub data_store_name: Option<String>,
    pub config: Part,
    pub setup: Setup,
    pub certificate: Part,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Part {
    pub checksum: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Setup {
    pub schema: Option<String>,
    pub user: Option<String>,
    pub checksum: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct KubernetesResources {
    pub version: Version,
    pub deployment: Option<Value>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Version {
    pub version: Option<String>,
    pub status: Option<String>,
}

/// Where a store is, and how one logs in.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataStoreSpec {
    pub driver: String,
    pub endpoints: Vec<String>,
    pub basic_auth: Option<BasicAuth>,
    pub tls_config: Option<TlsConfig>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct BasicAuth {
    pub username: ContentRef,
    pub password: ContentRef,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsConfig {
    pub certificate_authority: KeyPair,
    pub client_certificate: Option<KeyPair>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPair {
    pub certificate: ContentRef,
    pub private_key: Option<ContentRef>,
}

/// A text that is given here, or is in a Secret; what is given here counts.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContentRef {
    pub content: Option<ByteString>,
    pub secret_reference: Option<SecretReference>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub namespace: String,
    pub key_path: String,
}

/// What was last said of a store.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataStoreStatus {
    pub ready: bool,
    pub used_by: Vec<String>,
    pub observed_generation: Option<i64>,
    pub conditions: Vec<Condition>,
}

/// Whether nothing may be done for a tenant.
pub fn is_paused(tenant: &Tenant) -> bool {
    tenant.annotations().contains_key(PAUSED)
}

/// A tenant's namespace.
pub fn namespace(tenant: &Tenant) -> Result<String> {
    tenant.namespace().context("a tenant without a namespace")
}

/// A tenant's own identity, which its Job is named after.
pub fn uid(tenant: &Tenant) -> Result<String> {
    tenant.uid().context("a tenant without an identity")
}

/// A tenant's status, empty before the first word about it.
pub fn status(tenant: &Tenant) -> TenantStatus {
    tenant.status.clone().unwrap_or_default()
}
