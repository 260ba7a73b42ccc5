//! Where a journal is kept, and the lock on it: a `ConfigMap` with a Lease, or a file.
//!
//! In the cluster everybody with read rights can watch, and another laptop can go on. The Lease is lock,
//! fencing number and the place where live progress is published. A file is for those who may not write
//! such objects; its lock is the file's own.
mod cluster;
mod file;
mod limit;
mod lock;
mod seen;

pub use cluster::BOUND;
pub use lock::{Keeper, LockError, Locked};
pub use seen::{Seen, Unreadable, all, one};
