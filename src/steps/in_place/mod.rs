//! A StatefulSet moved in place: it keeps its name and its claims' names, and gets other volumes.
//!
//! The new volumes are filled and compared under names of ours. Then, while the workload is frozen:
//!
//! | step | does | put back by |
//! |---|---|---|
//! | `retain` | lets every volume, old and new, outlive its claim, and writes down all that is to be put back | giving the reclaim policies back |
//! | `swap` | gives the claims' names to the new volumes, and makes the StatefulSet again with its new templates | the same, the other way round |
//! | `start` | starts its pods | scaling it to 0 again |
//!
//! A swap is never told to do one thing after another: it looks which name is whose, and makes what is wanted of it. So
//! it may be cut off between any two requests, forward or back, and ends the same. What it must not do is small enough to
//! be seen in one place, `claims.rs`: no claim is deleted before its volume was seen to outlive it. A StatefulSet
//! exists only while all its claims are of one kind, so that nothing starts on a mixture.
mod bind;
mod change;
mod checks;
mod claims;
mod guarded;
mod nodes;
mod note;
mod old;
mod record;
mod retain;
mod rules;
mod start;
mod swap;
#[cfg(test)]
mod tests;
mod workload;

pub use guarded::{FreezeInPlace, VerifyInPlace};
pub use old::OldVolumes;
pub use record::{Held, Kept, KeptVolume, RETAINED};
pub use retain::Retain;
pub use rules::rules;
pub use start::{START, Start};
pub use swap::Swap;

use super::{Place, freeze::FreezeStep, inventory::Inventory};
use crate::{marks::Belongs, plan::Target};

/// What the steps of a move in place have in common.
#[derive(Clone, Debug)]
pub struct InPlace {
    /// The migration.
    pub belongs: Belongs,
    /// Where the StatefulSet is, and stays.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// Class and size that its volumes are to have.
    pub target: Target,
    /// What is moved.
    pub inventory: Inventory,
    /// What stops its writes.
    pub freeze: FreezeStep,
}

impl InPlace {
    /// The StatefulSet, for people.
    fn object(&self) -> String {
        self.place.object("statefulset", &self.name)
    }

    /// A claim, for people.
    fn claim(&self, name: &str) -> String {
        self.place.object("persistentvolumeclaim", name)
    }
}
