//! Freeze: stop a workload's writes, prove it, and put back exactly what was there.
//!
//! | mode | does | proof |
//! |---|---|---|
//! | `scale` | scales to 0 | no pod of the workload is left, and nobody's pod but a mover uses its claims |
//! | `sleep` | replaces each container's command by a sleeper, without probes and hooks | every pod runs it, and nobody else's uses the claims |
//!
//! What is replaced is noted on the object in the same patch that replaces it, so that the original can
//! be put back without the journal. While frozen, a guard names whoever breaks it.
mod again;
mod blame;
mod drift;
mod field;
mod frozen;
mod mark;
mod original;
mod pods;
mod preflight;
mod proof;
mod rules;
mod sleeper;
mod subject;
#[cfg(test)]
mod testing;
mod thaw;
mod watched;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;

pub use field::Field;
pub use frozen::{FROZEN, Frozen};
pub use mark::Mark;
pub use original::Original;
pub use rules::rules;

pub use thaw::{Thawed, Whose, rehearse_thaw, thaw};
pub use watched::Watched;

use super::Place;
use crate::marks::Belongs;
use crate::{
    engine::{
        Check, Cx, Failure, Freezes, Holds, Kind, Outcome, Probe, Step, UndoPlan, Undone, Verdict,
    },
    plan::{FreezeMode, Workload},
};
use original::Changed;
use thaw::frozen_by_other;

/// Stops the writes of a workload.
#[derive(Clone, Debug)]
pub struct FreezeStep {
    /// Where it is.
    pub place: Place,
    /// The workload.
    pub workload: Workload,
    /// How it is frozen.
    pub mode: FreezeMode,
    /// The migration it is frozen for.
    pub belongs: Belongs,
    /// The claims that nobody may write to meanwhile.
    pub claims: Vec<String>,
    /// The workload as it was when the migration began, which is what the target gets; null where it does
    /// not matter.
    pub begun: Value,
    /// Those of the claims that one pod alone may have, where movers need them while it is frozen.
    pub exclusive: Vec<String>,
    /// How long the pods may take to end, to sleep, or to wake up.
    pub bound: Duration,
}

impl FreezeStep {
    /// What is watched while the freeze lasts; copies run beside its [`Watched::guard`].
    #[must_use]
    pub fn watched(&self) -> Watched {
        Watched {
            place: self.place.clone(),
            workload: self.workload.clone(),
            belongs: self.belongs.clone(),
            claims: self.claims.clone(),
        }
    }

    /// Changes the object and writes the note in one patch. Gives the object and the original back.
    async fn freeze(
        &self,
        watched: &Watched,
        earlier: Option<&Frozen>,
    ) -> Result<(DynamicObject, Original)> {
        let subject = watched.subject();
        let shown = subject.shown();
        let plan = |object: &DynamicObject| {
            let meta = &object.metadata;
            let uid = meta.uid.as_deref().unwrap_or_default();
            let noted = Mark::read(meta, &shown)?;
            let original = match (&noted, earlier) {
                (Some(mark), _) if !mark.is_of(&self.belongs) => {
                    bail!(frozen_by_other(&shown, mark))
                }
                // The first original counts: what the object has now may be our own doing.
                (Some(mark), _) => mark.original.clone(),
                (None, Some(earlier)) if earlier.uid == uid => earlier.original.clone(),
                (None, _) => Original::of(&self.workload, self.mode, &object.data),
            };
            let refuse = |changed: Box<Changed>| subject.refuse(object, &changed);
            let mut operations = original.freeze(&object.data).map_err(refuse)?;
            self.is_as_begun(object, &original)?;
            if noted.is_none() {
                let mark = Mark::new(&self.belongs, uid, self.mode, original);
                operations.push(
                    mark.write(meta)
                        .context("failed to write the note of the freeze")?,
                );
            }
            Ok(operations)
        };
        let object = subject.change(plan).await?;
        let mark = Mark::read(&object.metadata, &shown)?;
        let mark = mark
            .with_context(|| format!("the server dropped the note of the freeze from {shown}"))?;
        Ok((object, mark.original))
    }

    /// What the migration copies and starts was fixed when it began: a workload that became another since
    /// is not frozen.
    fn is_as_begun(&self, object: &DynamicObject, original: &Original) -> Result<(), Failure> {
        let drift = drift::drift(
            &self.begun,
            &object.metadata,
            &original.before(&object.data),
        );
        let Some(first) = drift.first() else {
            return Ok(());
        };
        let shown = self.watched().subject().shown();
        let why = format!(
            "{shown} is not what this migration began with: {first}; {}",
            self.cure_of_drift()
        );
        Err(Failure::new(Kind::Blocked, why).with_evidence(drift))
    }

