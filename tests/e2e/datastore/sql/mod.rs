//! What the tests of PostgreSQL and MySQL have in common.
mod authority;
mod history;
mod process;

pub use authority::Authority;
pub use history::{Row, Tenant};
pub use process::{Home, Process, free_port};

use anyhow::{Context as _, Result};
use kubectl_migrate::adapters::datastore::{Comparison, DatastoreError, Meter};

/// The host that the servers' certificates are for: no address of this machine.
pub const HOST: &str = "datastore.kamaji-system.svc";
/// The administrator's password at every server.
pub const PASSWORD: &str = "pass'word\\ \"1";

/// A meter that nobody reads.
pub fn quiet() -> Meter {
    Meter::new(|_| ())
}

/// A class's figures: how many rows differ, of how many.
pub fn ignored(comparison: &Comparison, class: &str) -> Option<(u64, u64)> {
    let found = comparison
        .ignored
        .iter()
        .find(|ignored| ignored.class == class)?;
    Some((found.different, found.keys))
}

/// The differences, as `key: how`.
pub fn differences(comparison: &Comparison) -> Vec<String> {
    let told = comparison.differences.iter();
    told.map(|difference| format!("{}: {}", difference.key, difference.how))
        .collect()
}

/// What a call that must fail says.
pub fn refusal<T>(result: Result<T, DatastoreError>) -> Result<DatastoreError> {
    result.err().context("it succeeded")
}
