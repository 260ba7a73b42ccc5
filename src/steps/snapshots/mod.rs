//! Snapshots in a bucket: `<prefix>/<name>/<time>/`, with the data, and behind it the manifest that makes it whole.
//!
//! | object | is |
//! |---|---|
//! | `data.jsonl.zst` | what was taken, as [`archive`](crate::adapters::datastore::archive) has it in a file |
//! | `manifest.json` | what it is of, how large, with digests; written last. Without it a snapshot is unfinished |
mod id;
mod manifest;
mod repository;

pub use id::SnapshotId;
pub use manifest::{Data, FORMAT, Kind, Manifest};
pub use repository::{Found, Repository, State, Stored};
