//! Swap: the claims' names are given to the new volumes, and the StatefulSet is made again with its new templates.
use anyhow::{Result, bail};
use async_trait::async_trait;
use futures::future::try_join_all;
use kube::api::DynamicObject;
use serde_json::json;

use super::{
    InPlace, Kept, RETAINED,
    change::{TRIES, restless},
    record,
    workload::Stands,
};
use crate::{
    engine::{Cx, Failure, Kind, Outcome, Probe, Step, UndoPlan, Undone},
    steps::freeze::{FROZEN, Frozen},
};

/// Claims that are exchanged at the same time: the server's binder is faster than its answers' way.
const AT_ONCE: usize = 8;

/// Whether an object was deleted, and waits for what holds it.
fn is_going(found: &DynamicObject) -> bool {
    found.metadata.deletion_timestamp.is_some()
}

/// Gives the claims' names to the new volumes.
#[derive(Clone, Debug)]
pub struct Swap(pub InPlace);

impl Swap {
    /// Refuses a StatefulSet that is awake, or that is another than was written down.
    async fn is_as_kept(
        &self,
        found: &DynamicObject,
        kept: &Kept,
        frozen: &Frozen,
        cure: &str,
    ) -> Result<()> {
        if let Some(why) = self.0.is_awake(found, frozen).await? {
            bail!(Failure::new(Kind::FreezeBroken, why));
        }
        if !record::is_same(&record::workload(found)?, &kept.workload) {
            let object = self.0.object();
            let why = format!("{object} was changed since it was written down: {cure}");
            bail!(Failure::new(Kind::Blocked, why));
        }
        Ok(())
    }

    /// Takes the frozen StatefulSet away, if it is as it was written down.
    async fn make_room(&self, kept: &Kept, frozen: &Frozen) -> Result<()> {
        for _ in 0..TRIES {
            let found = match self.0.stands(frozen).await? {
                Stands::Nothing => return Ok(()),
                Stands::Foreign => bail!(self.0.foreign()),
                Stands::New(found) if !is_going(&found) => return Ok(()),
                // A rollback that was cut off has begun to take the new one away.
                Stands::New(found) | Stands::Frozen(found) | Stands::Old(found) => found,
            };
            if !is_going(&found) {
                let cure = "roll back, and begin anew with it as it is";
                self.is_as_kept(&found, kept, frozen, cure).await?;
            }
            if self.0.take_away(&found).await? {
                return Ok(());
            }
        }
        bail!(restless(&self.0.object()))
    }

    /// Takes the new StatefulSet away, where it was made.
    async fn make_room_back(&self, frozen: &Frozen) -> Result<()> {
        for _ in 0..TRIES {
            let found = match self.0.stands(frozen).await? {
                Stands::Nothing => return Ok(()),
                Stands::Foreign => bail!(self.0.foreign()),
                Stands::Frozen(found) | Stands::Old(found) if !is_going(&found) => return Ok(()),
                // A run that was cut off has begun to take it away: it is made again, and not counted on.
                Stands::New(found) | Stands::Frozen(found) | Stands::Old(found) => found,
            };
            if self.0.take_away(&found).await? {
                return Ok(());
            }
        }
        bail!(restless(&self.0.object()))
    }
}

#[async_trait]
impl Step for Swap {
    fn id(&self) -> &'static str {
        "swap"
    }

    fn title(&self) -> String {
        format!(
            "give the claims' names to the new volumes, make statefulset/{} again",
            self.0.name
        )
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("give them back to the old volumes".to_owned())
    }

    fn seals(&self) -> bool {
        // From here on the source's claims have the target's volumes: a copy would go the wrong way.
        true
    }

    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        // Before it is begun: afterwards nothing that it relies on could be made again.
        if cx.again {
            return Ok(Probe::Ready);
        }
        let (kept, frozen) = (cx.get(&RETAINED)?, cx.get(&FROZEN)?);
        match self.0.stands(&frozen).await? {
            Stands::Frozen(found) | Stands::Old(found) => {
                let cure = "run this again, so that it is written down as it is";
                self.is_as_kept(&found, &kept, &frozen, cure).await?;
            }
            Stands::Nothing | Stands::New(_) => {}
            Stands::Foreign => bail!(self.0.foreign()),
        }
        Ok(Probe::Ready)
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let (kept, frozen) = (cx.get(&RETAINED)?, cx.get(&FROZEN)?);
        for held in kept.volumes.iter().flat_map(|one| [&one.old, &one.new]) {
            self.0.outlives(held).await?;
        }
        self.make_room(&kept, &frozen).await?;
        for some in kept.volumes.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|volume| self.0.forward(volume))).await?;
        }
        let wanted = record::renewed(&kept.workload, &self.0.target, &self.0.belongs.run);
        let uid = match self.0.stands(&frozen).await? {
            Stands::New(found) => {
                self.0.freeze.note_again(&frozen).await?;
                found.metadata.uid.unwrap_or_default()
            }
            Stands::Nothing => self.0.make(&wanted, &frozen).await?,
            _ => bail!(self.0.foreign()),
        };
        Ok(Outcome::Done(json!({"uid": uid})))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        let (kept, frozen) = (cx.get(&RETAINED)?, cx.get(&FROZEN)?);
        self.make_room_back(&frozen).await?;
        for volume in &kept.volumes {
            if !self.0.back(volume).await? {
                cx.sink.notice(format!(
                    "persistentvolume {}, the new volume of {}, is gone; the old one is back",
                    volume.new.volume,
                    self.0.claim(volume.name())
                ));
            }
        }
        match self.0.stands(&frozen).await? {
            Stands::Nothing => {
                self.0.make(&kept.workload, &frozen).await?;
            }
            Stands::Old(_) => self.0.freeze.note_again(&frozen).await?,
            Stands::Frozen(_) => {}
            Stands::New(_) | Stands::Foreign => bail!(self.0.foreign()),
        }
        Ok(Undone::Restored)
    }
}
