//! Two tables by content: every row, every column.
use super::{
    Readable, Row, Selection,
    class::{COMPACTED, COUNT, LEAD, class_of, name_of},
    copy::count,
    lead::is_lead,
    merge::{Merge, Side},
};
use crate::adapters::datastore::{Comparison, DatastoreError, Difference, Ignored, Meter, Reading};

/// Differences that are told by name.
const TOLD: usize = 100;
/// Rows only of the target that are asked about at once.
const ASKED: usize = 1_000;
/// Bytes that are hashed at once: a tree hash is fast on many.
const HASHED: usize = 128 << 10;

/// Compares both tables, each as it is now.
pub(in super::super) async fn compare<T: Readable>(
    source: &T,
    target: &T,
    meter: &Meter,
) -> Result<Comparison, DatastoreError> {
    let mut reading = Reading {
        of: source.estimate().await?,
        ..Reading::default()
    };
    let mut tally = Tally::default();
    let mut merge = Merge::read(source, target, &Selection::All);
    while let Some(side) = merge.next().await? {
        match side {
            Side::Both(source, target) => {
                count(&mut reading, source.bytes().len(), meter);
                tally.both(&source, &target);
            }
            Side::Source(row) => {
                count(&mut reading, row.bytes().len(), meter);
                tally.only(&row, "missing at the target");
            }
            Side::Target(row) if merge.source_has_ended() && is_lead(&row) => {
                tally.leave_out(LEAD, true);
            }
            Side::Target(row) if class_of(row.name()).is_some() => tally.only(&row, ""),
            Side::Target(row) => tally.surplus.push((row.id, row.name().to_vec())),
        }
        if tally.surplus.len() == ASKED {
            tally.explain_surplus(source, target).await?;
        }
    }
    tally.explain_surplus(source, target).await?;
    meter.show(reading);
    Ok(tally.end())
}

#[derive(Default)]
struct Tally {
    hasher: blake3::Hasher,
    unhashed: Vec<u8>,
    keys: u64,
    bytes: u64,
    different: u64,
    differences: Vec<Difference>,
    /// Of each class how many there are and how many of them differ.
    ignored: [(u64, u64); COUNT],
    surplus: Vec<(i64, Vec<u8>)>,
}

impl Tally {
    fn both(&mut self, source: &Row, target: &Row) {
        let equal = source == target;
        let class = class_of(source.name());
        // A row of a class that has become one of none is a difference.
        if let Some(class) = class
            && (equal || class_of(target.name()).is_some())
        {
            self.leave_out(class, !equal);
            return;
        }
        self.hash(source);
        if !equal {
            self.differs(source.name(), "other value");
        }
    }

    fn only(&mut self, row: &Row, how: &str) {
        if let Some(class) = class_of(row.name()) {
            self.leave_out(class, true);
            return;
        }
        self.hash(row);
        self.differs(row.name(), how);
    }

    fn hash(&mut self, row: &Row) {
        self.keys += 1;
        self.bytes += row.bytes().len() as u64;
        self.unhashed.extend_from_slice(row.bytes());
        if self.unhashed.len() >= HASHED {
            self.hasher.update(&self.unhashed);
            self.unhashed.clear();
        }
    }

    fn leave_out(&mut self, class: usize, different: bool) {
        self.ignored[class].0 += 1;
        self.ignored[class].1 += u64::from(different);
    }

    fn differs(&mut self, name: &[u8], how: &str) {
        self.different += 1;
        if self.differences.len() < TOLD {
            self.differences.push(Difference {
                key: name.escape_ascii().to_string(),
                how: how.to_owned(),
            });
        }
    }

    /// A compaction of the source since the copy removes rows that say nothing any more: older ones of a key that
    /// has a newer one, and tombstones. Whatever else only the target has is a difference.
    async fn explain_surplus<T: Readable>(
        &mut self,
        source: &T,
        target: &T,
    ) -> Result<(), DatastoreError> {
        let surplus = std::mem::take(&mut self.surplus);
        if surplus.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = surplus.iter().map(|(id, _)| *id).collect();
        let revision = source.compacted().await?;
        let mut explained = target.removed_by_compaction(&ids, revision).await?;
        explained.sort_unstable();
        for (id, name) in surplus {
            if explained.binary_search(&id).is_ok() {
                self.leave_out(COMPACTED, true);
            } else {
                self.differs(&name, "only at the target");
            }
        }
        Ok(())
    }

    fn end(mut self) -> Comparison {
        self.hasher.update(&self.unhashed);
        let ignored = self.ignored.iter().enumerate();
        Comparison {
            keys: self.keys,
            bytes: self.bytes,
            digest: self.hasher.finalize().to_hex().to_string(),
            ignored: ignored
                .filter(|(_, (keys, _))| *keys > 0)
                .map(|(class, (keys, different))| Ignored {
                    class: name_of(class).to_owned(),
                    different: *different,
                    keys: *keys,
                })
                .collect(),
            different: self.different,
            differences: self.differences,
            earlier: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, name: &str, value: &str) -> Row {
        let number = id.to_string();
        let fields = [number.as_bytes(), name.as_bytes(), value.as_bytes()];
        Row::of(id, 3, fields.into_iter().map(Some)).expect("a row")
    }

    #[test]
    fn a_row_that_leaves_its_class_is_a_difference() {
        let mut tally = Tally::default();
        tally.both(
            &row(1, "/registry/events/a", "x"),
            &row(1, "/registry/events/a", "y"),
        );
        tally.both(
            &row(2, "/registry/events/a", "x"),
            &row(2, "/registry/pods/a", "x"),
        );
        tally.both(
            &row(3, "/registry/pods/b", "x"),
            &row(3, "/registry/pods/b", "x"),
        );
        tally.only(&row(4, "gap-4", ""), "missing at the target");
        tally.only(&row(5, "/registry/pods/c\0", ""), "missing at the target");
        let comparison = tally.end();
        assert_eq!((comparison.keys, comparison.different), (3, 2));
        let keys: Vec<_> = comparison
            .differences
            .iter()
            .map(|one| one.key.as_str())
            .collect();
        assert_eq!(keys, ["/registry/events/a", "/registry/pods/c\\x00"]);
        let ignored: Vec<_> = comparison
            .ignored
            .iter()
            .map(|one| (one.class.as_str(), one.different, one.keys))
            .collect();
        assert_eq!(ignored, [("events", 1, 1), ("kine's gaps", 1, 1)]);
    }
}
