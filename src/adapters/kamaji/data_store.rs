use kube::api::DynamicObject;
use serde::Deserialize;

use super::{super::kube::KubeError, content::Content, unreadable};

/// A store that tenants can be kept in.
#[derive(Clone, Debug)]
pub struct DataStore {
    /// The object as the server has it.
    pub object: DynamicObject,
    /// How it is reached.
    pub spec: Spec,
    /// What the controller says of it.
    pub status: Status,
}

/// How a store is reached.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// `etcd`, `MySQL`, `PostgreSQL` or `NATS`.
    #[serde(default)]
    pub driver: String,
    /// `host:port` of its servers.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// User and password.
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    /// Certificates.
    #[serde(default)]
    pub tls_config: Option<TlsConfig>,
}

/// User and password.
#[derive(Clone, Debug, Deserialize)]
pub struct BasicAuth {
    /// The user.
    #[serde(default)]
    pub username: Content,
    /// The password.
    #[serde(default)]
    pub password: Content,
}

/// Certificates.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsConfig {
    /// What the servers' certificates are verified with; with etcd its key signs the tenants' certificates.
    #[serde(default)]
    pub certificate_authority: KeyPair,
    /// What the controller shows.
    #[serde(default)]
    pub client_certificate: Option<KeyPair>,
}

/// A certificate, perhaps with its key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPair {
    /// The certificate.
    #[serde(default)]
    pub certificate: Content,
    /// Its key.
    #[serde(default)]
    pub private_key: Option<Content>,
}

/// What the controller says of a store.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether the Secrets that it names exist: no more than that. Releases before 26.2.5-edge have no such field.
    #[serde(default)]
    pub ready: Option<bool>,
    /// Tenants that are kept in it, `namespace/name`.
    #[serde(default)]
    pub used_by: Vec<String>,
}

impl DataStore {
    /// Reads the object's fields.
    pub fn new(object: DynamicObject) -> Result<Self, KubeError> {
        let name = format!(
            "datastore {}",
            object.metadata.name.as_deref().unwrap_or_default()
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

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// The Secrets that it names, as namespace and name.
    #[must_use]
    pub fn secrets(&self) -> Vec<(String, String)> {
        let tls = self.spec.tls_config.as_ref();
        let pairs = tls.into_iter().flat_map(|tls| {
            [
                Some(&tls.certificate_authority),
                tls.client_certificate.as_ref(),
            ]
        });
        let of_pairs = pairs
            .flatten()
            .flat_map(|pair| [Some(&pair.certificate), pair.private_key.as_ref()]);
        let basic = self.spec.basic_auth.as_ref();
        let of_basic = basic
            .into_iter()
            .flat_map(|basic| [Some(&basic.username), Some(&basic.password)]);
        let mut found: Vec<_> = of_pairs
            .chain(of_basic)
            .flatten()
            .filter(|content| content.content.is_none())
            .filter_map(|content| content.secret_reference.as_ref())
            .map(|reference| (reference.namespace.clone(), reference.name.clone()))
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// Its name for people.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("datastore {}", self.name())
    }
}