    fn cure_of_drift(&self) -> String {
        let Belongs {
            migration, home, ..
        } = &self.belongs;
        format!(
            "put that back and run this again, or begin anew with it as it is: kubectl migrate rollback {migration} -n {home}, then kubectl migrate run {migration} -n {home}"
        )
    }

    async fn freeze_and_prove(&self, cx: &Cx) -> Result<Frozen> {
        let watched = self.watched();
        let earlier = cx.find(&FROZEN)?;
        let (object, original) = self.freeze(&watched, earlier.as_ref()).await?;
        let frozen = Frozen {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            mode: self.mode,
            original,
            frozen_at: Timestamp::now(),
        };
        let wanted = subject::replicas(&object);
        watched.prove(&frozen, wanted, self.bound, &cx.sink).await?;
        Ok(Frozen {
            frozen_at: Timestamp::now(),
            ..frozen
        })
    }
}

#[async_trait]
impl Step for FreezeStep {
    fn id(&self) -> &'static str {
        frozen::ID
    }

    fn title(&self) -> String {
        match self.mode {
            FreezeMode::Scale => format!("scale {} to 0", self.workload),
            FreezeMode::Sleep => format!("put {} to sleep", self.workload),
        }
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By(match self.mode {
            FreezeMode::Scale => "scale it back".to_owned(),
            FreezeMode::Sleep => "wake it up".to_owned(),
        })
    }

    fn freezes(&self) -> Freezes {
        Freezes::Begin
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        preflight::checks(self).await
    }

    async fn rehearse(&self, cx: &Cx) -> Result<Vec<String>> {
        let mut dry = self.watched();
        dry.place.cluster = dry.place.cluster.dry_run();
        let earlier = cx.find(&FROZEN)?;
        let (_, original) = self.freeze(&dry, earlier.as_ref()).await?;
        let shown = dry.subject().shown();
        let mut lines = vec![format!("{shown}: {}", self.title())];
        lines.extend(original.lines().map(|line| format!("{shown}: {line}")));
        Ok(lines)
    }

    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        // A workload with no pods is frozen all the same: the note says whose it is, and it is guarded.
        if cx.again {
            return Ok(Probe::Ready);
        }
        let checks = preflight::checks(self).await?;
        if checks.iter().any(|check| check.verdict == Verdict::Block) {
            return Ok(Probe::Blocked(checks));
        }
        Ok(Probe::Ready)
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        tokio::select! {
            frozen = self.freeze_and_prove(cx) => {
                let value = serde_json::to_value(frozen?).context("failed to write down the freeze")?;
                Ok(Outcome::Done(value))
            }
            // Safe anywhere: the change and its note are one patch, and `apply` goes on from it.
            () = cx.stop.wait() => Ok(Outcome::Stopped),
        }
    }

    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        let frozen = cx.get(&FROZEN)?;
        match self.watched().broken(&frozen).await? {
            None => Ok(Holds::Yes),
            Some(why) => Ok(Holds::No(why)),
        }
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        let watched = self.watched();
        let shown = watched.subject().shown();
        let earlier = cx.find(&FROZEN)?;
        let Some(object) = watched.subject().read().await? else {
            cx.sink.notice(format!(
                "{shown} was deleted meanwhile: there is nothing to put back"
            ));
            return Ok(Undone::Restored);
        };
        let (uid, mode, original) = match (Mark::read(&object.metadata, &shown)?, earlier) {
            (Some(mark), _) if !mark.is_of(&self.belongs) => bail!(frozen_by_other(&shown, &mark)),
            (Some(mark), _) => (mark.uid, mark.mode, mark.original),
            (None, Some(earlier)) if object.metadata.uid.as_ref() != Some(&earlier.uid) => {
                bail!(watched.replaced())
            }
            // The note goes with the last of the change: an earlier undo got that far.
            (None, Some(earlier)) if !earlier.original.is_in(&object.data) => {
                return Ok(Undone::Restored);
            }
            (None, Some(earlier)) => (earlier.uid, earlier.mode, earlier.original),
            // The note is written with the change: `apply` never got that far.
            (None, None) => return Ok(Undone::Restored),
        };
        watched
            .restore(&uid, mode, &original, self.bound, &cx.sink)
            .await?;
        Ok(Undone::Restored)
    }
}
