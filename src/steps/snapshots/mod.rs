//! Snapshots in a bucket: `<prefix>/<name>/<time>/`, with the data, and behind it the manifest that makes it whole.
//!
//! | object | is |
//! |---|---|
//! | `data.jsonl.zst` | of a tenant: what was taken, as [`archive`](crate::adapters::datastore::archive) has it in a file |
//! | `POD/VOLUME.tar.zst` | of a workload: a volume, as [`transfer::archive`](crate::transfer::archive) has it |
//! | `POD/VOLUME.index.zst` | every entry of it with its digest |
//! | `manifest.json` | what it is of, how large, with digests; written last. Without it a snapshot is unfinished |
//! | `deleted.json` | while it is being pruned: from before its first object goes until after the last |
//! | `checks.json` | when it was last seen to be good, of each level; without it that was never so |
mod contents;
mod first;
mod id;
mod manifest;
mod proofs;
mod removal;
mod repository;
mod retention;
mod volumes;

pub use contents::Contents;
pub use id::SnapshotId;
pub use manifest::{Data, FORMAT, Kind, Manifest};
pub use proofs::{Proof, Proofs};
pub use removal::Left;
pub use repository::{Found, Repository, State, Stored};
pub use retention::{Fate, Judged, Keep, Reason, Rule, Subject, judge};
pub use volumes::{Referenced, StoredVolume, VOLUMES_FORMAT, VolumesManifest, kept, referenced};
