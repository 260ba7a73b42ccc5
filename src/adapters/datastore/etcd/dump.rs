//! A schema out of a store, and into one.
use std::collections::HashMap;

use bytes::Bytes;
use etcd_client::LeaseGrantOptions;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc::{Receiver, Sender};

use super::{
    super::{
        DatastoreError, Meter, Reading,
        archive::{Lease, Piece, Record},
    },
    EtcdPair,
    entry::Entry,
    fault::is_lease_there,
    overtaken::once_more,
    store::{ReadFault, Store},
    stretches::{At, Part, Stopped, read_source},
    writer::{Change, Writer},
};

/// Leases that are asked for at once.
const PARALLEL: usize = 32;
/// Pages that wait.
const AHEAD: usize = 1;

/// Sends all keys as they are at one revision; that revision.
pub(super) async fn dump(
    pair: &EtcdPair,
    out: &Sender<Piece>,
    meter: &Meter,
) -> Result<u64, DatastoreError> {
    let store = &pair.source;
    let (head, of) = store.counted(&pair.range).await?;
    let mut reading = Reading {
        of,
        ..Reading::default()
    };
    let at = At {
        store: store.clone(),
        revision: head.revision,
    };
    let (pages, mut read) = tokio::sync::mpsc::channel(AHEAD);
    let mut readers = tokio::task::JoinSet::new();
    readers.spawn(read_source(at, pair.range.clone(), pages));
    let mut leases = HashMap::new();
    while let Some(page) = read.recv().await {
        let Part { entries, .. } = match page {
            Ok(page) => page,
            Err(
                Stopped::Source(ReadFault::Other(error)) | Stopped::Target(ReadFault::Other(error)),
            ) => {
                return Err(error);
            }
            Err(_) => return Err(store.compacted(&pair.range, head.revision).await),
        };
        look_up(store, &entries, &mut leases).await?;
        for entry in entries {
            reading.keys += 1;
            reading.bytes += entry.bytes() as u64;
            let Some(record) = record(entry, pair.range.from.len(), &leases) else {
                continue;
            };
            // Who writes says by itself why it takes no more.
            if out.send(Piece::Record(record)).await.is_err() {
                return Ok(head.revision.unsigned_abs());
            }
        }
        meter.show(reading);
    }
    // A reader that ended early must not look like the end.
    if reading.keys != of {
        let read = reading.keys;
        return Err(DatastoreError::Lost {
            store: store.name.to_string(),
            doing: format!("reading revision {}", head.revision),
            cause: format!("{read} of {of} keys came"),
        });
    }
    Ok(head.revision.unsigned_abs())
}

/// Asks how long leases have left that were not seen yet.
async fn look_up(
    store: &Store,
    entries: &[Entry],
    known: &mut HashMap<i64, Option<i64>>,
) -> Result<(), DatastoreError> {
    let mut new: Vec<i64> = entries.iter().map(|entry| entry.lease).collect();
    new.sort_unstable();
    new.dedup();
    new.retain(|lease| *lease != 0 && !known.contains_key(lease));
    let found: Vec<_> = stream::iter(new)
        .map(|lease| async move { Ok((lease, store.remaining(lease).await?)) })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    known.extend(found);
    Ok(())
}

/// A key as it is kept; none where its lease is over, for then it is gone, or about to be.
fn record(entry: Entry, prefix: usize, leases: &HashMap<i64, Option<i64>>) -> Option<Record> {
    let lease = match leases.get(&entry.lease) {
        None => None,
        Some(left) => Some(Lease {
            id: entry.lease,
            seconds: (*left)?,
        }),
    };
    Some(Record {
        number: 0,
        key: entry.key[prefix..].to_vec(),
        fields: vec![Some(Bytes::from(entry.value))],
        lease,
    })
}

/// Puts keys into the target, with leases that have as much left as when they were read.
pub(super) async fn load(
    pair: &EtcdPair,
    records: &mut Receiver<Record>,
    meter: &Meter,
) -> Result<(), DatastoreError> {
    let target = &pair.target;
    let mut reading = Reading::default();
    let mut granted = std::collections::HashSet::new();
    // A lease that runs out meanwhile is looked for where it was: it is over there, too.
    let mut writer = Writer::new(target, target);
    while let Some(record) = records.recv().await {
        if let Some(lease) = record.lease
            && granted.insert(lease.id)
        {
            grant(target, lease).await?;
        }
        reading.keys += 1;
        reading.bytes += record.bytes();
        let value = record.fields.into_iter().next().flatten();
        let entry = Entry {
            key: [&pair.range.from[..], &record.key].concat(),
            value: value.unwrap_or_default().into(),
            lease: record.lease.map_or(0, |lease| lease.id),
        };
        writer.take(Change::Put(entry)).await?;
        if reading.keys.is_multiple_of(1_024) {
            meter.show(reading);
        }
    }
    writer.settle().await?;
    meter.show(reading);
    Ok(())
}

async fn grant(target: &Store, lease: Lease) -> Result<(), DatastoreError> {
    let granted = once_more(|| {
        let options = LeaseGrantOptions::new().with_id(lease.id);
        let mut leases = target.leases();
        async move { leases.grant(lease.seconds, Some(options)).await }
    });
    match granted.await {
        Ok(_) => Ok(()),
        Err(error) if is_lease_there(&error) => Ok(()),
        Err(error) => Err(target.fault("granting leases", &error)),
    }
}
