//! A table becomes equal to another.
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Rows, Selection, Table,
    lead::is_lead,
    merge::{Merge, Side},
    writers::{Writers, Written},
};
use crate::adapters::datastore::{Copied, DatastoreError, Meter, Position, Reading};

/// Rows that are asked for by their ids at once.
const ASKED: usize = 1_000;
/// Rows between two readings of the meter.
const SHOWN_EACH: u64 = 4_096;
/// Ids below the last one under which a row may still come: it gets its id before it is committed. kine waits a second
/// for such a row, then it fills the gap or goes on without it, and no tenant writes ten thousand rows in that time.
const LATE: i64 = 10_000;
/// How often changes are looked for that a compaction takes away meanwhile; it comes every five minutes.
const TRIES: u32 = 4;

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

/// Makes the target's rows those of the source; it keeps its lead.
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
            Side::Target(row) if merge.source_has_ended() && is_lead(&row) => continue,
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
    Ok(copied(last, &Total { reading, written }))
}

/// Makes the target's rows those of the source, where it has been made so up to a position. That takes as long as
/// there are changes, however large the table is: during a switch, writes are refused meanwhile.
///
/// Rows do not change once they are there, so new ones have higher ids, but for the few that are late. What goes is
/// removed by compaction only, which goes by the rows themselves: up to its revision, the rows that have a successor,
/// and the ends of keys. So it is done again at the target instead of looking for what it removed.
///
/// That is sound as long as it does not pass the position. An end of a key behind that, which was compacted before it
/// was copied, is nowhere any more, and at the target the key would live on. Then, and where anything else is not as
/// expected, the ids of all rows are compared. What has been late for longer than kine itself would wait is left to
/// the comparison by content, which every switch makes.
pub(in super::super) async fn copy_since<T: Table>(
    source: &T,
    target: &T,
    since: At,
    meter: &Meter,
) -> Result<Copied, DatastoreError> {
    let earlier = target.compacted().await?;
    let mut total = Total::default();
    let mut from = since.id.saturating_sub(LATE).max(0);
    let mut compacted = 0;
    for _ in 0..TRIES {
        let round = changes(source, target, from, &mut total, meter).await?;
        // Asked for behind the rows: what they lack was compacted to this revision at most.
        compacted = source.compacted().await?;
        let expected =
            compacted <= since.id && round.surplus <= compacted && round.last >= since.id;
        if round.missed || (from > 0 && !expected) {
            from = 0;
            continue;
        }
        // The last row of all may be the end of a key.
        if round.last < since.id && compacted < since.id {
            return Err(DatastoreError::Unexpected {
                store: source.store().to_owned(),
                what: format!(
                    "its revision went back from {} to {}: it was restored or replaced; begin the copy anew",
                    since.id, round.last
                ),
            });
        }
        if compacted != earlier {
            total.written.removed += target.compact(earlier, compacted).await?;
            // Behind what it stands for: a copy that is given up before does it again.
            let mut writers = Writers::start(target);
            for row in Rows::read(source, Selection::Compaction).rest().await? {
                writers.put(row).await?;
            }
            total.written += writers.finish().await?;
        }
        return Ok(copied(round.last.max(since.id), &total));
    }
    Err(DatastoreError::Compacted {
        store: source.store().to_owned(),
        wanted: since.id,
        compacted,
    })
}

/// What several rounds did.
#[derive(Default)]
struct Total {
    reading: Reading,
    written: Written,
}

/// What the ids of both sides say.
#[derive(Default)]
struct Round {
    /// The source's largest id, none where there is none above where it began.
    last: i64,
    /// The largest id that only the target has, and that is still there.
    surplus: i64,
    /// Whether rows were gone before they were read.
    missed: bool,
}

/// Writes what the target lacks above an id; above none, it removes what only the target has, too. Between, it does
/// not: what a key stood at before may be below.
async fn changes<T: Table>(
    source: &T,
    target: &T,
    from: i64,
    total: &mut Total,
    meter: &Meter,
) -> Result<Round, DatastoreError> {
    let mut writers = Writers::start(target);
    let mut merge = Merge::read(source, target, &Selection::IdsAbove(from));
    let mut round = Round::default();
    let mut wanted = Vec::new();
    let mut beyond = false;
    while let Some(side) = merge.next().await? {
        match side {
            Side::Both(row, _) => round.last = row.id,
            Side::Target(_) if merge.source_has_ended() => beyond = true,
            Side::Target(row) if from == 0 => writers.remove(row.id).await?,
            Side::Target(row) => round.surplus = row.id,
            Side::Source(row) => {
                round.last = row.id;
                wanted.push(row.id);
            }
        }
        if wanted.len() == ASKED {
            let ids = std::mem::take(&mut wanted);
            round.missed |= fetch(source, ids, &mut writers, &mut total.reading, meter).await?;
        }
    }
    if !wanted.is_empty() {
        round.missed |= fetch(source, wanted, &mut writers, &mut total.reading, meter).await?;
    }
    if beyond {
        // Few, and what they are is said by their names.
        let mut rows = Rows::read(target, Selection::NamesAbove(round.last.max(from)));
        while let Some(row) = rows.next().await? {
            match row {
                row if is_lead(&row) => {}
                row if from == 0 => writers.remove(row.id).await?,
                row => round.surplus = row.id,
            }
        }
    }
    total.written += writers.finish().await?;
    Ok(round)
}

/// Copies rows; true where some of them are gone.
async fn fetch<T: Table>(
    source: &T,
    ids: Vec<i64>,
    writers: &mut Writers,
    reading: &mut Reading,
    meter: &Meter,
) -> Result<bool, DatastoreError> {
    let mut missing = ids.len();
    reading.of += missing as u64;
    let mut rows = Rows::read(source, Selection::These(ids));
    while let Some(row) = rows.next().await? {
        missing -= 1;
        count(reading, row.bytes().len(), meter);
        writers.put(row).await?;
    }
    meter.show(*reading);
    Ok(missing > 0)
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

fn copied(last: i64, total: &Total) -> Copied {
    let Total { reading, written } = total;
    Copied {
        position: Position(json!({"id": last})),
        revision: last.unsigned_abs(),
        read: reading.keys,
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
