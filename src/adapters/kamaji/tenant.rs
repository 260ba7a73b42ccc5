use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde::Deserialize;

use super::{super::kube::KubeError, PAUSED, unreadable};

/// A tenant's control plane.
#[derive(Clone, Debug)]
pub struct TenantControlPlane {
    /// The object as the server has it.
    pub object: DynamicObject,
    /// What is wanted.
    pub spec: Spec,
    /// What is.
    pub status: Status,
}

/// What is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The DataStore's name; empty: the manager's default.
    #[serde(default)]
    pub data_store: String,
    /// The key prefix, database or bucket that is wanted; empty: a default of its own making.
    #[serde(default)]
    pub data_store_schema: String,
    /// Kinds whose objects are kept in other stores.
    #[serde(default)]
    pub data_store_overrides: Vec<Override>,
    /// Control plane.
    #[serde(default)]
    pub control_plane: ControlPlane,
    /// Kubernetes.
    #[serde(default)]
    pub kubernetes: Kubernetes,
}

/// A kind whose objects are kept in another store.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// The kind, as the API server's flag wants it.
    pub resource: String,
    /// The other DataStore.
    pub data_store: String,
}

/// The control plane's own objects.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlane {
    /// Its Deployment.
    #[serde(default)]
    pub deployment: Deployment,
}

/// The control plane's Deployment.
#[derive(Clone, Debug, Deserialize)]
pub struct Deployment {
    /// How many pods it is to have.
    #[serde(default = "two")]
    pub replicas: i32,
}

/// Kamaji's default.
fn two() -> i32 {
    2
}

impl Default for Deployment {
    fn default() -> Self {
        Self { replicas: two() }
    }
}

/// The tenant's Kubernetes.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Kubernetes {
    /// Its version, `v1.33.0`.
    #[serde(default)]
    pub version: String,
}

/// What is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation of the last whole reconciliation.
    #[serde(default)]
    pub observed_generation: i64,
    /// The store in use.
    #[serde(default)]
    pub storage: Storage,
    /// The tenant's own objects.
    #[serde(default)]
    pub kubernetes_resources: Resources,
    /// Its kubeconfigs.
    #[serde(default)]
    pub kubeconfig: Kubeconfigs,
    /// `host:port` of its API server.
    #[serde(default)]
    pub control_plane_endpoint: String,
}

/// The store in use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// `etcd`, `MySQL`, `PostgreSQL` or `NATS`.
    #[serde(default)]
    pub driver: String,
    /// The DataStore's name: the one in use, whatever `spec` wants.
    #[serde(default)]
    pub data_store_name: String,
    /// What was set up there.
    #[serde(default)]
    pub setup: Setup,
}

/// What was set up in the store.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Setup {
    /// Key prefix, database or bucket: only this field tells the truth, defaults have changed.
    #[serde(default)]
    pub schema: String,
    /// The user that the API server has there.
    #[serde(default)]
    pub user: String,
}

/// The tenant's own objects.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Resources {
    /// Its version and how it is.
    #[serde(default)]
    pub version: Version,
    /// Its Deployment.
    #[serde(default)]
    pub deployment: Named,
}

/// The tenant's version and how it is.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Version {
    /// The version that runs.
    #[serde(default)]
    pub version: String,
    /// `Ready`, `Migrating`, `Sleeping` and so on.
    #[serde(default)]
    pub status: String,
}

/// An object's name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// The name.
    #[serde(default)]
    pub name: String,
}

/// The tenant's kubeconfigs.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Kubeconfigs {
    /// The administrator's.
    #[serde(default)]
    pub admin: Admin,
}

/// The administrator's kubeconfig.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// The Secret that holds it.
    #[serde(default)]
    pub secret_name: String,
}

