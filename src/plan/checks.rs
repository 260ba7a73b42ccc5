//! What has to be true of a workload, as commands in its pods and what they have to say.
use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    API_VERSION, PlanError, Span,
    read::{document, text_of},
    validate::name,
};

/// `kind` of a file with checks.
pub const CHECKS_KIND: &str = "Checks";

/// The field of a plan that holds them.
const OF_PLAN: &str = "spec.checks";

/// A command that is run in one of a workload's pods, and what is expected of it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadCheck {
    /// What it is called.
    pub name: String,
    /// The pod; the workload's first one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The container; the pod's first one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The program with its arguments. No shell reads it.
    pub command: Vec<String>,
    /// What it has to write, but for white space at the end; whatever when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The code that it has to end with; 0 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What it wrote another time, and has to write again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// How long it may take to be as expected: it is run again until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
}

/// With what the output of a check is compared.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// With what it was when the snapshot was taken.
    Snapshot,
}

/// A file with checks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    checks: Vec<WorkloadCheck>,
}

/// Reads and checks the file with checks, or standard input for `-`.
pub fn read_checks(file: &Path) -> Result<Vec<WorkloadCheck>, PlanError> {
    let (name, text) = text_of(file)?;
    parse_checks(&name, &text)
}

fn parse_checks(file: &str, text: &str) -> Result<Vec<WorkloadCheck>, PlanError> {
    let found: File = document(file, text, "list of checks")?;
    let refuse = |field: &str, problem: String| PlanError::of(file, text, field, problem);
    if found.api_version != API_VERSION {
        let problem = format!("`{}` is not known, only `{API_VERSION}`", found.api_version);
        return Err(refuse("apiVersion", problem));
    }
    if found.kind != CHECKS_KIND {
        let problem = format!("`{}` is not `{CHECKS_KIND}`", found.kind);
        return Err(refuse("kind", problem));
    }
    if found.checks.is_empty() {
        return Err(refuse("checks", "it holds no check".to_owned()));
    }
    validate("checks", &found.checks).map_err(|(field, problem)| refuse(&field, problem))?;
    Ok(found.checks)
}

/// Checks those of a plan.
pub(super) fn of_plan(checks: &[WorkloadCheck]) -> Result<(), (String, String)> {
    validate(OF_PLAN, checks)
}

fn validate(at: &str, checks: &[WorkloadCheck]) -> Result<(), (String, String)> {
    let mut names = BTreeSet::new();
    for (index, check) in checks.iter().enumerate() {
        let field = |field: &str| format!("{at}[{index}].{field}");
        name(&field("name"), &check.name)?;
        if let Some(pod) = &check.pod {
            name(&field("pod"), pod)?;
        }
        if !names.insert(&check.name) {
            let problem = format!("`{}` is the name of two checks", check.name);
            return Err((field("name"), problem));
        }
        if check.command.is_empty() {
            let problem = "names no program".to_owned();
            return Err((field("command"), problem));
        }
        if check.output.is_some() && check.compare.is_some() {
            let problem = "an output is given, too: leave one of them out".to_owned();
            return Err((field("compare"), problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
apiVersion: kubectl-migrate/v1
kind: Checks
checks:
- name: rows
  pod: db-0
  container: postgres
  command: [psql, -Atc, select count(*) from orders]
  compare: snapshot
- name: writes
  command: [test, -w, /data]
  within: 90s
- name: version
  command: [cat, /data/PG_VERSION]
  output: '17'
";

    #[test]
    fn a_good_file_is_read() {
        let checks = parse_checks("c.yaml", GOOD).expect("it is good");
        let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, ["rows", "writes", "version"]);
        assert_eq!(checks[0].compare, Some(Compare::Snapshot));
        assert_eq!(checks[2].output.as_deref(), Some("17"));
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_field() {
        let cases = [
            GOOD.replace("kind: Checks", "kind: Check"),
            GOOD.replace("migrate/v1", "migrate/v2"),
            GOOD.replace("name: writes", "name: rows"),
            GOOD.replace("name: writes", "name: Writes"),
            GOOD.replace("  within: 90s", "  within: soon"),
            GOOD.replace("  within: 90s", "  witin: 90s"),
            GOOD.replace("[test, -w, /data]", "[]"),
            GOOD.replace("[test, -w, /data]", "test -w /data"),
            GOOD.replace("  output: '17'", "  output: '17'\n  compare: snapshot"),
            GOOD.replace("compare: snapshot", "compare: yesterday"),
            "apiVersion: kubectl-migrate/v1\nkind: Checks\nchecks: []\n".to_owned(),
            "# nothing\n".to_owned(),
        ];
        let told: Vec<_> = cases
            .iter()
            .map(|text| {
                parse_checks("c.yaml", text)
                    .expect_err("it is wrong")
                    .to_string()
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
