//! What an operation counts while it runs, from all its threads.
use super::activity::{Activity, Board};
use super::path::TreePath;
use super::recollection::Recollection;
use super::report::{Phase, Progress, Recalled};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Numbers of one operation. Each stands alone, so no order between them is needed.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) entries: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) files_same: AtomicU64,
    pub(crate) files_to_move: AtomicU64,
    pub(crate) bytes_to_move: AtomicU64,
    pub(crate) files_moved: AtomicU64,
    pub(crate) bytes_moved: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) files_checked: AtomicU64,
    pub(crate) bytes_checked: AtomicU64,
    pub(crate) files_recalled: AtomicU64,
    pub(crate) bytes_recalled: AtomicU64,
    pub(crate) others_made: AtomicU64,
    pub(crate) metadata_fixed: AtomicU64,
    pub(crate) deleted: AtomicU64,
    /// Where its workers say what they are at.
    pub(crate) board: Arc<Board>,
    /// What was seen of the mover's workers before it began.
    before: Activity,
    now: Mutex<(Phase, Option<TreePath>)>,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Relaxed);
}

/// Reads a counter.
pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

impl Counters {
    /// Those of an operation whose workers are seen on this board.
    pub(crate) fn on(board: &Arc<Board>) -> Self {
        Self {
            board: board.clone(),
            before: board.activity(),
            ..Self::default()
        }
    }

    /// What was not read again.
    pub(crate) fn recalled(&self, recollection: &Recollection) -> Recalled {
        Recalled {
            possible: recollection.is_possible(),
            files: get(&self.files_recalled),
            bytes: get(&self.bytes_recalled),
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0 = phase;
    }

    pub(crate) fn set_path(&self, path: &TreePath) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(path.clone());
    }

    pub(crate) fn progress(&self) -> Progress {
        let (phase, path) = self
            .now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Progress {
            phase,
            entries: get(&self.entries),
            files_to_move: get(&self.files_to_move),
            bytes_to_move: get(&self.bytes_to_move),
            files_moved: get(&self.files_moved),
            bytes_moved: get(&self.bytes_moved),
            files_checked: get(&self.files_checked),
            bytes_checked: get(&self.bytes_checked),
            path,
            activity: self
                .board
                .activity()
                .since(&self.before)
                .unwrap_or_default(),
        }
    }
}
