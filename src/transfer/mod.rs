//! The data plane: listing, comparing, moving and verifying a volume, mover to mover.
pub mod control;
pub mod entry;
pub mod escaped;
pub mod fault;
pub mod frame;
pub mod keys;
pub mod mover;
pub mod path;
pub mod report;
pub mod side;

mod cancel;
mod channel;
mod compare;
mod counters;
mod findings;
mod listing;
mod metadata;
mod protocol;
mod read;
mod remove;
mod root;
mod tls;
mod volume;
mod walk;
mod work;
mod write;
mod xattr;

pub use control::{Control, ControlError};
pub use fault::Fault;
pub use keys::{ClientKeys, RunKeys};
pub use mover::DEFAULT_CONNECTIONS;
pub use report::{
    Difference, Finding, Inspection, Ownership, Progress, Reach, Room, RoundKind, RoundSummary,
    Verification, What,
};
pub use side::Side;

#[cfg(test)]
mod tests;
