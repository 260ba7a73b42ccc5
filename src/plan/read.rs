use std::{fmt, io::Read as _, path::Path};

use serde::de::DeserializeOwned;

use super::{Plan, locate::line_of, validate::validate, words};

/// Why a plan was refused.
#[derive(Debug)]
pub struct PlanError {
    /// The file, `standard input` for `-`.
    pub file: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The field, as `spec.target.size`; empty for the file as a whole.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(formatter, ": {}", self.field)?;
        }
        write!(formatter, ": {}", self.problem)
    }
}

impl std::error::Error for PlanError {}

impl PlanError {
    /// What is wrong with a field of this text.
    pub(super) fn of(file: &str, text: &str, field: &str, problem: String) -> Self {
        Self {
            file: file.to_owned(),
            line: line_of(text, field),
            field: field.to_owned(),
            problem,
        }
    }
}

/// Reads and checks the plan in a file, or on standard input for `-`.
pub fn read(file: &Path) -> Result<Plan, PlanError> {
    let (name, text) = text_of(file)?;
    parse(&name, &text)
}

/// A file's text, or standard input's for `-`, with what errors call it.
pub(super) fn text_of(file: &Path) -> Result<(String, String), PlanError> {
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        ("standard input".to_owned(), read.map(|_| text))
    } else {
        (file.display().to_string(), std::fs::read_to_string(file))
    };
    match text {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(PlanError {
            file: name,
            line: None,
            field: String::new(),
            problem: format!("cannot be read: {error}"),
        }),
    }
}

/// Reads and checks a plan; `file` is what errors call it.
pub fn parse(file: &str, text: &str) -> Result<Plan, PlanError> {
    let plan: Plan = document(file, text, "plan")?;
    validate(&plan).map_err(|(field, problem)| PlanError::of(file, text, &field, problem))?;
    Ok(plan)
}

/// Reads a document, strictly; `what` is what it is to be.
pub(super) fn document<T: DeserializeOwned>(
    file: &str,
    text: &str,
    what: &str,
) -> Result<T, PlanError> {
    let refuse = |line: Option<usize>, field: &str, problem: String| PlanError {
        file: file.to_owned(),
        line,
        field: field.to_owned(),
        problem,
    };
    let is_empty = |line: &str| line.is_empty() || line.starts_with('#') || line == "---";
    if text.lines().map(str::trim).all(is_empty) {
        return Err(refuse(None, "", format!("it holds no {what}")));
    }
    serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
        let path = error.path().to_string();
        // Where the text itself is broken, the path ends in a question mark.
        let field = path.trim_end_matches(['.', '?']);
        let inner = error.into_inner();
        // The parser's place may be that of the field's parent, which begins before it.
        let line = inner.location().map(|place| place.line());
        let line = line.max(line_of(text, field));
        refuse(line, field, bare(&inner.to_string(), field, what))
    })
}

/// Checks a plan again to which flags and the user's context have added.
pub fn check(plan: &Plan) -> Result<(), PlanError> {
    validate(plan).map_err(|(field, problem)| PlanError {
        file: "the plan with what the flags say".to_owned(),
        line: None,
        field,
        problem,
    })
}

