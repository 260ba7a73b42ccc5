//! What the steps of a switch between DataStores leave, read from their outputs as far as it is there.
use std::collections::BTreeMap;

use serde_json::Value;

use super::volumes::{number, text};

/// A copying step of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedSchema {
    /// The step.
    pub step: String,
    /// How often it went through.
    pub rounds: u64,
    /// Keys and changes that were read.
    pub read: u64,
    /// Keys that were written.
    pub written: u64,
    /// Keys that were removed.
    pub removed: u64,
    /// Bytes of what was written.
    pub bytes: u64,
    /// The source's revision that was copied last.
    pub revision: u64,
}

/// The comparison of a schema in both its stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparedSchema {
    /// Keys that were compared.
    pub keys: u64,
    /// Their and their values' bytes.
    pub bytes: u64,
    /// How many differ.
    pub differences: u64,
    /// Digest over all of them.
    pub digest: String,
    /// What was left out: the class, how many keys it has, how many of them differ.
    pub ignored: Vec<(String, u64, u64)>,
}

impl CopiedSchema {
    /// What each copying step did, in the order of the steps.
    pub(super) fn all<'a>(
        steps: impl Iterator<Item = &'a str>,
        outputs: &BTreeMap<String, Value>,
    ) -> Vec<Self> {
        steps
            .filter_map(|step| Some((step, outputs.get(step)?.get("rounds")?.as_array()?)))
            .filter_map(|(step, rounds)| {
                let sum = |key| rounds.iter().map(|round| number(round, key)).sum();
                Some(Self {
                    step: step.to_owned(),
                    rounds: rounds.len() as u64,
                    read: sum("read"),
                    written: sum("written"),
                    removed: sum("removed"),
                    bytes: sum("bytes"),
                    revision: number(rounds.last()?, "revision"),
                })
            })
            .collect()
    }
}

impl ComparedSchema {
    /// What the comparison found.
    pub(super) fn read(outputs: &BTreeMap<String, Value>) -> Option<Self> {
        let output = outputs.get("verify")?;
        let ignored = output.get("ignored")?.as_array()?;
        let of_class = |class: &Value| {
            (
                text(class, "class"),
                number(class, "keys"),
                number(class, "different"),
            )
        };
        Some(Self {
            keys: number(output, "keys"),
            bytes: number(output, "bytes"),
            differences: output.get("different")?.as_u64()?,
            digest: text(output, "digest"),
            ignored: ignored.iter().map(of_class).collect(),
        })
    }
}

/// What is to be said at the end: whether kubelets have to be restarted, and what came too late.
pub(super) fn notes(outputs: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    let mut notes = by_kamaji_s_job(outputs);
    let verify = outputs.get("verify");
    if let Some(earlier) = verify.and_then(|output| output.get("earlier")) {
        let text = format!(
            "all was compared at revision {} while the tenant worked; while writes were refused, the {} keys that changed since were compared again",
            number(earlier, "source"),
            number(earlier, "again")
        );
        notes.push(("verify".to_owned(), text));
    }
    if let Some(later) = outputs.get("settle").and_then(|output| output.get("later")) {
        let writes = number(later, "writes");
        if writes > 0 {
            let keys = later.get("keys").and_then(Value::as_array);
            let keys: Vec<_> = keys
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let text = format!(
                "{writes} writes came to the source after the comparison, and are not at the target: {}",
                keys.join(", ")
            );
            notes.push(("settle".to_owned(), text));
        }
    }
    if let Some(output) = outputs.get("settle")
        && let Some(restart) = output.get("restart_kubelets").and_then(Value::as_bool)
    {
        let verdict = if restart {
            "kubelets have to be restarted"
        } else {
            "no kubelet has to be restarted"
        };
        notes.push((
            "settle".to_owned(),
            format!("{verdict}: {}", text(output, "because")),
        ));
    }
    notes
}

/// What a switch by Kamaji's own Job has to say of it.
fn by_kamaji_s_job(outputs: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    let mut notes = Vec::new();
    let raced = outputs.get("freeze").and_then(|output| output.get("raced"));
    if raced == Some(&Value::Bool(true)) {
        let text = "Kamaji's job was faster than it could be held: the stores were compared after the flip only";
        notes.push(("freeze".to_owned(), text.to_owned()));
    }
    let defects = outputs.get("job").and_then(|output| output.get("defects"));
    for defect in defects.and_then(Value::as_array).into_iter().flatten() {
        let text = format!(
            "{}: {} {}; put right by `final-copy`",
            text(defect, "name"),
            number(defect, "keys"),
            text(defect, "what")
        );
        notes.push(("job".to_owned(), text));
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_kamaji_s_job_did_wrong_is_told_at_the_end() {
        let outputs = json!({
            "freeze": {"raced": true},
            "job": {"job": "1", "defects": [{"name": "leases", "what": "events were written without", "keys": 3, "first": []}]},
        });
        let outputs: BTreeMap<String, Value> = serde_json::from_value(outputs).expect("a map");
        let told: Vec<_> = notes(&outputs)
            .into_iter()
            .map(|(step, text)| format!("{step}: {text}"))
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("freeze: Kamaji's job was faster"));
        assert_eq!(
            told[1],
            "job: leases: 3 events were written without; put right by `final-copy`"
        );
    }
}
