//! A Kamaji tenant's control plane moves from one DataStore to another.
//!
//! | step | changes | put back by |
//! |---|---|---|
//! | `pause` | Kamaji's controller leaves the tenant alone | removing the annotation |
//! | `warm-copy` | the target store holds the tenant's data, but for the last changes | removing it |
//! | `raise` | the target store's revision is above the source's | nothing: a revision is only a counter |
//! | `warm-verify` | nothing: both stores are compared by content, and what changed meanwhile is copied | – |
//! | `freeze` | no write to the tenant is accepted, as refused writes prove | lifting it, as an accepted write proves |
//! | `final-copy` | the target store holds all of it | removing it |
//! | `verify` | nothing: what changed since, else all, is compared by content | – |
//! | `lead` | the target store goes on behind what the source's API servers still write for themselves | removing the copy |
//! | `flip` | the tenant belongs to the target store | never: from here on the target is written to |
//! | `roll-out` | the controller moves the API servers | never |
//! | `thaw` | writes are accepted again, by the target | never |
//! | `settle` | nothing: no API server uses the source any more, which is looked at a last time | – |
mod api;
mod checks;
mod controller;
mod final_copy;
mod flip;
mod freeze;
mod lead;
mod neighbours;
mod offline;
mod old_data;
mod pause;
mod policy;
mod raise;
mod rights;
mod roll_out;
mod settle;
mod snapshot;
mod stores;
mod tenant;
mod thaw;
mod unfreeze;
mod verify;
mod warm_copy;
mod warm_verify;

use std::time::Duration;

use crate::{
    marks::Belongs,
    plan::{TenantFreeze, TenantWay},
    steps::Place,
};

pub use checks::{JobLook, TenantLook};
pub use controller::{
    AwaitFreeze, AwaitJob, Commit, Copied, Defect, FROZEN_BY_KAMAJI, FrozenByKamaji, JOB,
    LeftByKamaji, Mend, REQUESTED, Request, Requested,
};
pub use final_copy::{FinalCopy, LAST};
pub use flip::Flip;
pub use freeze::FreezeTenant;
pub use lead::Lead;
pub use pause::Pause;
pub use raise::Raise;
pub use rights::rules;
pub use roll_out::RollOut;
pub use settle::Settle;
pub use snapshot::{Origin, Restore, Taken, Target as SnapshotTarget, snapshot};
pub use stores::Stores;
pub use tenant::{Tenant, settled_in};
pub use thaw::ThawTenant;
pub use unfreeze::Held;
pub use verify::{COMPARED, VerifyStores};
pub use warm_copy::WarmCopy;
pub use warm_verify::WarmVerify;

/// How long API servers may take to start or to end: an image may have to be pulled.
const ROLL_OUT_BOUND: Duration = Duration::from_mins(15);

/// What every step of the playbook works with.
#[derive(Clone, Debug)]
pub struct Switch {
    /// The migration.
    pub belongs: Belongs,
    /// Where the tenant's control plane is.
    pub place: Place,
    /// The tenant, as it was when the migration began.
    pub tenant: Tenant,
    /// Who copies.
    pub way: TenantWay,
    /// How its writes are stopped.
    pub freeze: TenantFreeze,
    /// Both stores.
    pub stores: Stores,
}

impl Switch {
    /// The control plane's name for people.
    #[must_use]
    pub fn shown(&self) -> String {
        self.place.object("tenantcontrolplane", &self.tenant.name)
    }
}
