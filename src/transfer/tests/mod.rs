//! Two movers in one process, over loopback with real TLS, and a client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archiving;
mod between;
mod blocks;
mod copying;
mod limiting;
mod pair;
mod recalling;
mod refusing;
mod relaying;
mod renewing;
mod resuming;
mod snapshot;
pub(super) mod store;
mod through;
pub(super) mod tree;
mod verifying;
