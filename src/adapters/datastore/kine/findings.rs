//! What both drivers find beforehand.
use super::Definition;
use crate::adapters::datastore::{Finding, StoreLook};

/// The largest 32-bit id.
const LARGEST_NARROW: u64 = i32::MAX as u64;
/// Ids that a busy tenant uses in some weeks: a table that has no more left is told of.
const ROOM: u64 = 50_000_000;

/// What is in a schema.
pub(in super::super) struct Seen<L> {
    /// Its place for people: `database shop of datastore silver`.
    pub place: String,
    /// Its figures.
    pub store: StoreLook,
    /// The definition of its table, where it has one.
    pub layout: Option<L>,
    /// What it holds besides.
    pub others: Vec<String>,
}

/// What stands in the way of a copy; `no_table` is said where the source has none, and `widen` is the statement that
/// gives a table's ids more bits.
pub(in super::super) fn findings<L: Definition>(
    source: &Seen<L>,
    target: &Seen<L>,
    no_table: String,
    widen: &str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.others.is_empty() {
        let others = source.others.join(", ");
        findings.push(finding(
            "other tables",
            false,
            format!("{} also holds {others}", source.place),
            "only kine's table is copied; copy the others by hand if they are needed",
        ));
    }
    let Some(wanted) = &source.layout else {
        let cure = "look at the schema's name, and whether the tenant is served from there";
        findings.push(finding("kine table", true, no_table, cure));
        return findings;
    };
    findings.extend(narrow_ids(source, wanted, target, widen));
    let strange = target.layout.as_ref();
    let strange = strange.map_or_else(Vec::new, |found| wanted.strange_columns(found));
    if !strange.is_empty() {
        findings.push(finding(
            "table columns",
            true,
            format!(
                "table kine of {} and the source's do not both have {}",
                target.place,
                strange.join(", ")
            ),
            "drop that table if nothing needs it: it is made anew like the source's",
        ));
    }
    findings
}

/// Ids that do not fit, or soon will not.
fn narrow_ids<L: Definition>(
    source: &Seen<L>,
    wanted: &L,
    target: &Seen<L>,
    widen: &str,
) -> Option<Finding> {
    // Where the target has no table it gets the source's types.
    let (place, layout) = match &target.layout {
        Some(layout) => (&target.place, layout),
        None => (&source.place, wanted),
    };
    let revision = source.store.revision;
    if !layout.is_narrow() || revision + ROOM < LARGEST_NARROW {
        return None;
    }
    let cure = match target.layout {
        Some(_) => "drop that table if nothing needs it: it is made anew with the source's types"
            .to_owned(),
        None => format!("let kine widen the source's columns first ({widen})"),
    };
    let evidence =
        format!("table kine of {place} has 32-bit ids, and the source is at revision {revision}");
    Some(finding(
        "32-bit ids",
        target.layout.is_some() || revision >= LARGEST_NARROW,
        evidence,
        cure,
    ))
}

/// A finding.
pub(in super::super) fn finding(
    check: &str,
    blocks: bool,
    evidence: String,
    cure: impl Into<String>,
) -> Finding {
    Finding {
        check: check.to_owned(),
        blocks,
        evidence,
        cure: cure.into(),
    }
}
