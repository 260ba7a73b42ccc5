//! Claims that were there before us: marked before the first byte, so that rollback empties exactly those
//! that we wrote to.
use anyhow::Result;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Secret},
};
use kube::api::PostParams;
use serde_json::{Value, json};

use super::Movers;
use crate::{
    adapters::kube::{KubeError, get_opt, merge_patch},
    marks,
};

impl Movers {
    /// Marks these target claims as being written to by this run.
    pub async fn adopt(&self, found: &[String]) -> Result<()> {
        let marks = self.belongs.marks(marks::ADOPTED);
        for claim in found {
            self.mark(claim, &json!({"metadata": {"labels": marks}}))
                .await?;
        }
        Ok(())
    }

    /// The numbers of those volumes whose target claims are marked so.
    pub async fn adopted(&self, found: &[String]) -> Result<Vec<usize>> {
        let api = self.target.api::<PersistentVolumeClaim>();
        let mut adopted = Vec::new();
        for (index, volume) in self.volumes.iter().enumerate() {
            if found.contains(&volume.target)
                && let Some(claim) = get_opt(&api, &volume.target).await?
                && self.belongs.owns(&claim.metadata)
            {
                adopted.push(index);
            }
        }
        Ok(adopted)
    }

    /// Takes the marks away again.
    pub async fn release(&self, adopted: &[usize]) -> Result<()> {
        let none: serde_json::Map<String, Value> =
            [marks::MIGRATION, marks::HOME, marks::RUN, marks::ROLE]
                .map(|label| (label.to_owned(), Value::Null))
                .into_iter()
                .collect();
        for index in adopted {
            let claim = &self.volumes[*index].target;
            self.mark(claim, &json!({"metadata": {"labels": none}}))
                .await?;
        }
        Ok(())
    }

    async fn mark(&self, claim: &str, patch: &Value) -> Result<()> {
        merge_patch(&self.target.api::<PersistentVolumeClaim>(), claim, patch).await?;
        Ok(())
    }

    /// Sends the movers' objects to the servers as a dry run, and says which they are.
    pub async fn rehearse(&self) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for mover in self.all() {
            let place = self.place(mover.side);
            let cluster = place.cluster.dry_run();
            let secret = self.secret(&mover, std::collections::BTreeMap::new());
            let job = self.job(&mover, None)?;
            let secrets: kube::Api<Secret> = cluster.namespaced(&place.namespace);
            let jobs: kube::Api<Job> = cluster.namespaced(&place.namespace);
            let params = PostParams::default();
            secrets
                .create(&params, &secret)
                .await
                .map_err(KubeError::from)?;
            jobs.create(&params, &job).await.map_err(KubeError::from)?;
            let name = self.name(&mover);
            said.push(format!(
                "{} created (server dry run)",
                place.object("secret", &name)
            ));
            said.push(format!(
                "{} created (server dry run)",
                place.object("job", &name)
            ));
        }
        Ok(said)
    }
}
