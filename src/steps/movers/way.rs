use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// How the bytes of a volume go from mover to mover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Straight, by the pods' addresses.
    Direct,
    /// Through this client, by port-forwards to both.
    Client {
        /// Why not straight: what each of the two met.
        because: Vec<String>,
    },
    /// Through a bucket, as an archive that is there for as long as that takes.
    Bucket {
        /// Why by no way before it.
        because: Vec<String>,
    },
    /// By commands in pods, as a tar, with no mover.
    Exec,
}

/// The ways that were found, by the number of the volume; all steps of a run share them.
#[derive(Clone, Debug, Default)]
pub struct Ways(Arc<Mutex<BTreeMap<usize, Way>>>);

impl Ways {
    /// The way of a volume, once one was found.
    #[must_use]
    pub fn of(&self, index: usize) -> Option<Way> {
        self.found().get(&index).cloned()
    }

    /// Whether the bytes of a volume went through the bucket.
    #[must_use]
    pub fn has_bucket(&self) -> bool {
        let found = self.found();
        found.values().any(|way| matches!(way, Way::Bucket { .. }))
    }

    pub(super) fn set(&self, index: usize, way: Way) {
        self.found().insert(index, way);
    }

    fn found(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Way>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
