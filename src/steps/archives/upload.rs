use std::{sync::Arc, time::Instant};

use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Archiving, RESERVED, in_bucket, named};
use crate::{
    engine::{Cx, Key, Outcome, Step, UndoPlan, Undone},
    steps::{
        copy::{broken, still_frozen},
        movers::{Doing, LoneWork, Meter},
        snapshots::SnapshotId,
    },
    transfer::{
        Side,
        archive::{Archive, Objects},
    },
};

/// Makes the archives, and sends them: each volume's mover its own.
#[derive(Clone, Debug)]
pub struct Upload(pub Archiving);

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Uploaded {
    /// Whether nobody could write meanwhile.
    pub frozen: bool,
    /// What became of each volume.
    pub volumes: Vec<UploadedVolume>,
}

/// What became of one volume.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct UploadedVolume {
    /// Its claim.
    pub claim: String,
    /// The archive, below the snapshot's name.
    pub data: String,
    /// The index, below the snapshot's name.
    pub index: String,
    /// What is in them.
    pub archive: Archive,
    /// Seconds that making and sending took, without the start of the mover; 0 where an older version did not write
    /// it down.
    #[serde(default)]
    pub seconds: f64,
}

/// What it leaves in the journal.
pub const UPLOADED: Key<Uploaded> = Key::new("upload");

impl Archiving {
    /// Where the volumes' archives are.
    pub(super) fn places(&self, id: &SnapshotId) -> Vec<Objects> {
        let names = named(&self.inventory).into_iter();
        names
            .map(|named| Objects {
                data: self.repository.key_of(id, &named.data),
                index: self.repository.key_of(id, &named.index),
            })
            .collect()
    }

    pub(super) fn meter(&self, cx: &Cx, step: &str, doing: Doing) -> Meter {
        let names = self
            .inventory
            .volumes
            .iter()
            .map(|volume| volume.source.clone());
        Meter::new(cx.sink.clone(), step, doing, names)
    }
}

#[async_trait]
impl Step for Upload {
    fn id(&self) -> &'static str {
        UPLOADED.step()
    }

    fn title(&self) -> String {
        let count = self.0.inventory.volumes.len();
        let volumes = if count == 1 { "volume" } else { "volumes" };
        format!("send {count} {volumes} to the bucket")
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("take the movers away".to_owned())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let this = &self.0;
        let places = this.places(&cx.get(&RESERVED)?.id()?);
        let frozen = this.guard.is_some();
        let limit = this.movers.limit.of_each(places.len());
        let repository = this.repository.open().await?.clone();
        let work: LoneWork<(Archive, f64)> = Arc::new(move |lone| {
            let objects = places[lone.index].clone();
            let repository = repository.clone();
            Box::pin(async move {
                let place = in_bucket(&repository, objects).await;
                let began = Instant::now();
                let archive = lone.archive(&place, frozen, limit).await?;
                Ok((archive, began.elapsed().as_secs_f64()))
            })
        });
        let meter = this.meter(cx, self.id(), Doing::Copying);
        let volumes: Vec<_> = (0..this.inventory.volumes.len())
            .map(|index| (index, 0))
            .collect();
        let archives = tokio::select! {
            archives = this.movers.alone(Side::Source, &volumes, cx, &meter, &work) => archives?,
            broken = broken(this.guard.as_ref(), cx) => return Err(broken),
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        still_frozen(this.guard.as_ref(), cx).await?;
        let volumes = this.inventory.volumes.iter().zip(named(&this.inventory));
        let volumes: Vec<_> = volumes
            .zip(archives)
            .map(|((volume, named), (archive, seconds))| UploadedVolume {
                claim: volume.source.clone(),
                data: named.data,
                index: named.index,
                archive,
                seconds,
            })
            .collect();
        for volume in &volumes {
            if let Some(changed) = changed(volume) {
                cx.sink.notice(changed);
            }
        }
        Ok(Outcome::Done(serde_json::to_value(Uploaded {
            frozen,
            volumes,
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        // They hold the volumes, and may still be sending. What they sent goes with what was begun, behind the freeze:
        // a bucket that is away must not keep the workload from waking.
        self.0.movers.remove().await?;
        Ok(Undone::Restored)
    }
}

/// What is told of a volume that was written to while it was read.
fn changed(volume: &UploadedVolume) -> Option<String> {
    let (count, examples) = (volume.archive.changed, &volume.archive.changed_examples);
    if count == 0 {
        return None;
    }
    let examples: Vec<_> = examples.iter().map(|path| format!("`{path}`")).collect();
    let files = if count == 1 { "file" } else { "files" };
    Some(format!(
        "claim {}: {count} {files} changed while they were read, such as {}: the snapshot has what was read of them",
        volume.claim,
        examples.join(", ")
    ))
}
