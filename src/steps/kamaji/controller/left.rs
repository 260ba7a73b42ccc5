//! What Kamaji leaves of a migration of its own: its Job, pods, and annotations that act on the next one.
use anyhow::Result;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use serde_json::json;

use super::super::Switch;
use crate::{
    adapters::{
        kamaji::{CLEANUP_PRIOR_MIGRATION, MIGRATION_TIMEOUT, tenants},
        kube::{Cluster, JsonPatchOperation, json_patch, pointer},
    },
    steps::Place,
};

/// What is left of Kamaji's own migrations of a tenant.
#[derive(Clone, Debug)]
pub struct LeftByKamaji {
    /// Where its Jobs are made.
    pub place: Place,
    /// The Job.
    pub job: Option<Job>,
    /// Its pods, and those of earlier ones.
    pub pods: Vec<Pod>,
    /// Annotations of the control plane, with their values.
    pub annotations: Vec<(String, String)>,
}

impl Switch {
    /// What Kamaji left; nothing while a migration of its own is on its way.
    pub async fn left_by_kamaji(&self) -> Result<Option<LeftByKamaji>> {
        let tenant = self.control_plane().await?;
        if tenant.spec.data_store != tenant.status.storage.data_store_name || !tenant.is_at_rest() {
            return Ok(None);
        }
        let manager = self.manager().await?;
        let annotations = [CLEANUP_PRIOR_MIGRATION, MIGRATION_TIMEOUT];
        let annotations = annotations.into_iter().filter_map(|key| {
            let value = tenant.annotation(key)?;
            Some((key.to_owned(), value.to_owned()))
        });
        Ok(Some(LeftByKamaji {
            annotations: annotations.collect(),
            job: self.job(&manager).await?,
            pods: self.job_pods(&manager).await?,
            place: Place {
                namespace: manager.namespace,
                ..self.place.clone()
            },
        }))
    }

    /// Removes annotations that still have these values.
    pub async fn remove_annotations(
        &self,
        cluster: &Cluster,
        annotations: &[(String, String)],
    ) -> Result<()> {
        let operations: Vec<_> = annotations
            .iter()
            .flat_map(|(key, value)| {
                let path = pointer(&["metadata", "annotations", key]);
                let test = JsonPatchOperation::Test {
                    path: path.clone(),
                    value: json!(value),
                };
                [test, JsonPatchOperation::Remove { path }]
            })
            .collect();
        let api = tenants(cluster, &self.place.namespace);
        json_patch(&api, &self.tenant.name, &operations).await?;
        Ok(())
    }
}
