//! Release: the traces of copying are taken off the target, and the movers away.
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;

use super::{
    copy::{broken, still_frozen, went_through},
    freeze::Watched,
    movers::{Doing, LoneWork, Meter, Movers},
    prepare::PREPARED,
};
use crate::engine::{Cx, Outcome, Step, UndoPlan, Undone};

/// Takes the movers away, so that the volumes are their pods' alone.
#[derive(Clone, Debug)]
pub struct Release {
    /// The movers.
    pub movers: Movers,
    /// What tells when the freeze is broken; none where nothing is frozen.
    pub guard: Option<Watched>,
}

#[async_trait]
impl Step for Release {
    fn id(&self) -> &'static str {
        "release"
    }

    fn title(&self) -> String {
        match &self.movers.through {
            Some(through) => format!(
                "take the movers away, and what of theirs is in {}",
                through.address()
            ),
            None => "take the movers away".to_owned(),
        }
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let found = cx
            .find(&PREPARED)?
            .map_or_else(Vec::new, |prepared| prepared.found);
        // First: nothing of theirs may be taken for ours by a rollback, however this ends.
        self.movers.give(&found).await?;
        let names = self
            .movers
            .volumes
            .iter()
            .map(|volume| volume.source.clone());
        let meter = Meter::new(cx.sink.clone(), self.id(), Doing::Copying, names);
        // Nothing of it is the source's: its mover, and the way between the two, may be gone.
        let work: LoneWork<()> = Arc::new(|lone| Box::pin(async move { lone.finish().await }));
        let all: Vec<_> = (0..self.movers.volumes.len()).collect();
        // What was verified counts only as long as nobody writes to the source.
        tokio::select! {
            released = async {
                self.movers.lone(&all, cx, &meter, &work).await?;
                self.movers.remove().await?;
                self.movers.sweep(went_through(cx)?, &cx.sink).await;
                anyhow::Ok(())
            } => released?,
            broken = broken(self.guard.as_ref(), cx) => return Err(broken),
        }
        still_frozen(self.guard.as_ref(), cx).await?;
        Ok(Outcome::Done(serde_json::Value::Null))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        // Half way, some are there still: a target that starts, or a source that wakes, needs its volumes.
        self.movers.remove().await?;
        Ok(Undone::Restored)
    }
}
