//! The write guard: no lock, no change. A runner that lost its Lease must send nothing more.
use std::sync::Arc;

use futures::future::BoxFuture;

/// Asked before each change, and before each repeat of it; `Err` says how the lock was lost.
pub type WriteGuard = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
