//! Movers in the cluster: made, found again, connected, and taken away.
//!
//! For each volume there are two Jobs, one next to the source and one next to the target. They stay from
//! the first warm round to the last verification; whatever ends one of them in between, Kubernetes starts
//! it again and the work goes on with what is already there. By exec the pods in their place only wait for commands.
mod adopt;
mod bucket_checks;
mod by_bucket;
mod by_exec;
mod ends;
mod ensure;
mod keys;
mod limit;
mod link;
mod meter;
mod objects;
mod put;
mod remove;
mod retry;
#[cfg(test)]
pub(super) mod testing;
mod through;
mod watch;
mod way;

use std::time::Duration;

use serde_json::Value;

use super::{Place, inventory::Volume};
use crate::marks::Belongs;
use crate::{
    plan::{MoverWay, RunAs},
    transfer::Side,
};

pub use adopt::Adopted;
pub use ends::{Lone, Pair};
pub use ensure::STARTS_WITHIN;
pub use limit::Limit;
pub use link::{Compared, InBucket, Rounded};
pub use meter::{Doing, Meter};
pub use put::{Executable, NoExecutable, Opened, has_image, may_have_image, own_digest};
pub use retry::{LoneWork, Loss, Work};
pub use through::{Through, access, lender, stored};
pub use way::{Way, Ways};

/// All movers of a migration.
#[derive(Clone, Debug)]
pub struct Movers {
    /// The migration.
    pub belongs: Belongs,
    /// Where the source is; the migration's keys are kept there too.
    pub source: Place,
    /// Where the target is.
    pub target: Place,
    /// The volumes, two movers each.
    pub volumes: Vec<Volume>,
    /// The workload, for where its pods may run and as whom; null for a single volume.
    pub workload: Value,
    /// The movers' image.
    pub image: String,
    /// What is put into that image, where it does not hold the mover.
    pub executable: Option<Executable>,
    /// Secret with the image's pull credentials.
    pub pull_secret: Option<String>,
    /// The user that they run as.
    pub run_as: RunAs,
    /// How long each may take to run.
    pub starts_within: Duration,
    /// How the bytes of each volume go.
    pub ways: Ways,
    /// The ways that may be taken, in the order in which they are tried.
    pub allowed: Vec<MoverWay>,
    /// The bucket that is one of them.
    pub through: Option<Through>,
    /// Whether the source's own pods stay, asleep, so that a volume can be read in them.
    pub asleep: bool,
    /// How fast they may copy.
    pub limit: Limit,
    /// Whether they only read, also the targets, which may be in use.
    pub only_read: bool,
}

/// One mover: of which volume, and on which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mover {
    pub(crate) index: usize,
    pub(crate) side: Side,
}

impl Movers {
    /// The same, to read both sides once more after the migration.
    #[must_use]
    pub fn only_reading(self) -> Self {
        Self {
            only_read: true,
            ..self
        }
    }

    /// By which way all of a volume goes each time, if bytes may go by no other.
    #[must_use]
    pub fn only_whole(&self) -> Option<String> {
        match (&self.allowed[..], &self.through) {
            ([MoverWay::Bucket], Some(through)) => Some(format!("through {}", through.address())),
            ([MoverWay::Exec], _) => Some("by exec".to_owned()),
            _ => None,
        }
    }

    /// Whether volumes go by commands in pods: then there are no movers, and pods with a shell alone have their place.
    #[must_use]
    pub fn goes_by_exec(&self) -> bool {
        self.allowed == [MoverWay::Exec]
    }

    /// Whether nothing of a volume can be read as long as the workload's pod has it.
    #[must_use]
    pub fn waits_for(&self, volume: &Volume) -> bool {
        volume.is_exclusive() && !(self.goes_by_exec() && self.asleep)
    }

    /// The place of one side.
    #[must_use]
    pub fn place(&self, side: Side) -> &Place {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// The name of a mover's objects.
    pub(crate) fn name(&self, mover: &Mover) -> String {
        let migration = &self.belongs.migration;
        format!("migrate-{migration}-{}-{}", mover.index, mover.side)
    }

    /// The names of the objects of all movers of one side.
    pub(crate) fn names(&self, side: Side) -> impl Iterator<Item = String> {
        let movers = self.all().filter(move |mover| mover.side == side);
        movers.map(|mover| self.name(&mover))
    }

    /// Whether a mover writes to its volume.
    fn writes(&self, mover: &Mover) -> bool {
        mover.side == Side::Target && !self.only_read
    }

    /// What the two movers of a volume know each other by.
    pub(crate) fn run_of(&self, index: usize) -> String {
        format!("{}-{index}", self.belongs.run)
    }

    /// Every mover.
    pub(crate) fn all(&self) -> impl Iterator<Item = Mover> {
        let sides = [Side::Source, Side::Target];
        (0..self.volumes.len()).flat_map(move |index| sides.map(|side| Mover { index, side }))
    }
}
