//! The way `controller`: Kamaji's own Job copies, and nothing is given away before it was compared.
//!
//! | step | changes | put back by |
//! |---|---|---|
//! | `raise` | the target store's revision is above the source's | nothing: a revision is only a counter |
//! | `request` | Kamaji is asked for the target: it freezes the tenant, and its Job copies | taking the wish back, deleting Job and copy |
//! | `freeze` | the freeze was seen in force; Kamaji is paused, so that it cannot flip; the freeze has no holes | with `request` |
//! | `job` | nothing: the Job is watched, and what it did is compared | – |
//! | `final-copy` | the target store holds what the Job left out, and nothing else | with `request` |
//! | `verify` | nothing: both stores are compared by content | – |
//! | `lead` | the target's revisions begin above all that the source's API servers still write for themselves | with `request` |
//! | `commit` | Kamaji goes on, and gives the tenant to the target | never |
//! | `roll-out`, `thaw` | as in the way `direct` | never |
//!
//! A pause that comes before Kamaji has installed its freeze keeps it from ever doing so: it is set only after a
//! write was seen refused. A Job that is faster than that flips the tenant by itself; the steps behind it then say
//! so, and compare what can still be compared.
mod abort;
mod await_freeze;
mod await_job;
mod cause;
mod commit;
mod defects;
mod frozen;
mod job;
mod left;
mod manager;
mod mark;
mod mend;
mod request;
mod rights;
mod timeout;

pub use await_freeze::{AwaitFreeze, FROZEN_BY_KAMAJI, FrozenByKamaji};
pub use await_job::{AwaitJob, Copied, JOB};
pub use commit::Commit;
pub use defects::Defect;
pub(super) use frozen::KAMAJI_FREEZE;
pub use left::LeftByKamaji;
pub(super) use manager::{MANAGER, Manager};
pub(super) use mark::Original;
pub use mend::Mend;
pub use request::{REQUESTED, Request, Requested};
pub(super) use rights::rules;
