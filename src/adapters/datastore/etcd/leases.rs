//! Leases at the target: the source's, with the same number and the time that is left.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use etcd_client::LeaseGrantOptions;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;

use super::{super::DatastoreError, fault::is_lease_there, overtaken::once_more, store::Store};

/// Leases that are looked after at once.
const PARALLEL: usize = 32;

/// What became of a lease of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The target has it.
    There,
    /// It has run out, and its keys are gone or about to be.
    Over,
}

/// The leases that this copy has met; each is asked for and granted once.
pub(super) struct Leases {
    source: Store,
    target: Store,
    known: Mutex<HashMap<i64, Arc<OnceCell<Fate>>>>,
}

impl Leases {
    pub(super) fn new(source: Store, target: Store) -> Self {
        Self {
            source,
            target,
            known: Mutex::default(),
        }
    }

    /// Makes sure of these leases; what became of each.
    pub(super) async fn ensure(
        &self,
        leases: Vec<i64>,
    ) -> Result<HashMap<i64, Fate>, DatastoreError> {
        stream::iter(leases)
            .map(|lease| async move { Ok((lease, self.fate(lease).await?)) })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    /// These are looked at again: the target says that it has lost one of them.
    pub(super) fn forget(&self, leases: &[i64]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for lease in leases {
            known.remove(lease);
        }
    }

    async fn fate(&self, lease: i64) -> Result<Fate, DatastoreError> {
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(lease).or_default())
        };
        cell.get_or_try_init(|| self.grant(lease)).await.copied()
    }

    async fn grant(&self, lease: i64) -> Result<Fate, DatastoreError> {
        let Some(left) = self.source.remaining(lease).await? else {
            return Ok(Fate::Over);
        };
        let granted = once_more(|| {
            let options = LeaseGrantOptions::new().with_id(lease);
            let mut leases = self.target.leases();
            async move { leases.grant(left, Some(options)).await }
        });
        match granted.await {
            Ok(_) => Ok(Fate::There),
            // An earlier copy's: it has counted down meanwhile, as the source's has.
            Err(error) if is_lease_there(&error) => Ok(Fate::There),
            Err(error) => Err(self.target.fault("granting leases", &error)),
        }
    }
}
