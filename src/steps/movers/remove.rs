use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Pod, Secret},
};
use kube::Api;

use super::{Mover, Movers};
use crate::{
    adapters::kube::{Look, Object, Selector, Wait, delete_and_wait, wait_for_all},
    marks,
    steps::Place,
    transfer::Side,
};

/// A mover ends in seconds; its node may be slow to say so.
const GONE: Duration = Duration::from_mins(3);

impl Movers {
    /// Takes the movers of one side away, and waits until none of their pods is left: only then may
    /// another pod have the volumes for itself.
    pub async fn remove_side(&self, side: Side) -> Result<()> {
        let movers = self.all().filter(|mover| mover.side == side);
        try_join_all(movers.map(|mover| self.remove_one(mover))).await?;
        Ok(())
    }

    /// Takes all movers away, and the run's keys.
    pub async fn remove(&self) -> Result<()> {
        try_join_all([Side::Source, Side::Target].map(|side| self.remove_side(side))).await?;
        if self.goes_by_exec() {
            // Pods with a shell alone know no keys.
            return Ok(());
        }
        self.delete(
            &self.source,
            self.source.api::<Secret>(),
            "secret",
            &self.keys_name(),
        )
        .await
    }

    async fn remove_one(&self, mover: Mover) -> Result<()> {
        let place = self.place(mover.side);
        let name = self.name(&mover);
        self.delete(place, place.api::<Job>(), "job", &name).await?;
        if !self.goes_by_exec() {
            let secrets = place.api::<Secret>();
            self.delete(place, secrets, "secret", &name).await?;
        }
        let what = format!("the pods of {} to be gone", place.object("job", &name));
        let selector = Selector::labels(self.selector(&mover));
        wait_for_all(
            &place.api::<Pod>(),
            &selector,
            &Wait::new(&what, GONE),
            |pods: &[Pod]| match pods.first().and_then(|pod| pod.metadata.name.clone()) {
                None => Look::Done,
                Some(pod) => Look::NotYet(format!("pod {pod} is still there")),
            },
        )
        .await?;
        Ok(())
    }

    /// Deletes an object if it is this migration's; another's of the same name is left alone.
    async fn delete<K: Object>(
        &self,
        place: &Place,
        api: Api<K>,
        kind: &str,
        name: &str,
    ) -> Result<()> {
        let Some(found) = crate::adapters::kube::get_opt(&api, name).await? else {
            return Ok(());
        };
        let labels = found.meta().labels.clone().unwrap_or_default();
        let ours = [
            (marks::MIGRATION, &self.belongs.migration),
            (marks::HOME, &self.belongs.home),
        ]
        .iter()
        .all(|(key, value)| labels.get(*key) == Some(value));
        if !ours {
            return Ok(());
        }
        let what = format!("{} to be gone", place.object(kind, name));
        let uid = found.meta().uid.as_deref();
        delete_and_wait(&api, name, uid, &Wait::new(&what, GONE)).await?;
        Ok(())
    }
}
