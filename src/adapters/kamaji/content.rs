use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

use super::super::kube::{Cluster, get_opt};

/// A value that a DataStore names: its own text, or a key of a Secret.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// The value itself, base64; it wins over the reference.
    #[serde(default)]
    pub content: Option<String>,
    /// Where it is.
    #[serde(default)]
    pub secret_reference: Option<SecretReference>,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The Secret's name.
    #[serde(default)]
    pub name: String,
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// The key in its data.
    #[serde(default)]
    pub key_path: String,
}

/// Where a value came from, for people: `secret kamaji-system/silver, key ca.crt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(pub String);

/// A value that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_of}: {why}")]
pub struct Unusable {
    /// Where it is or should be: `secret kamaji-system/silver, key ca.crt`.
    pub source_of: String,
    /// Why it cannot be used.
    pub why: String,
}

impl Content {
    /// The value, with where it came from. `field` names it in the DataStore: `spec.basicAuth.password`.
    pub(super) async fn read(
        &self,
        cluster: &Cluster,
        field: &str,
    ) -> Result<(String, Source), Unusable> {
        let unusable = |source: &str, why: String| Unusable {
            source_of: source.to_owned(),
            why,
        };
        if let Some(content) = self.content.as_ref().filter(|content| !content.is_empty()) {
            let source = format!("{field}.content");
            let bytes = STANDARD
                .decode(content)
                .map_err(|error| unusable(&source, format!("is no base64: {error}")))?;
            let text =
                String::from_utf8(bytes).map_err(|_| unusable(&source, "is no text".to_owned()))?;
            return Ok((text, Source(source)));
        }
        let Some(reference) = &self.secret_reference else {
            return Err(unusable(
                field,
                "names neither a content nor a Secret".to_owned(),
            ));
        };
        let SecretReference {
            name,
            namespace,
            key_path,
        } = reference;
        let source = format!("secret {namespace}/{name}, key {key_path}");
        let secret = get_opt(&cluster.namespaced::<Secret>(namespace), name).await;
        let secret = secret.map_err(|error| unusable(&source, error.to_string()))?;
        let secret = secret.ok_or_else(|| {
            unusable(
                &source,
                format!("the Secret does not exist, and {field} names it"),
            )
        })?;
        let data = secret.data.unwrap_or_default();
        let value = data.get(key_path).ok_or_else(|| {
            let keys: Vec<_> = data.keys().map(String::as_str).collect();
            unusable(
                &source,
                format!("the Secret has no such key, only {}", keys.join(", ")),
            )
        })?;
        let text = String::from_utf8(value.0.clone());
        let text = text.map_err(|_| unusable(&source, "is no text".to_owned()))?;
        Ok((text, Source(source)))
    }
}
