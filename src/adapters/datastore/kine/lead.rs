//! A table whose next row comes far behind another's last.
use super::{Row, Table};
use crate::adapters::datastore::{DatastoreError, Raised};

/// What the names of rows begin with by which kine fills gaps; the id follows.
const GAP: &str = "gap-";

/// The name of the row that fills a gap.
pub(in super::super) fn gap(id: i64) -> String {
    format!("{GAP}{id}")
}

/// Whether a row behind all of the source's is what [`lead`] leaves.
pub(super) fn is_lead(row: &Row) -> bool {
    row.name() == gap(row.id).as_bytes()
}

/// Makes the target's last row one that fills a gap, so far behind the source's last, unless it is as far already.
///
/// kine gives the next id, and begins to tell of changes behind the last row that it finds at its start: it fills
/// nothing of what is between.
pub(in super::super) async fn lead<T: Table>(
    source: &T,
    target: &T,
    margin: u64,
) -> Result<Raised, DatastoreError> {
    let last = source.last().await?;
    let before = target.last().await?;
    let wanted = last.saturating_add_unsigned(margin);
    if before < wanted {
        target.fill(last, wanted).await?;
    }
    Ok(Raised {
        source: last.unsigned_abs(),
        before: before.unsigned_abs(),
        now: before.max(wanted).unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_gap_of_its_own_id_leads() {
        let row = |id: i64, name: &str| {
            let number = id.to_string();
            let fields = [Some(number.as_bytes()), Some(name.as_bytes())];
            Row::of(id, 2, fields.into_iter()).expect("a row")
        };
        assert!(is_lead(&row(1_017, "gap-1017")));
        for name in ["gap-1016", "gap-", "/registry/gap-1017", ""] {
            assert!(!is_lead(&row(1_017, name)), "{name}");
        }
    }
}
