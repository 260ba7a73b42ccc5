//! Whether a table holds nothing that is worth keeping.
use super::{
    Readable, Row, Rows, Selection,
    class::class_of,
    merge::{Merge, Side},
};
use crate::adapters::datastore::DatastoreError;

/// Refuses a target with rows that were not copied from the source: a tenant has written there, or it is another's.
/// Rows that any API server writes by itself do not count. Where the source has no table, no row is known to be
/// copied.
///
/// A row is copied where the source has the same name under the same id. Where the source has nothing under an id, its
/// compaction explains that, up to its revision; but a table of which nothing at all is the source's is another's,
/// however low its ids are. Ids are never used twice, so another name under the same id is another's, too.
pub(in super::super) async fn refuse_foreign_rows<T: Readable>(
    source: Option<&T>,
    target: &T,
) -> Result<(), DatastoreError> {
    let Some(source) = source else {
        let mut rows = Rows::read(target, Selection::Names);
        while let Some(row) = rows.next().await? {
            if class_of(row.name()).is_none() {
                return Err(foreign(
                    target,
                    &row,
                    "at the source, which has nothing of the schema",
                ));
            }
        }
        return Ok(());
    };
    let place = format!("at {}", source.store());
    let mut merge = Merge::read(source, target, &Selection::Names);
    let mut compacted = None;
    let mut copied = false;
    let mut unknown = None;
    while let Some(side) = merge.next().await? {
        let (row, other) = match side {
            Side::Source(_) => continue,
            Side::Both(source, target) if source == target => {
                copied |= class_of(target.name()).is_none();
                continue;
            }
            Side::Both(_, row) => (row, true),
            Side::Target(row) => (row, false),
        };
        if class_of(row.name()).is_some() {
            continue;
        }
        let revision = match compacted {
            Some(revision) => revision,
            None => *compacted.insert(source.compacted().await?),
        };
        if other || row.id > revision {
            return Err(foreign(target, &row, &place));
        }
        unknown.get_or_insert(row);
    }
    match unknown {
        Some(row) if !copied => Err(foreign(target, &row, &place)),
        _ => Ok(()),
    }
}

fn foreign<T: Readable>(target: &T, row: &Row, place: &str) -> DatastoreError {
    DatastoreError::Unexpected {
        store: target.store().to_owned(),
        what: format!(
            "row {} ({}) is not {place}: it was not copied from there, and nothing is removed; \
            look whose it is, then remove it by hand",
            row.id,
            row.name().escape_ascii(),
        ),
    }
}
