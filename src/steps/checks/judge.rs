use serde::{Deserialize, Serialize};

use super::Measured;
use crate::plan::{Compare, Size, WorkloadCheck};

/// Most of an output that is told.
const TOLD: usize = 120;

/// How a check is judged.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// The pod that it was run in.
    pub pod: String,
    /// What was expected, for people.
    pub wanted: String,
    /// What was found.
    pub found: String,
    /// Whether that is the same.
    pub good: bool,
}

impl Judged {
    /// Judges what a check gave.
    pub(super) fn of(
        pod: &str,
        check: &WorkloadCheck,
        measured: &Measured,
        taken: Option<&Measured>,
        said: &str,
    ) -> Self {
        let code = check.exit_code.unwrap_or_default();
        let (found, good) = if measured.exit_code == code {
            let good = match (&check.output, check.compare, taken) {
                (Some(output), _, _) => measured
                    .output
                    .as_ref()
                    .is_some_and(|found| found.trim_end() == output.trim_end()),
                // While a snapshot is taken there is nothing yet to compare with.
                (None, Some(Compare::Snapshot), Some(taken)) => {
                    (measured.bytes, &measured.digest) == (taken.bytes, &taken.digest)
                }
                (None, _, _) => true,
            };
            (written(measured), good)
        } else {
            let said = if said.is_empty() {
                written(measured)
            } else {
                short(said)
            };
            (format!("exit code {}: {said}", measured.exit_code), false)
        };
        Self {
            name: check.name.clone(),
            pod: pod.to_owned(),
            wanted: wanted(check, taken),
            found,
            good,
        }
    }

    /// Of a check that could not be run.
    pub(super) fn failed(
        pod: &str,
        check: &WorkloadCheck,
        taken: Option<&Measured>,
        why: String,
    ) -> Self {
        Self {
            name: check.name.clone(),
            pod: pod.to_owned(),
            wanted: wanted(check, taken),
            found: why,
            good: false,
        }
    }

    /// In one line.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "check {} in pod {}: {}, and should be {}",
            self.name, self.pod, self.found, self.wanted
        )
    }
}

fn wanted(check: &WorkloadCheck, taken: Option<&Measured>) -> String {
    match (&check.output, check.compare, taken) {
        (Some(output), _, _) => short(output),
        (None, Some(Compare::Snapshot), Some(taken)) => written(taken),
        (None, _, _) => format!("exit code {}", check.exit_code.unwrap_or_default()),
    }
}

/// What was written, as far as it fits into a line.
fn written(measured: &Measured) -> String {
    match &measured.output {
        Some(output) if output.trim_end().is_empty() => {
            format!("exit code {}", measured.exit_code)
        }
        Some(output) if output.trim_end().chars().count() <= TOLD => short(output),
        _ => format!(
            "{} with digest {}…",
            Size(measured.bytes),
            measured.digest.get(..16).unwrap_or_default()
        ),
    }
}

/// In one line, in quotes, and cut.
fn short(text: &str) -> String {
    let line: Vec<_> = text.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(TOLD) {
        Some((end, _)) => format!("`{}…`", &line[..end]),
        None => format!("`{line}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> WorkloadCheck {
        WorkloadCheck {
            name: "rows".to_owned(),
            pod: None,
            container: None,
            command: vec!["psql".to_owned()],
            output: None,
            exit_code: None,
            compare: None,
            within: None,
        }
    }

    fn measured(code: i32, text: &str) -> Measured {
        Measured {
            name: "rows".to_owned(),
            pod: None,
            container: None,
            command: vec!["psql".to_owned()],
            exit_code: code,
            output: Some(text.to_owned()),
            bytes: text.len() as u64,
            digest: blake3::hash(text.as_bytes()).to_hex().to_string(),
        }
    }

    #[test]
    fn a_check_is_good_only_as_it_was_asked_for() {
        let plain = check();
        let output = WorkloadCheck {
            output: Some("3|60".to_owned()),
            ..check()
        };
        let compare = WorkloadCheck {
            compare: Some(Compare::Snapshot),
            ..check()
        };
        let code = WorkloadCheck {
            exit_code: Some(2),
            ..check()
        };
        let taken = measured(0, "3|60\n");
        let mut told = Vec::new();
        for (check, found, good) in [
            (&plain, measured(0, ""), true),
            (&plain, measured(1, ""), false),
            (&output, measured(0, "3|60\n"), true),
            (&output, measured(0, "2|30\n"), false),
            (&output, measured(1, "3|60\n"), false),
            (&compare, measured(0, "3|60\n"), true),
            (&compare, measured(0, "2|30\n"), false),
            (&compare, measured(0, &"x".repeat(500)), false),
            (&code, measured(2, ""), true),
            (&code, measured(0, ""), false),
        ] {
            let judged = Judged::of("db-0", check, &found, Some(&taken), "it said so");
            assert_eq!(judged.good, good, "{}", judged.line());
            told.push(format!(
                "{} {}",
                if good { "good:" } else { "bad: " },
                judged.line()
            ));
        }
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn what_a_snapshot_measured_is_a_check_of_what_is_restored() {
        let again = measured(0, "3|60\n").again();
        assert_eq!(again.compare, Some(Compare::Snapshot));
        assert_eq!(again.command, ["psql"]);
        assert_eq!(measured(4, "").again().exit_code, Some(4));
    }
}
