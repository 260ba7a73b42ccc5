//! A tenant's schema into a file or a bucket, and out of it into a DataStore.
mod differences;
mod origin;
mod restore;
mod take;

use tokio::task::JoinError;

pub use origin::Origin;
pub use restore::Restore;
pub use take::{Taken, Target, snapshot};

/// Records between two that work on them.
const AHEAD: usize = 256;

fn ended(error: JoinError) -> anyhow::Error {
    anyhow::Error::new(error).context("a thread ended")
}
