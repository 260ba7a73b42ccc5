use std::collections::BTreeMap;

use crate::ui::StatusRow;

/// A line each time that a progress has grown by this part of the whole.
const TENTHS: u64 = 10;

/// Tells what is new in a snapshot, a line per migration.
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
    tenth: Option<u64>,
}

impl Changes {
    /// The lines of what is new; `namespaced` as for `-A`.
    pub(super) fn lines(&mut self, rows: Vec<StatusRow>, namespaced: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let before = std::mem::take(&mut self.told);
        for row in rows {
            let key = (row.namespace.clone(), row.name.clone());
            let told = Told::of(&row);
            if before.get(&key) != Some(&told) {
                let mut parts = vec![
                    name(&key, namespaced),
                    row.step(),
                    told.state.to_owned(),
                    row.progress(),
                ];
                if row.frozen {
                    parts.push(format!("frozen {}", row.frozen()));
                }
                parts.retain(|part| part != "–");
                lines.push(parts.join("  "));
            }
            self.told.insert(key, told);
        }
        for key in before.keys().filter(|key| !self.told.contains_key(*key)) {
            lines.push(format!("{}  gone", name(key, namespaced)));
        }
        lines
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
            tenth,
        }
    }
}

fn name((namespace, name): &(String, String), namespaced: bool) -> String {
    if namespaced {
        format!("{namespace}/{name}")
    } else {
        name.clone()
    }
}
