use std::time::Duration;

use anyhow::{Result, bail, ensure};
use async_trait::async_trait;
use kube::api::DynamicObject;
use serde_json::Value;

use super::{super::Switch, await_job::JOB, job::has};
use crate::{
    adapters::{
        kamaji::{TenantControlPlane, tenants},
        kube::{Look, Wait, wait_for},
    },
    engine::{Cx, Failure, Kind, Outcome, Step, UndoPlan, Undone},
};

/// Lets Kamaji give the tenant to the target: the point of no return.
#[derive(Clone, Debug)]
pub struct Commit(pub Switch);

/// Kamaji looks at a control plane at each change of it.
const FLIPS_WITHIN: Duration = Duration::from_mins(5);

impl Commit {
    /// Everything that the flip stands on, looked at once more.
    async fn may_commit(&self, cx: &Cx) -> Result<()> {
        let switch = &self.0;
        switch.still_frozen().await?;
        let manager = switch.manager().await?;
        let job = switch.job(&manager).await?;
        let compared = cx.get(&JOB)?.job;
        let Some(job) = job.filter(|job| has(job, "Complete") && job.metadata.uid == compared)
        else {
            let why = format!(
                "job {}/{} is not the one whose copy was compared: roll back",
                manager.namespace,
                switch.job_name()
            );
            bail!(Failure::new(Kind::Blocked, why));
        };
        switch.no_orphans(&manager, &job).await?;
        if let Some(why) = switch.still_wanted(&switch.control_plane().await?) {
            bail!(Failure::new(Kind::Blocked, format!("{why}: roll back")));
        }
        let later = switch.later(cx).await?;
        let writes = later.as_ref().map_or(0, |later| later.writes);
        ensure!(
            writes == 0,
            Failure::new(
                Kind::Difference,
                format!("{writes} writes came after the comparison")
            )
            .with_evidence(later.map(|later| later.keys).unwrap_or_default())
        );
        Ok(())
    }

    async fn until_flipped(&self, cx: &Cx) -> Result<()> {
        let switch = &self.0;
        let what = format!(
            "Kamaji to give {} to datastore {}",
            switch.shown(),
            switch.tenant.target
        );
        let tell = |seen: &str| cx.sink.waiting(self.id(), seen);
        let wait = Wait::new(&what, FLIPS_WITHIN).telling(&tell);
        let api = tenants(&switch.place.cluster, &switch.place.namespace);
        let look = |found: Option<&DynamicObject>| match found.cloned().map(TenantControlPlane::new)
        {
            Some(Ok(tenant)) if switch.is_flipped(&tenant) => Look::Done,
            Some(Ok(tenant)) => match switch.still_wanted(&tenant) {
                Some(why) => Look::Never(why),
                None => Look::NotYet(format!(
                    "it is in datastore {}",
                    tenant.status.storage.data_store_name
                )),
            },
            Some(Err(error)) => Look::Never(error.to_string()),
            None => Look::Never("it was deleted".to_owned()),
        };
        wait_for(&api, &switch.tenant.name, &wait, look).await?;
        Ok(())
    }
}

#[async_trait]
impl Step for Commit {
    fn id(&self) -> &'static str {
        "commit"
    }

    fn title(&self) -> String {
        format!(
            "let Kamaji give {} to datastore {}",
            self.0.tenant.name, self.0.tenant.target
        )
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Never(self.0.way_back())
    }

    fn seals(&self) -> bool {
        true
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let tenant = self.0.control_plane().await?;
        if !self.0.is_flipped(&tenant) {
            // Where this was begun before, Kamaji may be at it: then there is nothing to look at any more.
            if self.0.has_paused(&tenant) {
                self.may_commit(cx).await?;
                self.0.resume().await?;
            } else {
                ensure!(
                    cx.again,
                    Failure::new(
                        Kind::Blocked,
                        format!("{} is not paused any more: roll back", self.0.shown())
                    )
                );
            }
            self.until_flipped(cx).await?;
        }
        Ok(Outcome::Done(Value::Null))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        let tenant = self.0.control_plane().await?;
        // Nothing was committed as long as the pause stands.
        if !self.0.is_flipped(&tenant) && self.0.has_paused(&tenant) {
            return Ok(Undone::Restored);
        }
        // Kamaji was let go: it flips as soon as it looks, and a wish taken back after that would be one for a
        // migration in the other direction.
        if !self.0.is_flipped(&tenant) {
            self.until_flipped(cx).await?;
        }
        Ok(Undone::Irreversible(self.0.way_back()))
    }
}
