//! Start: the pods come back, on their new volumes.
use anyhow::{Result, bail};
use async_trait::async_trait;

use super::{InPlace, RETAINED, record, workload::Stands};
use crate::{
    engine::{Cx, Freezes, Key, Outcome, Probe, Step, UndoPlan, Undone},
    steps::{freeze::FROZEN, ready, start_target::Started},
};

/// What starting in place leaves in the journal.
pub const START: Key<Started> = Key::new("start");

/// Starts the StatefulSet on its new volumes.
#[derive(Clone, Debug)]
pub struct Start(pub InPlace);

#[async_trait]
impl Step for Start {
    fn id(&self) -> &'static str {
        START.step()
    }

    fn title(&self) -> String {
        format!("start statefulset/{} on its new volumes", self.0.name)
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("scale it to 0; what was written since is lost".to_owned())
    }

    fn freezes(&self) -> Freezes {
        Freezes::End
    }

    fn seals(&self) -> bool {
        // Its pods write to the new volumes.
        true
    }

    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        match self.0.stands(&cx.get(&FROZEN)?).await? {
            Stands::New(_) | Stands::Nothing => Ok(Probe::Ready),
            _ => bail!(self.0.foreign()),
        }
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let frozen = cx.get(&FROZEN)?;
        let uid = match self.0.stands(&frozen).await? {
            Stands::New(found) => found.metadata.uid.unwrap_or_default(),
            // Somebody deleted it since it was made; its claims and volumes are there.
            Stands::Nothing => {
                let kept = cx.get(&RETAINED)?;
                let run = &self.0.belongs.run;
                let wanted = record::renewed(&kept.workload, &self.0.target, run);
                self.0.make(&wanted, &frozen).await?
            }
            _ => bail!(self.0.foreign()),
        };
        self.0.freeze.wake(&frozen).await?;
        let replicas = self.0.inventory.replicas;
        let ready = ready::pods(&self.0.place, &self.0.name, replicas, self.id(), cx).await?;
        Ok(Outcome::Done(serde_json::to_value(Started { uid, ready })?))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        match self.0.stands(&cx.get(&FROZEN)?).await? {
            Stands::New(_) => {
                Box::pin(self.0.freeze.freeze_again(cx)).await?;
            }
            Stands::Nothing => cx.sink.notice(format!(
                "{} was deleted meanwhile: it is made again as it was",
                self.0.object()
            )),
            Stands::Frozen(_) | Stands::Old(_) => {}
            Stands::Foreign => bail!(self.0.foreign()),
        }
        Ok(Undone::Restored)
    }
}
