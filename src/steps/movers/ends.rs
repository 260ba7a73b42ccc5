//! What works on a volume: movers, or commands in pods where no mover can run.
use anyhow::anyhow;

use super::{
    Compared, InBucket, Rounded,
    by_exec::{Shells, Target},
    link::{Connected, Linked},
    retry::Loss,
};
use crate::transfer::{
    Excuse, Finding, Inspection, Reading, RoundKind, Side, Verification, archive::Archive,
};

/// Both ends of a volume.
pub struct Pair {
    /// Which volume.
    pub index: usize,
    ends: Ends,
}

enum Ends {
    Movers(Box<Linked>),
    Shells(Box<Shells>),
}

/// One end alone, for work that needs no other.
pub struct Lone {
    /// Which volume.
    pub index: usize,
    end: End,
}

enum End {
    Mover(Box<Connected>),
    Shell(Box<Target>),
}

impl Pair {
    /// Two movers.
    pub(super) fn movers(linked: Linked) -> Self {
        Self {
            index: linked.index,
            ends: Ends::Movers(Box::new(linked)),
        }
    }

    /// Two shells.
    pub(super) fn shells(shells: Shells) -> Self {
        Self {
            index: shells.index,
            ends: Ends::Shells(Box::new(shells)),
        }
    }

    /// What a side's volume holds.
    pub async fn inspect(&mut self, side: Side) -> Result<Inspection, Loss> {
        match &mut self.ends {
            Ends::Movers(linked) => Ok(linked.inspect(side).await?),
            Ends::Shells(shells) => shells.inspect(side).await,
        }
    }

    /// Copies what differs, or where nothing can tell that, all of it. `began` says whether this run may have written to
    /// the target before.
    pub async fn round(&mut self, kind: RoundKind, began: bool) -> Result<Rounded, Loss> {
        match &mut self.ends {
            Ends::Movers(linked) => Ok(linked.round(kind, began).await?),
            Ends::Shells(shells) => shells.round(kind).await,
        }
    }

    /// Reads both sides back and compares them.
    pub async fn verify(&mut self, excused: &[Excuse], reading: Reading) -> Result<Compared, Loss> {
        match &mut self.ends {
            Ends::Movers(linked) => Ok(linked.verify(excused, reading).await?),
            Ends::Shells(shells) => shells.verify(excused).await,
        }
    }
}

impl Lone {
    /// A mover.
    pub(super) fn mover(connected: Connected) -> Self {
        Self {
            index: connected.index,
            end: End::Mover(Box::new(connected)),
        }
    }

    /// The shell next to a target.
    pub(super) fn shell(index: usize, target: Target) -> Self {
        Self {
            index,
            end: End::Shell(Box::new(target)),
        }
    }

    /// What goes to and from a bucket is a mover's work.
    fn only_mover(&mut self) -> Result<&mut Connected, Loss> {
        match &mut self.end {
            End::Mover(connected) => Ok(connected),
            End::Shell(_) => Err(Loss::Never(anyhow!(
                "without a mover nothing goes to or from a bucket"
            ))),
        }
    }

    /// What the target's volume holds.
    pub async fn inspect(&mut self) -> Result<Inspection, Loss> {
        match &mut self.end {
            End::Mover(connected) => Ok(connected.inspect().await?),
            End::Shell(target) => target.inspect().await,
        }
    }

    /// Deletes what this run wrote to the target.
    pub async fn wipe(&mut self) -> Result<u64, Loss> {
        match &mut self.end {
            End::Mover(connected) => Ok(connected.wipe().await?),
            End::Shell(target) => target.wipe().await,
        }
    }

    /// Takes the last traces of this run off the volume. No round can follow.
    pub async fn finish(&mut self) -> Result<(), Loss> {
        match &mut self.end {
            End::Mover(connected) => Ok(connected.finish().await?),
            End::Shell(target) => target.finish().await,
        }
    }

    /// Sends the volume to a bucket. It may read no more bytes a second than these.
    pub async fn archive(
        &mut self,
        place: &InBucket,
        frozen: bool,
        limit: Option<u64>,
    ) -> Result<Archive, Loss> {
        Ok(self.only_mover()?.archive(place, frozen, limit).await?)
    }

    /// Reads an archive out of the bucket, and compares it with what was made.
    pub async fn read_back(&mut self, place: &InBucket, archive: &Archive) -> Result<(), Loss> {
        Ok(self.only_mover()?.read_back(place, archive).await?)
    }

    /// Fills the volume from an archive; what it cannot keep.
    pub async fn extract(
        &mut self,
        place: &InBucket,
        archive: &Archive,
    ) -> Result<Vec<Finding>, Loss> {
        Ok(self.only_mover()?.extract(place, archive).await?)
    }

    /// Compares the volume with an archive's index, but for what it could not keep.
    pub async fn compare(
        &mut self,
        place: &InBucket,
        archive: &Archive,
        excused: &[Excuse],
    ) -> Result<Verification, Loss> {
        Ok(self.only_mover()?.compare(place, archive, excused).await?)
    }
}
