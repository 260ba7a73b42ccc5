use anyhow::Result;
use async_trait::async_trait;

use super::{Copied, CopiedVolume, WARM, broken, other_limit, round, still_frozen, target};
use crate::{
    engine::{Cx, Key, Outcome, Step, UndoPlan, Undone},
    steps::{
        freeze::Watched,
        movers::{Doing, Meter, Movers},
    },
    transfer::RoundKind,
};

/// Copies what changed since, while the workload is frozen; trusts contents, not times.
#[derive(Clone, Debug)]
pub struct FinalCopy {
    /// The movers.
    pub movers: Movers,
    /// What tells when the freeze is broken; none where nothing is frozen.
    pub guard: Option<Watched>,
}

/// What the final copy leaves in the journal.
pub const FINAL: Key<Copied> = Key::new("final-copy");

#[async_trait]
impl Step for FinalCopy {
    fn id(&self) -> &'static str {
        "final-copy"
    }

    fn title(&self) -> String {
        match self.movers.only_whole() {
            Some(way) => format!("copy all {way} once more, by content"),
            None => "copy what changed since, by content".to_owned(),
        }
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("stop the movers".to_owned())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let names = self
            .movers
            .volumes
            .iter()
            .map(|volume| volume.source.clone());
        let meter = Meter::new(cx.sink.clone(), self.id(), Doing::Copying, names);
        if let Some(other) = cx
            .find(&WARM)?
            .and_then(|warm| other_limit(&warm, &self.movers.limit))
        {
            cx.sink.notice(other);
        }
        target::is_unused(&self.movers).await?;
        let began = self.movers.begun().await?;
        target::devices_are_empty(&self.movers, cx, &meter, &began).await?;
        let work = round(RoundKind::Final, began);
        let rounds = tokio::select! {
            rounds = self.movers.each(cx, &meter, &[], &work) => rounds?,
            broken = broken(self.guard.as_ref(), cx) => return Err(broken),
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        still_frozen(self.guard.as_ref(), cx).await?;
        let mut volumes: Vec<_> = self.movers.volumes.iter().map(CopiedVolume::new).collect();
        for (index, (volume, round)) in volumes.iter_mut().zip(rounds).enumerate() {
            volume.add(round, self.movers.ways.of(index));
        }
        let copied = Copied {
            volumes,
            expected_freeze: None,
            limit: self.movers.limit.whole(),
        };
        Ok(Outcome::Done(serde_json::to_value(copied)?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        // The workload wakes next, and may be placed on another node than its volumes' movers.
        self.movers.remove().await?;
        Ok(Undone::Restored)
    }
}
