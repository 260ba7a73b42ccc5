//! Claims that were there before us: marked before the first byte, so that rollback empties exactly those
//! that we wrote to.
use std::collections::BTreeMap;

use anyhow::Result;
use futures::future::try_join_all;
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
    steps::inventory::Mode,
};

/// A claim that was there before us and that we took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The number of its volume.
    pub index: usize,
    /// Whether it was given to its pods, so that what it holds may be theirs.
    pub released: bool,
}

impl Movers {
    /// Marks the target claims as taken by this run; those in `found` were there before it.
    pub async fn adopt(&self, found: &[String]) -> Result<()> {
        for volume in &self.volumes {
            let claim =
                get_opt(&self.target.api::<PersistentVolumeClaim>(), &volume.target).await?;
            if claim.is_some_and(|claim| self.belongs.data(&claim.metadata).is_some()) {
                continue;
            }
            let mut marks = BTreeMap::from([(marks::DATA.to_owned(), marks::BEGUN.to_owned())]);
            if found.contains(&volume.target) {
                marks.extend(self.belongs.marks(marks::ADOPTED));
            }
            self.mark(&volume.target, &json!({"metadata": {"labels": marks}}))
                .await?;
        }
        Ok(())
    }

    /// Marks the devices among these volumes as written to: from now on what they hold is ours. They were looked at,
    /// and are empty. File systems carry a mark of their own.
    pub async fn write_to(&self, indices: impl IntoIterator<Item = usize>) -> Result<()> {
        let marks = json!({"metadata": {"labels": {marks::DATA: marks::WRITTEN}}});
        for volume in indices
            .into_iter()
            .filter_map(|index| self.volumes.get(index))
        {
            if volume.mode == Mode::Block {
                self.mark(&volume.target, &marks).await?;
            }
        }
        Ok(())
    }

    /// Whether this run wrote to the device of each volume, which was empty then.
    pub async fn begun(&self) -> Result<Vec<bool>> {
        let api = self.target.api::<PersistentVolumeClaim>();
        let looks = self.volumes.iter().map(|volume| {
            let api = &api;
            async move {
                let claim = get_opt(api, &volume.target).await?;
                let data = claim
                    .as_ref()
                    .and_then(|claim| self.belongs.data(&claim.metadata));
                Ok::<_, KubeError>(matches!(data, Some(marks::WRITTEN | marks::RELEASED)))
            }
        });
        Ok(try_join_all(looks).await?)
    }

    /// Those target claims that were there before and are marked so.
    pub async fn adopted(&self, found: &[String]) -> Result<Vec<Adopted>> {
        let api = self.target.api::<PersistentVolumeClaim>();
        let mut adopted = Vec::new();
        for (index, volume) in self.volumes.iter().enumerate() {
            if found.contains(&volume.target)
                && let Some(claim) = get_opt(&api, &volume.target).await?
                && self.belongs.owns(&claim.metadata)
            {
                adopted.push(Adopted {
                    index,
                    released: self.belongs.data(&claim.metadata) == Some(marks::RELEASED),
                });
            }
        }
        Ok(adopted)
    }

    /// Writes down that the claims are given to their pods: from now on rollback cannot tell what is ours.
    pub async fn give(&self, found: &[String]) -> Result<()> {
        let marks = json!({"metadata": {"labels": {marks::DATA: marks::RELEASED}}});
        for Adopted { index, .. } in self.adopted(found).await? {
            self.mark(&self.volumes[index].target, &marks).await?;
        }
        Ok(())
    }

    /// Takes the marks away again.
    pub async fn forget(&self, adopted: &[Adopted]) -> Result<()> {
        let none: serde_json::Map<String, Value> = [
            marks::MIGRATION,
            marks::HOME,
            marks::RUN,
            marks::ROLE,
            marks::DATA,
        ]
        .map(|label| (label.to_owned(), Value::Null))
        .into_iter()
        .collect();
        for Adopted { index, .. } in adopted {
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
            let job = self.job(&mover, None, None)?;
            let jobs: kube::Api<Job> = cluster.namespaced(&place.namespace);
            let params = PostParams::default();
            let name = self.name(&mover);
            if !self.goes_by_exec() {
                let secret = self.secret(&mover, std::collections::BTreeMap::new());
                let secrets: kube::Api<Secret> = cluster.namespaced(&place.namespace);
                let created = secrets.create(&params, &secret).await;
                created.map_err(KubeError::from)?;
                said.push(format!(
                    "{} created (server dry run)",
                    place.object("secret", &name)
                ));
            }
            jobs.create(&params, &job).await.map_err(KubeError::from)?;
            said.push(format!(
                "{} created (server dry run)",
                place.object("job", &name)
            ));
        }
        Ok(said)
    }
}

#[cfg(test)]
#[path = "adopt_tests.rs"]
mod tests;
