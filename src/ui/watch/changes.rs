use std::collections::BTreeMap;

use serde::Serialize;

use crate::{report::API_VERSION, ui::StatusRow};

/// A line each time that a progress has grown by this part of the whole.
const TENTHS: u64 = 10;

/// Finds what is new in a snapshot.
#[derive(Default)]
pub(super) struct Changes {
    told: BTreeMap<(String, String), Told>,
}

/// What was told of a migration last.
#[derive(PartialEq)]
struct Told {
    step: String,
    state: &'static str,
    why: String,
    frozen: bool,
    limit: Option<u64>,
    tenth: Option<u64>,
}

/// What is new of a migration.
pub(super) enum Change {
    /// It is there, and not as it was.
    Now(Box<StatusRow>),
    /// It is there no more: its namespace and name.
    Gone(String, String),
}

/// A change for machines.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    change: Shown<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Now(&'a StatusRow),
    Gone {
        namespace: &'a str,
        name: &'a str,
        state: &'static str,
    },
}

impl Changes {
    /// What is new in this snapshot.
    pub(super) fn of(&mut self, rows: Vec<StatusRow>) -> Vec<Change> {
        let mut changes = Vec::new();
        let before = std::mem::take(&mut self.told);
        for row in rows {
            let key = (row.namespace.clone(), row.name.clone());
            let told = Told::of(&row);
            if before.get(&key) != Some(&told) {
                changes.push(Change::Now(Box::new(row)));
            }
            self.told.insert(key, told);
        }
        let gone = before
            .into_keys()
            .filter(|key| !self.told.contains_key(key));
        changes.extend(gone.map(|(namespace, name)| Change::Gone(namespace, name)));
        changes
    }
}

impl Change {
    /// It on a line; `namespaced` as for `-A`.
    pub(super) fn line(&self, namespaced: bool) -> String {
        match self {
            Self::Now(row) => {
                let mut parts = vec![
                    name(&row.namespace, &row.name, namespaced),
                    row.step(),
                    row.state.name().to_owned(),
                    row.progress(),
                ];
                if row.frozen {
                    parts.push(format!("frozen {}", row.frozen_of_expected()));
                }
                parts.retain(|part| part != "–");
                parts.join("  ")
            }
            Self::Gone(namespace, migration) => {
                format!("{}  gone", name(namespace, migration, namespaced))
            }
        }
    }
}

impl<'a> Document<'a> {
    pub(super) fn of(change: &'a Change) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Status",
            change: match change {
                Change::Now(row) => Shown::Now(row),
                Change::Gone(namespace, name) => Shown::Gone {
                    namespace,
                    name,
                    state: "gone",
                },
            },
        }
    }
}

impl Told {
    fn of(row: &StatusRow) -> Self {
        let tenth = row.progress.as_ref().map(|progress| {
            let tenths = u128::from(progress.done) * u128::from(TENTHS);
            u64::try_from(tenths / u128::from(progress.total.max(1))).unwrap_or(TENTHS)
        });
        Self {
            step: row.step(),
            state: row.state.name(),
            why: row.why.clone(),
            frozen: row.frozen,
            limit: row.limit_bytes_per_second,
            tenth,
        }
    }
}

fn name(namespace: &str, name: &str, namespaced: bool) -> String {
    if namespaced {
        format!("{namespace}/{name}")
    } else {
        name.to_owned()
    }
}
