//! Volumes out of a bucket, into claims that are made for them or are empty, and the workload that uses them.
mod compare;
mod fill;
mod hand;
mod start;

use crate::{
    engine::Cx,
    steps::{
        archives::Remote,
        movers::{Doing, Meter, Movers},
        snapshots::{SnapshotId, VolumesManifest},
    },
    transfer::archive::{Archive, Objects},
};

pub use compare::{COMPARED, Compare, Compared, ComparedVolume};
pub use fill::{FILLED, Fill, Filled};
pub use hand::Hand;
pub use start::{BROUGHT, Brought, StartWorkload};

/// What all steps of a restore work with.
#[derive(Clone, Debug)]
pub struct Restoring {
    /// The movers; only those of the target are made.
    pub movers: Movers,
    /// Where the snapshot is.
    pub repository: Remote,
    /// What it is called there.
    pub id: SnapshotId,
    /// What is in it, in the order of the movers' volumes.
    pub manifest: VolumesManifest,
}

impl Restoring {
    /// Where the volumes' archives are, and what is in them.
    fn places(&self) -> Vec<(Objects, Archive)> {
        let volumes = self.manifest.volumes.iter();
        volumes
            .map(|volume| {
                let objects = Objects {
                    data: self.repository.key_of(&self.id, &volume.data),
                    index: self.repository.key_of(&self.id, &volume.index),
                };
                (objects, volume.archive.clone())
            })
            .collect()
    }

    /// The volumes' numbers, each with how many bytes it is to hold.
    fn volumes(&self) -> Vec<(usize, u64)> {
        let volumes = self.manifest.volumes.iter();
        volumes
            .map(|volume| volume.archive.tree.bytes)
            .enumerate()
            .collect()
    }

    fn meter(&self, cx: &Cx, step: &str, doing: Doing) -> Meter {
        let names = self
            .movers
            .volumes
            .iter()
            .map(|volume| volume.target.clone());
        Meter::new(cx.sink.clone(), step, doing, names)
    }
}
