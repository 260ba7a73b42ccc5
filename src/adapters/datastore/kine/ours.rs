//! Whether a table holds nothing that is worth keeping.
use super::{
    Readable, Selection,
    class::class_of,
    merge::{Merge, Side},
};
use crate::adapters::datastore::DatastoreError;

/// Refuses a target with rows that the source does not have, and that its compaction did not remove: a tenant has
/// written there, or it is another's. Rows that any API server writes by itself do not count.
pub(in super::super) async fn refuse_foreign_rows<T: Readable>(
    source: &T,
    target: &T,
) -> Result<(), DatastoreError> {
    let mut merge = Merge::read(source, target, &Selection::Names);
    let mut compacted = None;
    while let Some(side) = merge.next().await? {
        let row = match side {
            Side::Source(_) => continue,
            Side::Both(source, target) if source == target => continue,
            Side::Both(_, row) | Side::Target(row) => row,
        };
        if class_of(row.name()).is_some() {
            continue;
        }
        let revision = match compacted {
            Some(revision) => revision,
            None => *compacted.insert(source.compacted().await?),
        };
        if row.id > revision {
            return Err(DatastoreError::Unexpected {
                store: target.store().to_owned(),
                what: format!(
                    "row {} ({}) is not at {}: it was not copied from there, and nothing is removed; \
                     look whose it is, then remove it by hand",
                    row.id,
                    row.name().escape_ascii(),
                    source.store()
                ),
            });
        }
    }
    Ok(())
}
