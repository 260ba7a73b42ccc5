//! What Kamaji's Job is known to do wrong, found by comparing what it left.
use serde::{Deserialize, Serialize};

use super::super::policy::POLICY;
use crate::adapters::datastore::{Comparison, Driver};

/// A defect of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defect {
    /// Which: `leases`, `stale keys`, `missing writes`, `corrupted values`, `sequence`.
    pub name: String,
    /// What it means.
    pub what: String,
    /// How many keys, as far as they were named.
    pub keys: u64,
    /// The first of them; none where they are counted only.
    pub first: Vec<String>,
}

/// Keys that are told by name.
const TOLD: usize = 10;
/// The class whose keys have leases.
const EVENTS: &str = "events";

impl Defect {
    /// All that a comparison shows.
    pub(super) fn all(
        driver: Driver,
        found: &Comparison,
        wrong_counter: Option<String>,
    ) -> Vec<Self> {
        // Its dump's backslashes are taken for escapes when it is read: `\\n` in an annotation becomes a line's end.
        let corrupts = driver == Driver::MySQL;
        let changed = |how: &str| how == "other value";
        let counter = wrong_counter.map(|what| Self {
            name: "sequence".to_owned(),
            what: format!("counter was left behind: {what}; new writes would have been lost"),
            keys: 1,
            first: Vec::new(),
        });
        // Our own policy, which closes the holes, may have come after the job had read.
        let ours = format!("/{POLICY}");
        let named = |name: &str, what: &str, is: &dyn Fn(&str) -> bool| {
            let keys: Vec<_> = found
                .differences
                .iter()
                .filter(|one| !one.key.ends_with(&ours) && is(&one.how))
                .collect();
            (!keys.is_empty()).then(|| {
                // A key may have several revisions.
                let mut first: Vec<_> = keys.iter().map(|one| one.key.clone()).collect();
                first.dedup();
                first.truncate(TOLD);
                Self {
                    name: name.to_owned(),
                    what: what.to_owned(),
                    keys: keys.len() as u64,
                    first,
                }
            })
        };
        let events = found
            .ignored
            .iter()
            .find(|class| class.class == EVENTS && class.different > 0);
        let lost = "written without their leases, so that they would never expire";
        [
            events.map(|class| Self {
                name: "leases".to_owned(),
                what: format!("{EVENTS} were {lost}"),
                keys: class.different,
                first: Vec::new(),
            }),
            named("leases", &format!("keys were {lost}"), &|how| {
                how == "without its lease"
            }),
            named(
                "stale keys",
                "keys were in the target only: objects that were deleted would have come to life again",
                &|how| how == "only at the target",
            ),
            named(
                "corrupted values",
                "values lost their backslashes on the way",
                &|how| corrupts && changed(how),
            ),
            counter,
            named(
                "missing writes",
                "keys were written after the job had read them, through what Kamaji's freeze leaves open",
                &|how| {
                    how != "only at the target"
                        && how != "without its lease"
                        && !(corrupts && changed(how))
                },
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let first = if self.first.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.first.join(", "))
        };
        format!("{}: {} {}{first}", self.name, self.keys, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::datastore::{Difference, Ignored};

    #[test]
    fn each_defect_has_its_name() {
        let difference = |key: &str, how: &str| Difference {
            key: key.to_owned(),
            how: how.to_owned(),
        };
        let ignored = |class: &str, different| Ignored {
            class: class.to_owned(),
            different,
            keys: 9,
        };
        let mut found = Comparison {
            keys: 10,
            bytes: 10,
            digest: String::new(),
            ignored: vec![ignored("events", 3), ignored("node leases", 2)],
            different: 4,
            differences: vec![
                difference("pods/a", "only at the target"),
                difference("pods/b", "other value"),
                difference("pods/c", "missing at the target"),
                difference("pods/d", "without its lease"),
                difference(
                    "validatingadmissionpolicies/kubectl-migrate-freeze",
                    "missing at the target",
                ),
            ],
            earlier: None,
        };
        let shown: Vec<_> = Defect::all(Driver::Etcd, &found, None)
            .iter()
            .map(Defect::shown)
            .collect();
        assert_eq!(
            shown,
            [
                "leases: 3 events were written without their leases, so that they would never expire",
                "leases: 1 keys were written without their leases, so that they would never expire (pods/d)",
                "stale keys: 1 keys were in the target only: objects that were deleted would have come to life again (pods/a)",
                "missing writes: 2 keys were written after the job had read them, through what Kamaji's freeze leaves open (pods/b, pods/c)",
            ]
        );
        found.differences.clear();
        found.ignored = vec![ignored("events", 0)];
        assert_eq!(Defect::all(Driver::Etcd, &found, None), []);

        found.differences = vec![difference("pods/b", "other value")];
        let behind = "its sequence of ids stands at 0, and its largest id is 900".to_owned();
        let shown: Vec<_> = Defect::all(Driver::MySQL, &found, Some(behind))
            .iter()
            .map(Defect::shown)
            .collect();
        assert_eq!(
            shown,
            [
                "corrupted values: 1 values lost their backslashes on the way (pods/b)",
                "sequence: 1 counter was left behind: its sequence of ids stands at 0, and its largest id is 900; new writes would have been lost",
            ]
        );
    }
}
