//! One operation on the target: what its threads share.
use crate::transfer::cancel::Cancel;
use crate::transfer::counters::Counters;
use crate::transfer::fault::Fault;
use crate::transfer::findings::Findings;
use crate::transfer::path::TreePath;
use crate::transfer::recollection::Recollection;
use crate::transfer::report::EXAMPLES;
use crate::transfer::volume::Volume;
use std::sync::{Mutex, PoisonError};

/// Shared by the threads of one operation.
pub(crate) struct Operation<'a> {
    pub(crate) volume: &'a Volume,
    pub(crate) run: &'a str,
    pub(crate) counters: &'a Counters,
    pub(crate) cancel: &'a Cancel,
    /// What was read before.
    pub(crate) recollection: &'a Recollection,
    pub(crate) findings: Findings,
    changed: Mutex<(u64, Vec<TreePath>)>,
}

impl<'a> Operation<'a> {
    pub(crate) fn new(
        volume: &'a Volume,
        run: &'a str,
        counters: &'a Counters,
        cancel: &'a Cancel,
        recollection: &'a Recollection,
    ) -> Self {
        Self {
            volume,
            run,
            counters,
            cancel,
            recollection,
            findings: Findings::default(),
            changed: Mutex::default(),
        }
    }

    /// Remembers a file that changed while it was read.
    pub(crate) fn note_changed(&self, path: &TreePath) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.0 += 1;
        if changed.1.len() < EXAMPLES {
            changed.1.push(path.clone());
        }
    }

    /// How many changed, and the first of them.
    pub(crate) fn changed(&self) -> (u64, Vec<TreePath>) {
        self.changed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The first failure of any thread.
    pub(crate) fn outcome(&self) -> Result<(), Fault> {
        self.cancel.check()
    }
}
