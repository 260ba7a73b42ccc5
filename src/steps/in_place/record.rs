//! What is written down before anything is taken apart: enough to make each object again, as it was or as it is to be.
use anyhow::Result;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    engine::Key,
    marks::{IN_PLACE, ORIGINAL},
    plan::{Claims, Target},
};

/// What `retain` leaves in the journal.
pub const RETAINED: Key<Kept> = Key::new("retain");

/// Everything that a swap takes apart.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The StatefulSet as it is frozen, with its old claim templates.
    pub workload: Value,
    /// Its volumes.
    pub volumes: Vec<KeptVolume>,
}

/// A volume that is exchanged for another.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct KeptVolume {
    /// The claim that the pods know, with the old volume.
    pub claim: Value,
    /// The claim under which the new volume was filled.
    pub filled: Value,
    /// The old volume.
    pub old: Held,
    /// The new volume.
    pub new: Held,
}

/// A volume that outlives its claim.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Its name.
    pub volume: String,
    /// Its uid: another of the same name is another volume.
    pub uid: String,
    /// The reclaim policy that it had.
    pub policy: String,
}

impl KeptVolume {
    /// The name that the pods know.
    #[must_use]
    pub fn name(&self) -> &str {
        name_of(&self.claim)
    }

    /// The name under which the new volume was filled.
    #[must_use]
    pub fn filled_name(&self) -> &str {
        name_of(&self.filled)
    }

    /// The claim that the pods know, with the new volume: labels, annotations and owners as they were.
    pub(super) fn renewed(&self) -> Value {
        let mut claim = self.claim.clone();
        claim["spec"] = self.filled["spec"].clone();
        claim
    }
}

fn name_of(claim: &Value) -> &str {
    claim["metadata"]["name"].as_str().unwrap_or_default()
}

/// Annotations by which the binder and provisioners work: on a claim that is made anew they would tell that it is bound.
const BINDING: [&str; 3] = [
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
];

/// Fields by which a volume is filled when it is made: this one is there, and full.
const FILLING: [&str; 2] = ["dataSource", "dataSourceRef"];

/// A claim as it can be made again for its volume.
pub(super) fn claim(found: &DynamicObject, volume: &PersistentVolume) -> Result<Value> {
    let found = serde_json::to_value(found)?;
    let mut metadata = metadata(&found);
    let owners = metadata.get_mut("ownerReferences");
    if let Some(owners) = owners.and_then(Value::as_array_mut) {
        // By the uids that they have now: an owner that is gone would take the claim along.
        owners.retain(|owner| owner["kind"] != "StatefulSet" && owner["kind"] != "Pod");
        if owners.is_empty() {
            metadata.remove("ownerReferences");
        }
    }
    let annotations = metadata.get_mut("annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !BINDING.iter().any(|of| key.starts_with(of)));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    let mut spec = found["spec"].as_object().cloned().unwrap_or_default();
    spec.retain(|key, _| !FILLING.contains(&key.as_str()));
    let class = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.clone());
    spec.insert(
        "storageClassName".to_owned(),
        json!(class.unwrap_or_default()),
    );
    spec.insert("volumeName".to_owned(), json!(volume.metadata.name));
    Ok(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec,
    }))
}

/// A StatefulSet as it can be made again.
pub(super) fn workload(found: &DynamicObject) -> Result<Value> {
    let found = serde_json::to_value(found)?;
    let mut spec = found["spec"].clone();
    for template in spec["volumeClaimTemplates"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        if let Some(fields) = template.as_object_mut() {
            fields.remove("status");
        }
        if let Some(fields) = template["metadata"].as_object_mut() {
            fields.remove("creationTimestamp");
        }
    }
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata(&found), "spec": spec,
    }))
}

/// The same with the claim templates that it is to have, and a mark of ours.
pub(super) fn renewed(workload: &Value, target: &Target, run: &str) -> Value {
    let mut workload = workload.clone();
    workload["metadata"]["annotations"][IN_PLACE] = json!(run);
    let templates = workload["spec"]["volumeClaimTemplates"].as_array_mut();
    for template in templates.into_iter().flatten() {
        let name = template["metadata"]["name"].as_str().unwrap_or_default();
        let Claims {
            storage_class,
            size,
        } = target.of(name);
        if let Some(class) = storage_class {
            template["spec"]["storageClassName"] = json!(class);
        }
        if let Some(size) = size {
            template["spec"]["resources"]["requests"]["storage"] = json!(size.to_string());
        }
    }
    workload
}

/// Whether two StatefulSets are the same but for our own note, which names the uid.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    let bare = |workload: &Value| {
        let mut workload = workload.clone();
        let annotations = workload["metadata"]["annotations"].as_object_mut();
        if let Some(annotations) = annotations {
            annotations.remove(ORIGINAL);
        }
        workload
    };
    bare(one) == bare(other)
}

/// What is the user's in an object's metadata; the rest is the server's.
fn metadata(found: &Value) -> Map<String, Value> {
    const THE_USERS: [&str; 5] = [
        "name",
        "namespace",
        "labels",
        "annotations",
        "ownerReferences",
    ];
    let metadata = found["metadata"].as_object().cloned().unwrap_or_default();
    let kept = metadata.into_iter();
    kept.filter(|(key, _)| THE_USERS.contains(&key.as_str()))
        .collect()
}
