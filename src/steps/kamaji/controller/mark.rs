//! What the control plane was before, kept on itself: it can be put back even if the journal is lost.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::Switch;
use crate::{
    adapters::{
        kamaji::{CLEANUP_PRIOR_MIGRATION, MIGRATION_TIMEOUT, PAUSED, TenantControlPlane, tenants},
        kube::{JsonPatchOperation, KubeError, json_patch, pointer},
    },
    marks::{Belongs, ORIGINAL},
};

/// Of what is written.
const VERSION: u32 = 1;
/// Kamaji writes status after status while old API servers end.
const TRIES: usize = 10;
/// What acts on the Job, and is replaced while the switch lasts.
const REPLACED: [&str; 2] = [MIGRATION_TIMEOUT, CLEANUP_PRIOR_MIGRATION];

/// The annotation's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in super::super) struct Original {
    version: u32,
    migration: String,
    home: String,
    run: String,
    /// `spec.dataStore`.
    data_store: String,
    /// The annotations that are replaced; none where there was none.
    annotations: BTreeMap<String, Option<String>>,
}

impl Original {
    /// Of the control plane as it is now.
    pub(super) fn of(switch: &Switch, tenant: &TenantControlPlane) -> Self {
        let Belongs {
            migration,
            home,
            run,
        } = switch.belongs.clone();
        let annotation = |key: &str| (key.to_owned(), tenant.annotation(key).map(str::to_owned));
        Self {
            version: VERSION,
            migration,
            home,
            run,
            data_store: tenant.spec.data_store.clone(),
            annotations: REPLACED.into_iter().map(annotation).collect(),
        }
    }

    /// As the control plane tells it; none where nothing of ours is on its way.
    pub(in super::super) fn read(tenant: &TenantControlPlane) -> Result<Option<Self>> {
        let Some(text) = tenant.annotation(ORIGINAL) else {
            return Ok(None);
        };
        let what = format!("annotation {ORIGINAL} cannot be read");
        let original: Self = serde_json::from_str(text).context(what)?;
        ensure!(
            original.version == VERSION,
            "annotation {ORIGINAL} is of version {}, and this program knows {VERSION}",
            original.version
        );
        Ok(Some(original))
    }

    /// Whose it is.
    pub(in super::super) fn belongs(&self) -> Belongs {
        Belongs {
            migration: self.migration.clone(),
            home: self.home.clone(),
            run: self.run.clone(),
        }
    }

    /// What puts it back, as far as it is not so already.
    fn operations(&self, tenant: &TenantControlPlane) -> Vec<JsonPatchOperation> {
        let path = |key: &str| pointer(&["metadata", "annotations", key]);
        let none = None;
        let wanted = self
            .annotations
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .chain([(ORIGINAL, &none)]);
        wanted
            .filter_map(|(key, value)| match (value, tenant.annotation(key)) {
                (Some(value), now) if now != Some(value) => Some(JsonPatchOperation::Add {
                    path: path(key),
                    value: json!(value),
                }),
                (None, Some(_)) => Some(JsonPatchOperation::Remove { path: path(key) }),
                _ => None,
            })
            .collect()
    }
}

impl Switch {
    /// Whether this very run has asked for the switch.
    pub(super) fn has_asked(&self, tenant: &TenantControlPlane) -> Result<bool> {
        let original = Original::read(tenant)?;
        Ok(original.is_some_and(|original| original.belongs() == self.belongs))
    }

    /// What the request writes: each annotation of its own, and the wish.
    pub(super) fn request_of(&self, tenant: &TenantControlPlane, timeout: &str) -> Result<Value> {
        let original = Original::of(self, tenant);
        Ok(json!({
            "metadata": {
                "resourceVersion": tenant.object.metadata.resource_version,
                "annotations": {
                    (ORIGINAL): serde_json::to_string(&original)?,
                    (MIGRATION_TIMEOUT): timeout,
                    // Its target was seen empty; Kamaji is not to delete anything.
                    (CLEANUP_PRIOR_MIGRATION): "false",
                },
            },
            "spec": {"dataStore": self.tenant.target},
        }))
    }