/// The parser's own text without the path and the place, which we say in our own way.
fn bare(message: &str, field: &str, what: &str) -> String {
    if message.contains("more than one document") {
        return format!("it holds more than one document, and a {what} is one");
    }
    // The parser names the field itself or one of its parents.
    let message = message
        .split_once(": ")
        .filter(|(path, _)| field.starts_with(path))
        .map_or(message, |(_, rest)| rest);
    let message = message
        .rfind(" at line ")
        .map_or(message, |end| &message[..end]);
    words::plain(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
apiVersion: kubectl-migrate/v1
kind: Migration
metadata:
  name: orders-db
  namespace: shop
spec:
  playbook: statefulset
  source:
    statefulset: orders-db
  target:
    namespace: store
";

    /// The same StatefulSet, with other volumes.
    const IN_PLACE: &str = "\
apiVersion: kubectl-migrate/v1
kind: Migration
metadata:
  name: orders-db
  namespace: shop
spec:
  playbook: statefulset
  source:
    statefulset: orders-db
  target:
    storageClass: fast
";

    fn refused(text: &str) -> String {
        parse("m.yaml", text).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_good_plan_is_read() {
        let plan = parse("m.yaml", GOOD).expect("it is good");
        assert_eq!(plan.spec.source.statefulset.as_deref(), Some("orders-db"));
        assert_eq!(plan.spec.warm.rounds, 5);
    }

    #[test]
    fn a_statefulset_that_gets_other_volumes_may_be_its_own_target() {
        let in_place = |text: &str| parse("m.yaml", text).expect("it is good").is_in_place();
        assert!(in_place(IN_PLACE));
        let named = "storageClass: fast\n    namespace: shop\n    statefulset: orders-db";
        assert!(in_place(&IN_PLACE.replace("storageClass: fast", named)));
        let one = "volumes:\n      data: {size: 20Gi}";
        assert!(in_place(&IN_PLACE.replace("storageClass: fast", one)));
        assert!(!in_place(&format!("{IN_PLACE}    namespace: store\n")));
        assert!(!in_place(&format!("{IN_PLACE}    context: far\n")));
        assert!(!in_place(GOOD));
    }

    #[test]
    fn a_bucket_is_a_way_when_it_is_named_and_only_of_what_is_copied() {
        use crate::plan::MoverWay::{Bucket, Client, Direct, Exec};
        let ways = |mover: &str| {
            let plan = parse("m.yaml", &format!("{GOOD}  mover: {mover}\n"));
            plan.map(|plan| plan.spec.mover.ways())
        };
        let bucket = "bucket: {address: 's3://backups/moving'}";
        let given = |mover: &str| ways(mover).expect("it is good");
        assert_eq!(given("{limit: 1MiB/s}"), [Direct, Client]);
        assert_eq!(given(&format!("{{{bucket}}}")), [Direct, Client, Bucket]);
        // They are tried in one order, however they are named.
        let named = format!("{{ways: [bucket, direct], {bucket}}}");
        assert_eq!(given(&named), [Direct, Bucket]);
        // What needs no mover is never taken unless it is named.
        assert_eq!(given("{ways: [exec]}"), [Exec]);
        let freeze = GOOD.replace("playbook: statefulset", "playbook: freeze");
        let freeze = freeze.replace("  target:\n    namespace: store\n", "");
        let refused = [
            ways("{ways: [bucket]}").expect_err("none is named"),
            ways(&format!("{{ways: [direct], {bucket}}}")).expect_err("it is never used"),
            ways("{ways: [rsync]}").expect_err("there is none"),
            ways("{ways: [direct, exec]}").expect_err("one needs movers, the other has none"),
            ways("{ways: [exec], executable: put}").expect_err("nothing of ours runs"),
            parse(
                "m.yaml",
                &format!("{GOOD}  verify: warm\n  mover: {{ways: [exec]}}\n"),
            )
            .map(drop)
            .expect_err("nothing is remembered"),
            parse("m.yaml", &format!("{freeze}  mover: {{ways: [direct]}}\n"))
                .map(drop)
                .expect_err("it copies nothing"),
            parse("m.yaml", &format!("{freeze}  mover: {{{bucket}}}\n"))
                .map(drop)
                .expect_err("it copies nothing"),
        ];
        let told: Vec<_> = refused.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn what_is_wrong_is_named_with_file_line_field_and_what_is_allowed() {
        let cases = [
            GOOD.replace("  playbook: statefulset", "  playbook: mysql"),
            GOOD.replace("    namespace: store", "    namspace: store"),
            GOOD.replace("    namespace: store", "    namespace: [store]"),
            GOOD.replace(
                "    namespace: store",
                "    namespace: store\n    size: 10 Gi",
            ),
            GOOD.replace("    namespace: store", "    namespace: shop"),
            GOOD.replace(
                "    namespace: store",
                "    namespace: store\n    pvc: data",
            ),
            GOOD.replace("    statefulset: orders-db", "    pvc: data"),
            GOOD.replace(
                "    statefulset: orders-db",
                "    statefulset: a\n    pvc: b",
            ),
            GOOD.replace("  name: orders-db", "  name: Orders_DB"),
            GOOD.replace("kubectl-migrate/v1", "kubectl-migrate/v2"),
            GOOD.replace("kind: Migration", "kind: Deployment"),
            format!("{GOOD}  freeze:\n    max: soon\n"),
            format!("{GOOD}  freeze:\n    mode: stop\n"),
            format!("{GOOD}  mover:\n    runAs: nobody\n"),
            format!("{IN_PLACE}  freeze:\n    mode: sleep\n"),
            format!("{IN_PLACE}  objects: copy\n"),
            IN_PLACE.replace("playbook: statefulset", "playbook: copy"),
            format!("{GOOD}---\n{GOOD}"),
            "kind: [".to_owned(),
            String::new(),
        ];
        let texts: Vec<_> = cases.iter().map(|text| refused(text)).collect();
        insta::assert_snapshot!(texts.join("\n"));
    }
}
