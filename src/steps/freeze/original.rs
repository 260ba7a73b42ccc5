//! What a freeze replaces in a workload's spec, and how it is put back.
//!
//! Only the fields that are replaced are kept: what other people change beside them meanwhile is not
//! undone, and without such changes the spec comes back the same to the byte.
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    field::{Field, Now, get},
    sleeper,
    subject::shown,
};
use crate::{
    adapters::kube::JsonPatchOperation,
    plan::{FreezeMode, Workload},
};

const STRATEGY: &str = "/spec/strategy";
const PARTITION: &str = "/spec/updateStrategy/rollingUpdate/partition";
const WHEN_SCALED: &str = "/spec/persistentVolumeClaimRetentionPolicy/whenScaled";

/// The fields that a freeze replaced, with their values before and after.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(transparent)]
pub struct Original(Vec<Field>);

/// A field that has neither its original nor its frozen value: somebody else changed it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Changed {
    /// Where it is.
    pub at: String,
    /// What it has now.
    pub now: Option<Value>,
    /// What it had before the freeze.
    pub was: Option<Value>,
}

/// Which fields are put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All but those that steer a rollout: they would keep sleeping pods where they are.
    Pods,
    /// Those that steer a rollout.
    Rollout,
}

impl Original {
    /// What a freeze of this object would replace.
    pub(super) fn of(workload: &Workload, mode: FreezeMode, object: &Value) -> Self {
        let wanted = match mode {
            FreezeMode::Scale => scaled(object),
            FreezeMode::Sleep => asleep(workload, object),
        };
        let fields = wanted.into_iter().map(|(at, is)| Field {
            was: get(object, &at).cloned(),
            at,
            is,
        });
        Self(fields.filter(|field| field.was != field.is).collect())
    }

    /// The operations that freeze the object; none where it is frozen.
    pub(super) fn freeze(&self, object: &Value) -> Result<Vec<JsonPatchOperation>, Box<Changed>> {
        self.unchanged(object)?;
        Ok(self
            .0
            .iter()
            .filter_map(|field| field.freeze(object))
            .collect())
    }

    /// The operations that put one part back; none where it is as it was.
    pub(super) fn restore(
        &self,
        part: Part,
        object: &Value,
    ) -> Result<Vec<JsonPatchOperation>, Box<Changed>> {
        self.unchanged(object)?;
        let fields = self.0.iter().filter(|field| part_of(field) == part);
        Ok(fields.filter_map(|field| field.restore(object)).collect())
    }

    /// The object as it would be without the freeze.
    pub(super) fn before(&self, object: &Value) -> Value {
        let mut before = object.clone();
        for field in &self.0 {
            field.put_back(&mut before);
        }
        before
    }

    /// The first field that somebody else changed.
    pub(super) fn unchanged(&self, object: &Value) -> Result<(), Box<Changed>> {
        for field in &self.0 {
            if let Now::Changed(now) = field.now(object) {
                return Err(Box::new(Changed {
                    at: field.at.clone(),
                    now,
                    was: field.was.clone(),
                }));
            }
        }
        Ok(())
    }

    /// The first field that is no longer as the freeze left it, with what it has now.
    pub(super) fn thawed(&self, object: &Value) -> Option<(&str, Option<Value>)> {
        self.0.iter().find_map(|field| match field.now(object) {
            Now::Frozen => None,
            Now::Original => Some((field.at.as_str(), field.was.clone())),
            Now::Changed(now) => Some((field.at.as_str(), now)),
        })
    }

    /// Whether any field is still as the freeze left it.
    pub(super) fn is_in(&self, object: &Value) -> bool {
        self.0.iter().any(|field| field.now(object) == Now::Frozen)
    }

    /// What a freeze changes, a line a field: `spec.replicas: 3 becomes 0`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|field| {
            let at = field.at.trim_start_matches('/').replace('/', ".");
            let (was, is) = (shown(field.was.as_ref()), shown(field.is.as_ref()));
            format!("{at}: {was} becomes {is}")
        })
    }

    /// What putting it back changes, a line a field: `spec.replicas: 0 becomes 3`.
    pub fn lines_back(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|field| {
            let at = field.at.trim_start_matches('/').replace('/', ".");
            let (was, is) = (shown(field.was.as_ref()), shown(field.is.as_ref()));
            format!("{at}: {is} becomes {was}")
        })
    }

    /// The containers that were put to sleep.
    pub(super) fn sleepers(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter_map(|field| sleeper::container(&field.at))
    }
}

/// To 0 pods; and where claims follow the number of pods, they are told to stay.
fn scaled(object: &Value) -> Vec<(String, Option<Value>)> {
    let mut fields = vec![("/spec/replicas".to_owned(), Some(json!(0)))];
    // Scaled to 0 with `Delete`, Kubernetes deletes the claims: the only copy of the data.
    if get(object, WHEN_SCALED) == Some(&json!("Delete")) {
        fields.push((WHEN_SCALED.to_owned(), Some(json!("Retain"))));
    }
    fields
}

fn asleep(workload: &Workload, object: &Value) -> Vec<(String, Option<Value>)> {
    let mut fields = sleeper::fields(object);
    if get(object, "/spec/minReadySeconds").is_some() {
        // A sleeper is as ready as it gets: waiting would only lengthen the rollout.
        fields.push(("/spec/minReadySeconds".to_owned(), None));
    }
    match workload {
        // A partition keeps the pods below it as they are: awake.
        Workload::StatefulSet(_) => {
            if get(object, PARTITION).is_some_and(|partition| *partition != json!(0)) {
                fields.push((PARTITION.to_owned(), Some(json!(0))));
            }
        }
        // A new pod beside the old one would wait for a volume that the old one holds.
        Workload::Deployment(_) => {
            if get(object, "/spec/strategy/type") != Some(&json!("Recreate")) {
                fields.push((STRATEGY.to_owned(), Some(json!({"type": "Recreate"}))));
            }
        }
    }
    fields
}

fn part_of(field: &Field) -> Part {
    match field.at.as_str() {
        STRATEGY | PARTITION => Part::Rollout,
        _ => Part::Pods,
    }
}

#[cfg(test)]
#[path = "original_tests.rs"]
mod tests;