    /// Puts the annotations back, where that is still to be done: after the flip they act on nothing.
    pub(in super::super) async fn restore_annotations(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            let tenant = self.control_plane().await?;
            let Some(original) = Original::read(&tenant)?.filter(|it| it.belongs() == self.belongs)
            else {
                return Ok(());
            };
            let operations = original.operations(&tenant);
            tries += 1;
            match self.write_back(&tenant, operations).await {
                // Kamaji has written its status meanwhile, or an answer was lost.
                Err(KubeError::Invalid { .. } | KubeError::Conflict { .. }) if tries < TRIES => {}
                other => return Ok(other?),
            }
        }
    }

    /// Takes the wish back and lets Kamaji go on, in one change, of the control plane as it was just seen: a flip
    /// since then makes it fail.
    pub(super) async fn take_back(
        &self,
        tenant: &TenantControlPlane,
        original: &Original,
    ) -> Result<(), KubeError> {
        let mut operations = vec![JsonPatchOperation::Replace {
            path: pointer(&["spec", "dataStore"]),
            value: json!(original.data_store),
        }];
        operations.extend(original.operations(tenant));
        if self.has_paused(tenant) {
            operations.push(JsonPatchOperation::Remove {
                path: pointer(&["metadata", "annotations", PAUSED]),
            });
        }
        self.write_back(tenant, operations).await
    }

    async fn write_back(
        &self,
        tenant: &TenantControlPlane,
        mut operations: Vec<JsonPatchOperation>,
    ) -> Result<(), KubeError> {
        let version = &tenant.object.metadata.resource_version;
        operations.insert(
            0,
            JsonPatchOperation::Test {
                path: pointer(&["metadata", "resourceVersion"]),
                value: json!(version),
            },
        );
        let api = tenants(&self.place.cluster, &self.place.namespace);
        json_patch(&api, &self.tenant.name, &operations).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(annotations: &Value) -> TenantControlPlane {
        let object = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
            "metadata": {"name": "t1", "namespace": "tenants", "annotations": annotations},
            "spec": {"dataStore": "gold", "controlPlane": {"deployment": {}}},
        });
        let object = serde_json::from_value(object).expect("an object");
        TenantControlPlane::new(object).expect("a tenant")
    }

    fn original() -> Original {
        let annotations = [
            (MIGRATION_TIMEOUT.to_owned(), Some("30m".to_owned())),
            (CLEANUP_PRIOR_MIGRATION.to_owned(), None),
        ];
        Original {
            version: VERSION,
            migration: "switch-t1-gold".to_owned(),
            home: "tenants".to_owned(),
            run: "42bq".to_owned(),
            data_store: "silver".to_owned(),
            annotations: annotations.into(),
        }
    }

    #[test]
    fn what_was_there_is_put_back_and_what_was_not_is_removed() {
        let original = original();
        let text = serde_json::to_string(&original).expect("a text");
        let asked = tenant(&json!({
            (ORIGINAL): text, (MIGRATION_TIMEOUT): "10m", (CLEANUP_PRIOR_MIGRATION): "false", "other": "kept",
        }));
        assert_eq!(
            Original::read(&asked).expect("readable"),
            Some(original.clone())
        );
        let told = serde_json::to_value(original.operations(&asked)).expect("operations");
        assert_eq!(
            told,
            json!([
                {"op": "remove", "path": "/metadata/annotations/kamaji.clastix.io~1cleanup-prior-migration"},
                {"op": "add", "path": "/metadata/annotations/kamaji.clastix.io~1migration-timeout", "value": "30m"},
                {"op": "remove", "path": "/metadata/annotations/kubectl-migrate~1original"},
            ])
        );
        let before = tenant(&json!({(MIGRATION_TIMEOUT): "30m", "other": "kept"}));
        assert_eq!(original.operations(&before), []);
        assert_eq!(Original::read(&before).expect("readable"), None);
    }

    #[test]
    fn a_mark_of_a_later_version_is_not_guessed_at() {
        let mut original = original();
        original.version = VERSION + 1;
        let text = serde_json::to_string(&original).expect("a text");
        let error =
            Original::read(&tenant(&json!({(ORIGINAL): text}))).expect_err("another version");
        assert!(error.to_string().contains("version 2"), "{error}");
        assert!(Original::read(&tenant(&json!({(ORIGINAL): "{}"}))).is_err());
    }
}
