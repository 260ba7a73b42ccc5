//! A store is compared with a snapshot.
use tokio::sync::mpsc::Receiver;

use crate::adapters::datastore::archive::{Piece, Record};

/// Keys that are named of those that differ.
const NAMED: usize = 20;

/// What differs.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// How many keys.
    pub(super) keys: u64,
    /// The first of them, each with how it differs.
    pub(super) named: Vec<String>,
}

impl Differences {
    fn add(&mut self, record: &Record, how: &str) {
        self.keys += 1;
        if self.named.len() < NAMED {
            self.named
                .push(format!("{}: {how}", record.key.escape_ascii()));
        }
    }
}

/// Compares the two, which are in the same order.
pub(super) async fn differences(
    mut wanted: Receiver<Record>,
    mut there: Receiver<Piece>,
) -> Differences {
    let mut differences = Differences::default();
    let mut found = next(&mut there).await;
    while let Some(wanted) = wanted.recv().await {
        while let Some(record) = found.take_if(|record| place_of(record) < place_of(&wanted)) {
            differences.add(&record, "only in the datastore");
            found = next(&mut there).await;
        }
        match found.take_if(|record| place_of(record) == place_of(&wanted)) {
            Some(record) => {
                if !same(&record, &wanted) {
                    differences.add(&wanted, "other value");
                }
                found = next(&mut there).await;
            }
            // Its lease may be over by now.
            None if wanted.lease.is_some() => {}
            None => differences.add(&wanted, "missing in the datastore"),
        }
    }
    while let Some(record) = found {
        differences.add(&record, "only in the datastore");
        found = next(&mut there).await;
    }
    differences
}

/// By what records are in order.
fn place_of(record: &Record) -> (u64, &[u8]) {
    (record.number, &record.key)
}

/// A lease's seconds pass.
fn same(one: &Record, other: &Record) -> bool {
    let lease = |record: &Record| record.lease.map(|lease| lease.id);
    one.fields == other.fields && lease(one) == lease(other)
}

async fn next(pieces: &mut Receiver<Piece>) -> Option<Record> {
    match pieces.recv().await {
        Some(Piece::Record(record)) => Some(record),
        Some(Piece::End(_)) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::mpsc::channel;

    use super::*;
    use crate::adapters::datastore::archive::Lease;

    fn record(key: &str, value: &'static str, lease: i64) -> Record {
        Record {
            number: 0,
            key: key.into(),
            fields: vec![Some(Bytes::from_static(value.as_bytes()))],
            lease: (lease > 0).then_some(Lease {
                id: lease,
                seconds: 30,
            }),
        }
    }

    async fn compared(file: Vec<Record>, store: Vec<Record>) -> Vec<String> {
        let (records, wanted) = channel(file.len().max(1));
        let (pieces, there) = channel(store.len().max(1));
        for record in file {
            records.try_send(record).expect("room");
        }
        for record in store {
            pieces
                .try_send(Piece::Record(record))
                .unwrap_or_else(|_| panic!("no room"));
        }
        drop((records, pieces));
        let found = differences(wanted, there).await;
        assert_eq!(found.keys, found.named.len() as u64);
        found.named
    }

    #[tokio::test]
    async fn a_store_is_compared_with_a_file() {
        let all = || {
            vec![
                record("a", "1", 0),
                record("b", "2", 7),
                record("c", "3", 0),
            ]
        };
        assert_eq!(compared(all(), all()).await, Vec::<String>::new());
        assert_eq!(compared(Vec::new(), Vec::new()).await, Vec::<String>::new());
        // Over by now.
        let without = vec![record("a", "1", 0), record("c", "3", 0)];
        assert_eq!(compared(all(), without).await, Vec::<String>::new());
        let other = vec![
            record("a", "x", 0),
            record("aa", "1", 0),
            record("b", "2", 8),
            record("d", "4", 0),
        ];
        assert_eq!(
            compared(all(), other).await,
            [
                "a: other value",
                "aa: only in the datastore",
                "b: other value",
                "c: missing in the datastore",
                "d: only in the datastore"
            ]
        );
    }
}
