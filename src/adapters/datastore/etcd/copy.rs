//! The whole schema: both stores are read, and what differs is sent.
use serde::{Deserialize, Serialize};

use super::{
    super::{Copied, DatastoreError, Meter, Position, Reading},
    EtcdPair,
    entry::{Entry, Pairing, Pairings},
    store::{Head, ReadFault},
    stretches::{At, Stopped, Stretches},
    writer::{Change, Writer},
};

/// How often the source may be compacted away under one copy.
const COMPACTIONS: usize = 5;

/// What a [`Position`] of etcd holds.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub cluster: u64,
    pub revision: i64,
}

/// The end of a copy, for the journal.
pub(super) fn position(head: Head) -> Position {
    Position(serde_json::json!(Place {
        cluster: head.cluster,
        revision: head.revision,
    }))
}

/// Makes the target's schema equal to the source's.
pub(super) async fn everything(pair: &EtcdPair, meter: &Meter) -> Result<Copied, DatastoreError> {
    let mut writer = Writer::new(&pair.source, &pair.target);
    let mut compactions = 0;
    loop {
        let (head, of) = pair.source.counted(&pair.range).await?;
        let mut reading = Reading {
            of,
            ..Reading::default()
        };
        match pass(pair, head, &mut writer, &mut reading, meter).await {
            Ok(()) => {
                let written = writer.settle().await?;
                return Ok(Copied {
                    position: position(head),
                    revision: head.revision.unsigned_abs(),
                    read: reading.keys,
                    written: written.keys,
                    removed: written.removed,
                    bytes: written.bytes,
                    anew: compactions > 0,
                });
            }
            Err(Stopped::Source(ReadFault::Compacted)) if compactions < COMPACTIONS => {
                compactions += 1;
                writer.settle().await?;
            }
            Err(Stopped::Source(ReadFault::Compacted)) => {
                return Err(pair.source.compacted(&pair.range, head.revision).await);
            }
            Err(Stopped::Target(ReadFault::Compacted)) => {
                return Err(DatastoreError::Unexpected {
                    store: pair.target.name.to_string(),
                    what: "its present is said to be compacted away".to_owned(),
                });
            }
            Err(
                Stopped::Source(ReadFault::Other(error)) | Stopped::Target(ReadFault::Other(error)),
            ) => return Err(error),
        }
    }
}

async fn pass(
    pair: &EtcdPair,
    head: Head,
    writer: &mut Writer,
    reading: &mut Reading,
    meter: &Meter,
) -> Result<(), Stopped> {
    let failed = |error| Stopped::Target(ReadFault::Other(error));
    let source = At {
        store: pair.source.clone(),
        revision: head.revision,
    };
    // Nobody else writes there: its present may be read while it is written to.
    let target = At {
        store: pair.target.clone(),
        revision: 0,
    };
    let mut stretches = Stretches::read(source, target, pair.range.clone());
    while let Some(stretch) = stretches.next().await {
        let stretch = stretch?;
        reading.keys += stretch.source.len() as u64;
        reading.bytes += stretch
            .source
            .iter()
            .map(|entry| entry.bytes() as u64)
            .sum::<u64>();
        for pairing in Pairings::of(stretch.source, stretch.target) {
            if let Some(change) = change_for(pairing) {
                writer.take(change).await.map_err(failed)?;
            }
        }
        meter.show(*reading);
    }
    Ok(())
}

/// What makes the target's key equal to the source's.
fn change_for(pairing: Pairing) -> Option<Change> {
    match pairing {
        Pairing::Source(source) => Some(Change::Put(source)),
        Pairing::Target(target) => Some(Change::Remove(target.key)),
        Pairing::Both { source, target } => {
            (!same(&source, &target)).then_some(Change::Put(source))
        }
    }
}

/// With the number of its lease: a key that was renewed has another, and would run out with the old one.
fn same(source: &Entry, target: &Entry) -> bool {
    source.lease == target.lease && source.value == target.value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str, lease: i64) -> Entry {
        Entry {
            key: b"/t1/pods/a".to_vec(),
            value: value.into(),
            lease,
        }
    }

    fn both(source: Entry, target: Entry) -> Option<Change> {
        change_for(Pairing::Both { source, target })
    }

    #[test]
    fn only_what_differs_is_changed() {
        assert_eq!(both(entry("a", 0), entry("a", 0)), None);
        assert_eq!(both(entry("a", 7), entry("a", 7)), None);
        for (source, target) in [
            (entry("a", 0), entry("b", 0)),
            (entry("a", 7), entry("a", 0)),
            (entry("a", 0), entry("a", 7)),
            (entry("a", 7), entry("a", 8)),
        ] {
            assert_eq!(both(source.clone(), target), Some(Change::Put(source)));
        }
        assert_eq!(
            change_for(Pairing::Target(entry("a", 0))),
            Some(Change::Remove(b"/t1/pods/a".to_vec()))
        );
    }
}
