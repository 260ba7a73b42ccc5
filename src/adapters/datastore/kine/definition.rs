//! What both drivers' definitions of kine's table have to say.
use super::server::{Dialect, Server};
use crate::adapters::datastore::DatastoreError;

/// Columns that this program knows the meaning of.
const KNOWN: [&str; 4] = ["id", "name", "deleted", "prev_revision"];
/// Columns that hold revisions.
const REVISIONS: [&str; 3] = ["id", "create_revision", "prev_revision"];

/// A table's definition.
pub(in super::super) trait Definition {
    /// What the type of a 32-bit integer begins with, and of no other integer.
    const NARROW: &str;

    /// Its columns' names and types; the id, the name, then as they stand.
    fn columns(&self) -> impl Iterator<Item = (&str, &str)>;

    /// Whether a revision has no more than 32 bits.
    fn is_narrow(&self) -> bool {
        self.columns()
            .any(|(name, kind)| REVISIONS.contains(&name) && kind.starts_with(Self::NARROW))
    }

    /// Columns that one has and the other has not.
    fn strange_columns(&self, other: &Self) -> Vec<String> {
        let only = |these: &Self, those: &Self| -> Vec<String> {
            let lacks = |name: &str| those.columns().all(|(other, _)| other != name);
            let names = these.columns().map(|(name, _)| name);
            names
                .filter(|name| lacks(name))
                .map(str::to_owned)
                .collect()
        };
        [only(self, other), only(other, self)].concat()
    }

    /// Refuses a table that is none of kine's.
    fn check<D: Dialect>(&self, server: &Server<D>) -> Result<(), DatastoreError> {
        let has = |known: &str| self.columns().any(|(name, _)| name == known);
        match KNOWN.iter().find(|known| !has(known)) {
            None => Ok(()),
            Some(missing) => Err(server.unexpected(format!(
                "table kine of database {} has no column {missing}: it is none of kine's",
                server.schema
            ))),
        }
    }

    /// Refuses a target's table that rows of this one do not fit into.
    fn check_target<D: Dialect>(
        &self,
        found: &Self,
        target: &Server<D>,
    ) -> Result<(), DatastoreError> {
        let strange = self.strange_columns(found);
        if strange.is_empty() {
            return Ok(());
        }
        Err(target.unexpected(format!(
            "its table kine and the source's do not both have {}; drop it if nothing needs it",
            strange.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Columns(Vec<(&'static str, &'static str)>);

    impl Definition for Columns {
        const NARROW: &str = "int";

        fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
            self.0.iter().copied()
        }
    }

    #[test]
    fn columns_are_compared_by_name_in_both_directions() {
        let (ours, theirs) = (
            Columns(vec![("id", "bigint"), ("name", "text"), ("lease", "int")]),
            Columns(vec![("id", "int(11)"), ("name", "text"), ("more", "text")]),
        );
        assert_eq!(ours.strange_columns(&theirs), ["lease", "more"]);
        assert_eq!(ours.strange_columns(&ours), Vec::<String>::new());
        // A lease is no revision.
        assert!(!ours.is_narrow() && theirs.is_narrow());
    }
}
