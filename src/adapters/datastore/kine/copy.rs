//! A table becomes equal to another.
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Rows, Selection, Table,
    merge::{Merge, Side},
    writers::{Writers, Written},
};
use crate::adapters::datastore::{Copied, DatastoreError, Meter, Position, Reading};

/// Rows that are asked for by their ids at once.
const ASKED: usize = 1_000;
/// Rows between two readings of the meter.
const SHOWN_EACH: u64 = 4_096;

/// Where a copy ended: every row up to this one was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct At {
    /// The largest id.
    id: i64,
}

impl At {
    /// Every row up to this id was looked at.
    pub const fn id(self) -> i64 {
        self.id
    }

    /// Reads a position that a copy ended at.
    pub fn read(position: &Position, store: &str) -> Result<Self, DatastoreError> {
        serde_json::from_value(position.0.clone()).map_err(|error| DatastoreError::Unexpected {
            store: store.to_owned(),
            what: format!(
                "the position {} is none of a copy of it: {error}",
                position.0
            ),
        })
    }
}

/// Makes the target's rows those of the source.
pub(in super::super) async fn copy_all<T: Table>(
    source: &T,
    target: &T,
    meter: &Meter,
) -> Result<Copied, DatastoreError> {
    let mut reading = Reading {
        of: source.estimate().await?,
        ..Reading::default()
    };
    let mut writers = Writers::start(target);
    let mut merge = Merge::read(source, target, &Selection::All);
    let mut last = 0;
    while let Some(side) = merge.next().await? {
        let row = match side {
            Side::Target(row) => {
                writers.remove(row.id).await?;
                continue;
            }
            Side::Both(source, target) if source == target => {
                count(&mut reading, source.bytes().len(), meter);
                last = source.id;
                continue;
            }
            Side::Both(row, _) | Side::Source(row) => row,
        };
        count(&mut reading, row.bytes().len(), meter);
        last = row.id;
        writers.put(row).await?;
    }
    let written = writers.finish().await?;
    meter.show(reading);
    Ok(copied(last, reading.keys, written))
}

/// Makes the target's rows those of the source, where it has been made so up to a position.
///
/// Rows do not change, so ids say what is missing: new rows, rows that got a lower id than one that was seen before
/// they were committed, and those that compaction has removed since.
pub(in super::super) async fn copy_since<T: Table>(
    source: &T,
    target: &T,
    since: At,
    meter: &Meter,
) -> Result<Copied, DatastoreError> {
    let mut writers = Writers::start(target);
    let mut merge = Merge::read(source, target, &Selection::Ids);
    let mut reading = Reading::default();
    let mut wanted = Vec::new();
    let mut last = 0;
    while let Some(side) = merge.next().await? {
        match side {
            Side::Both(row, _) => last = row.id,
            Side::Target(row) => writers.remove(row.id).await?,
            Side::Source(row) => {
                last = row.id;
                wanted.push(row.id);
                if wanted.len() == ASKED {
                    fetch(
                        source,
                        std::mem::take(&mut wanted),
                        &mut writers,
                        &mut reading,
                        meter,
                    )
                    .await?;
                }
            }
        }
    }
    if last < since.id {
        return Err(DatastoreError::Unexpected {
            store: source.store().to_owned(),
            what: format!(
                "its revision went back from {} to {last}: it was restored or replaced; begin the copy anew",
                since.id
            ),
        });
    }
    if !wanted.is_empty() {
        fetch(source, wanted, &mut writers, &mut reading, meter).await?;
    }
    let compaction = Rows::read(source, Selection::Compaction).rest().await?;
    if compaction != Rows::read(target, Selection::Compaction).rest().await? {
        for row in compaction {
            writers.put(row).await?;
        }
    }
    let written = writers.finish().await?;
    Ok(copied(last, reading.keys, written))
}

async fn fetch<T: Table>(
    source: &T,
    ids: Vec<i64>,
    writers: &mut Writers,
    reading: &mut Reading,
    meter: &Meter,
) -> Result<(), DatastoreError> {
    reading.of += ids.len() as u64;
    let mut rows = Rows::read(source, Selection::These(ids));
    while let Some(row) = rows.next().await? {
        count(reading, row.bytes().len(), meter);
        writers.put(row).await?;
    }
    meter.show(*reading);
    Ok(())
}

/// Counts a row.
pub(super) fn count(reading: &mut Reading, bytes: usize, meter: &Meter) {
    reading.keys += 1;
    reading.bytes += bytes as u64;
    if reading.keys.is_multiple_of(SHOWN_EACH) {
        // The server only estimated how many there are.
        reading.of = reading.of.max(reading.keys);
        meter.show(*reading);
    }
}

fn copied(last: i64, read: u64, written: Written) -> Copied {
    Copied {
        position: Position(json!({"id": last})),
        revision: last.unsigned_abs(),
        read,
        written: written.rows,
        removed: written.removed,
        bytes: written.bytes,
        anew: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_strictly() {
        let read = |value| At::read(&Position(value), "datastore silver");
        assert_eq!(read(json!({"id": 17})).map(|at| at.id), Ok(17));
        for other in [
            json!({"revision": 17}),
            json!({"id": 17, "of": 1}),
            json!(17),
        ] {
            let error = read(other).expect_err("no position of ours").to_string();
            assert!(
                error.starts_with("datastore silver: the position"),
                "{error}"
            );
        }
    }
}
