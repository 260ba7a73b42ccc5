//! What was written to a table after it was copied.
use super::{Readable, Rows, Selection, class::class_of};
use crate::adapters::datastore::{DatastoreError, Later};

/// Each API server stores its resources below this (its default; kine has no other).
const PREFIX: &[u8] = b"/registry/";

/// Rows above an id, but for those that a comparison leaves out.
pub(in super::super) async fn later<T: Readable>(
    source: &T,
    since: i64,
) -> Result<Later, DatastoreError> {
    let mut later = Later::default();
    let mut rows = Rows::read(source, Selection::NamesAbove(since));
    while let Some(row) = rows.next().await? {
        let name = row.name();
        if class_of(name).is_none() {
            later.add(name.strip_prefix(PREFIX).unwrap_or(name));
        }
    }
    Ok(later)
}
