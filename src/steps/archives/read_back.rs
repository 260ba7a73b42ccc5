use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Archiving, RESERVED, UPLOADED, in_bucket};
use crate::{
    engine::{Cx, Key, Outcome, Step, UndoPlan, Undone},
    steps::movers::{Doing, LoneWork, Loss},
    transfer::Side,
};

/// Reads all of it back out of the bucket, and compares every file with what was read on its volume.
#[derive(Clone, Debug)]
pub struct ReadBack(pub Archiving);

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Files that were compared.
    pub files: u64,
    /// Their length together.
    pub bytes: u64,
}

/// What it leaves in the journal.
pub const READ_BACK: Key<Read> = Key::new("read-back");

#[async_trait]
impl Step for ReadBack {
    fn id(&self) -> &'static str {
        READ_BACK.step()
    }

    fn title(&self) -> String {
        "read all of it out of the bucket and compare every file by content".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let this = &self.0;
        let places = this.places(&cx.get(&RESERVED)?.id()?);
        let uploaded = cx.get(&UPLOADED)?;
        let trees = uploaded.volumes.iter().map(|volume| &volume.archive.tree);
        let read = Read {
            files: trees.clone().map(|tree| tree.files).sum(),
            bytes: trees.clone().map(|tree| tree.bytes).sum(),
        };
        let volumes: Vec<_> = trees.map(|tree| tree.bytes).enumerate().collect();
        let repository = this.repository.open().await?.clone();
        let (home, sink) = (this.movers.source.cluster.clone(), cx.sink.clone());
        let work: LoneWork<()> = Arc::new(move |lone| {
            let objects = places[lone.index].clone();
            let archive = uploaded.volumes[lone.index].archive.clone();
            let (repository, home, sink) = (repository.clone(), home.clone(), sink.clone());
            Box::pin(async move {
                let place = in_bucket(&repository, objects).await;
                let read = lone.read_back(&place, &archive).await;
                // Who went on instead of us may have sent it anew.
                if read.as_ref().is_err_and(Loss::is_damage) && home.is_locked().await {
                    // Asked for again, the bucket would give the same: it is sent anew by whoever goes on.
                    for key in [&place.objects.data, &place.objects.index] {
                        if let Err(error) = repository.bucket().delete(key).await {
                            sink.notice(format!(
                                "what is damaged stays, and `run` finds it again: {error}; `rollback` begins anew"
                            ));
                        }
                    }
                }
                read
            })
        });
        let meter = this.meter(cx, self.id(), Doing::Verifying);
        // The source counts no more: whoever writes to it now writes to nothing that was sent.
        tokio::select! {
            read = this.movers.alone(Side::Source, &volumes, cx, &meter, &work) => read?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        Ok(Outcome::Done(serde_json::to_value(read)?))
    }

    fn repaired_by(&self) -> Option<&'static str> {
        Some(UPLOADED.step())
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
