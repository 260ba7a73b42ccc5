//! Writes to the target: many keys in a transaction, several transactions on their way.
use std::{collections::HashMap, mem, sync::Arc};

use etcd_client::{PutOptions, Txn, TxnOp, TxnOpResponse};
use tokio::task::JoinSet;

use super::{
    super::DatastoreError,
    entry::Entry,
    fault::{is_lease_gone, is_request_too_large},
    leases::{Fate, Leases},
    overtaken::once_more,
    store::{Store, unsigned},
};

/// What etcd takes in one transaction (`--max-txn-ops`).
const MOST_CHANGES: usize = 128;
/// etcd takes 1.5 MiB (`--max-request-bytes`), keys and all; a larger value goes alone.
const MOST_BYTES: usize = 1 << 20;
/// Transactions on their way: the server writes them to its disk together.
const IN_FLIGHT: usize = 16;
/// How often a transaction is sent again because a lease ran out under it.
const LEASE_TRIES: usize = 5;

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Put(Entry),
    Remove(Vec<u8>),
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(entry) => entry.bytes(),
            Self::Remove(key) => key.len(),
        }
    }

    fn lease(&self) -> Option<i64> {
        match self {
            Self::Put(entry) if entry.lease != 0 => Some(entry.lease),
            _ => None,
        }
    }

    /// A key whose lease is over at the source is gone there, or will be in a moment.
    fn with_fates(self, fates: &HashMap<i64, Fate>) -> Self {
        match self {
            Self::Put(entry) if fates.get(&entry.lease) == Some(&Fate::Over) => {
                Self::Remove(entry.key)
            }
            other => other,
        }
    }

    fn operation(&self) -> TxnOp {
        match self {
            Self::Put(entry) => {
                let options = PutOptions::new().with_lease(entry.lease);
                TxnOp::put(entry.key.clone(), entry.value.clone(), Some(options))
            }
            Self::Remove(key) => TxnOp::delete(key.clone(), None),
        }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub keys: u64,
    pub removed: u64,
    pub bytes: u64,
}

/// The one writer to the target's schema. What it has on its way ends with it.
pub(super) struct Writer {
    target: Store,
    leases: Arc<Leases>,
    batch: Vec<Change>,
    batch_bytes: usize,
    on_its_way: JoinSet<Result<Written, DatastoreError>>,
    written: Written,
}

impl Writer {
    pub(super) fn new(source: &Store, target: &Store) -> Self {
        Self {
            target: target.clone(),
            leases: Arc::new(Leases::new(source.clone(), target.clone())),
            batch: Vec::new(),
            batch_bytes: 0,
            on_its_way: JoinSet::new(),
            written: Written::default(),
        }
    }

    /// Takes a change. No key may be changed twice without a [`Writer::settle`] between.
    pub(super) async fn take(&mut self, change: Change) -> Result<(), DatastoreError> {
        let bytes = change.bytes();
        if !self.batch.is_empty() && self.batch_bytes + bytes > MOST_BYTES {
            self.send().await?;
        }
        self.batch_bytes += bytes;
        self.batch.push(change);
        if self.batch.len() == MOST_CHANGES {
            self.send().await?;
        }
        Ok(())
    }

    /// Waits until all that was taken is written.
    pub(super) async fn settle(&mut self) -> Result<Written, DatastoreError> {
        self.send().await?;
        while !self.on_its_way.is_empty() {
            self.one_arrives().await?;
        }
        Ok(self.written)
    }

    async fn send(&mut self) -> Result<(), DatastoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        while self.on_its_way.len() >= IN_FLIGHT {
            self.one_arrives().await?;
        }
        let batch = mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.on_its_way
            .spawn(apply(self.target.clone(), Arc::clone(&self.leases), batch));
        Ok(())
    }

    async fn one_arrives(&mut self) -> Result<(), DatastoreError> {
        let Some(arrived) = self.on_its_way.join_next().await else {
            return Ok(());
        };
        let written = arrived.map_err(|error| DatastoreError::Lost {
            store: self.target.name.to_string(),
            doing: "writing".to_owned(),
            cause: error.to_string(),
        })??;
        self.written.keys += written.keys;
        self.written.removed += written.removed;
        self.written.bytes += written.bytes;
        Ok(())
    }
}