impl TenantControlPlane {
    /// Reads the object's fields.
    pub fn new(object: DynamicObject) -> Result<Self, KubeError> {
        let meta = &object.metadata;
        let name = format!(
            "tenantcontrolplane {}/{}",
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default()
        );
        let part = |field: &str| {
            object
                .data
                .get(field)
                .cloned()
                .unwrap_or_else(|| serde_json::json!({}))
        };
        let spec =
            serde_json::from_value(part("spec")).map_err(|error| unreadable(&name, &error))?;
        let status =
            serde_json::from_value(part("status")).map_err(|error| unreadable(&name, &error))?;
        Ok(Self {
            object,
            spec,
            status,
        })
    }

    /// The annotation's value, if it is there.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        let annotations: Option<&BTreeMap<String, String>> =
            self.object.metadata.annotations.as_ref();
        annotations?.get(key).map(String::as_str)
    }

    /// Whether the controller does nothing for it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.annotation(PAUSED).is_some()
    }

    /// Its key prefix, database or bucket: what was set up, else what is wanted.
    #[must_use]
    pub fn schema(&self) -> &str {
        let set_up = &self.status.storage.setup.schema;
        if set_up.is_empty() {
            &self.spec.data_store_schema
        } else {
            set_up
        }
    }

    /// Whether it keeps anything in this DataStore, or is to: kinds with a store of their own have its schema there,
    /// too.
    #[must_use]
    pub fn is_in(&self, data_store: &str) -> bool {
        let mut overrides = self.spec.data_store_overrides.iter();
        self.status.storage.data_store_name == data_store
            || self.spec.data_store == data_store
            || overrides.any(|one| one.data_store == data_store)
    }

    /// Whether nothing is being done to it: it serves as it is to, or sleeps.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let status = self.status.kubernetes_resources.version.status.as_str();
        matches!(status, "Ready" | "WriteLimited" | "Sleeping")
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Whether the controller has seen all that is wanted.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.object.metadata.generation == Some(self.status.observed_generation)
    }

    /// The Secret's key that holds the administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig_key(&self) -> &str {
        self.annotation("kamaji.clastix.io/kubeconfig-secret-key")
            .unwrap_or("super-admin.conf")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_controller_has_not_filled_in_yet_is_empty() {
        let object = serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
            "metadata": {"name": "t1", "namespace": "tenants", "generation": 1, "annotations": {PAUSED: ""}},
            "spec": {"dataStore": "silver", "controlPlane": {"deployment": {}}},
        }));
        let tenant = TenantControlPlane::new(object.expect("an object")).expect("a tenant");
        assert!(tenant.is_paused() && !tenant.is_observed());
        assert_eq!(tenant.spec.control_plane.deployment.replicas, 2);
        assert_eq!(tenant.status.storage.data_store_name, "");
        assert_eq!(tenant.kubeconfig_key(), "super-admin.conf");
    }

    #[test]
    fn a_tenant_is_in_each_store_that_anything_of_it_is_in() {
        let object = serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
            "metadata": {"name": "t1", "namespace": "tenants"},
            "spec": {
                "dataStore": "gold", "dataStoreSchema": "wanted",
                "dataStoreOverrides": [{"resource": "/events", "dataStore": "bronze"}],
            },
            "status": {"storage": {"dataStoreName": "silver"}},
        }));
        let mut tenant = TenantControlPlane::new(object.expect("an object")).expect("a tenant");
        for store in ["silver", "gold", "bronze"] {
            assert!(tenant.is_in(store), "not in {store}");
        }
        assert!(!tenant.is_in("zinc"));
        assert_eq!(tenant.schema(), "wanted");
        tenant.status.storage.setup.schema = "made".to_owned();
        assert_eq!(tenant.schema(), "made");
    }

    #[test]
    fn a_field_of_another_type_names_the_object() {
        let object = serde_json::from_value(json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
            "metadata": {"name": "t1", "namespace": "tenants"}, "spec": {"dataStore": 7},
        }));
        let error = TenantControlPlane::new(object.expect("an object")).expect_err("a number");
        assert!(
            error.to_string().contains("tenantcontrolplane tenants/t1"),
            "{error}"
        );
    }
}