async fn apply(
    target: Store,
    leases: Arc<Leases>,
    mut batch: Vec<Change>,
) -> Result<Written, DatastoreError> {
    let mut tries = 0;
    loop {
        let mut needed: Vec<i64> = batch.iter().filter_map(Change::lease).collect();
        needed.sort_unstable();
        needed.dedup();
        let fates = leases.ensure(needed.clone()).await?;
        batch = batch
            .into_iter()
            .map(|change| change.with_fates(&fates))
            .collect();
        match commit(&target, &batch).await {
            Ok(removed) => return Ok(written(&batch, removed)),
            Err(error) if is_lease_gone(&error) && tries < LEASE_TRIES => {
                tries += 1;
                leases.forget(&needed);
            }
            Err(error) if is_request_too_large(&error) => return Err(too_large(&target, &batch)),
            Err(error) => return Err(target.fault("writing", &error)),
        }
    }
}

/// Sends the changes; how many keys were removed.
async fn commit(target: &Store, batch: &[Change]) -> Result<u64, etcd_client::Error> {
    // Alone, a value may be as large as the one who wrote it could make it.
    if let [Change::Put(entry)] = batch {
        let put = once_more(|| {
            let options = PutOptions::new().with_lease(entry.lease);
            let (key, value) = (entry.key.clone(), entry.value.clone());
            let mut kv = target.kv();
            async move { kv.put(key, value, Some(options)).await }
        });
        put.await?;
        return Ok(0);
    }
    let answer = once_more(|| {
        let operations: Vec<TxnOp> = batch.iter().map(Change::operation).collect();
        let mut kv = target.kv();
        async move { kv.txn(Txn::new().and_then(operations)).await }
    });
    let answer = answer.await?;
    let removed = answer.op_responses().into_iter().map(|done| match done {
        TxnOpResponse::Delete(deleted) => unsigned(deleted.deleted()),
        _ => 0,
    });
    Ok(removed.sum())
}

fn written(batch: &[Change], removed: u64) -> Written {
    let mut written = Written {
        removed,
        ..Written::default()
    };
    for change in batch {
        if let Change::Put(entry) = change {
            written.keys += 1;
            written.bytes += entry.bytes() as u64;
        }
    }
    written
}

fn too_large(target: &Store, batch: &[Change]) -> DatastoreError {
    let largest = batch.iter().map(Change::bytes).max().unwrap_or_default();
    DatastoreError::Unexpected {
        store: target.name.to_string(),
        what: format!(
            "it does not take a value of {largest} bytes; raise its --max-request-bytes to that of the source"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leased(key: &str, lease: i64) -> Change {
        Change::Put(Entry {
            key: key.into(),
            value: b"value".to_vec(),
            lease,
        })
    }

    #[test]
    fn a_key_whose_lease_is_over_is_removed_and_no_other() {
        let fates = HashMap::from([(7, Fate::Over), (8, Fate::There)]);
        assert_eq!(
            leased("a", 7).with_fates(&fates),
            Change::Remove(b"a".to_vec())
        );
        assert_eq!(leased("b", 8).with_fates(&fates), leased("b", 8));
        assert_eq!(leased("c", 0).with_fates(&fates), leased("c", 0));
    }

    #[test]
    fn what_was_written_is_counted_without_what_was_removed() {
        let batch = [leased("a", 0), Change::Remove(b"b".to_vec())];
        assert_eq!(
            written(&batch, 1),
            Written {
                keys: 1,
                removed: 1,
                bytes: 6
            }
        );
    }
}
