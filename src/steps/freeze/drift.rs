//! What became of a workload between the beginning of a migration and its freeze.
//!
//! Which volumes are copied, and what is started at the target, was fixed in the beginning; hours of warm
//! copying may lie between. What differs then would be missing at the target, so nothing is frozen.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{blame, subject::shown};

/// Set by `kubectl rollout restart`: the pods are the same but for their age.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// What is different from what the migration began with, a line each, with who set it.
///
/// `begun` is the whole object as it was then, null where that is not known; `now` is what the object is
/// without the freeze.
pub(super) fn drift(begun: &Value, meta: &ObjectMeta, now: &Value) -> Vec<String> {
    if begun.is_null() {
        return Vec::new();
    }
    let uid = begun["metadata"]["uid"].as_str();
    if uid.is_some() && uid != meta.uid.as_deref() {
        return vec!["it was deleted and made again".to_owned()];
    }
    let mut found = Vec::new();
    let replicas = |object: &Value| object["spec"]["replicas"].as_u64().unwrap_or(1);
    if replicas(begun) != replicas(now) {
        let by = blame::of(meta, Some("/spec/replicas"));
        let (was, is) = (replicas(begun), replicas(now));
        found.push(format!("spec.replicas was {was} and is {is}, set by {by}"));
    }
    for part in ["ordinals", "template", "volumeClaimTemplates"] {
        let side = |object: &Value| {
            let mut side = object["spec"][part].clone();
            forget_restarts(&mut side);
            side
        };
        let mut changed = Vec::new();
        differ(
            &format!("spec.{part}"),
            &side(begun),
            &side(now),
            &mut changed,
        );
        let by = blame::of(meta, Some(&format!("/spec/{part}")));
        found.extend(
            changed
                .iter()
                .map(|line| format!("{line}, last written by {by}")),
        );
    }
    found
}

/// Takes off what restarts leave in a pod template.
fn forget_restarts(template: &mut Value) {
    let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let annotations = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut);
    if let Some(annotations) = annotations {
        annotations.remove(RESTARTED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// The fields that differ; items of a list go by their names where they have the same.
fn differ(at: &str, was: &Value, is: &Value, found: &mut Vec<String>) {
    match (was, is) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let at = format!("{at}.{key}");
                match (old.get(key), new.get(key)) {
                    (Some(was), Some(is)) => differ(&at, was, is, found),
                    (was, is) => found.push(line(&at, was, is)),
                }
            }
        }
        (Value::Array(old), Value::Array(new))
            if old.len() == new.len()
                && old
                    .iter()
                    .zip(new)
                    .all(|(was, is)| was["name"] == is["name"]) =>
        {
            for (index, (was, is)) in old.iter().zip(new).enumerate() {
                let index = index.to_string();
                let name = was["name"].as_str().unwrap_or(&index);
                differ(&format!("{at}.{name}"), was, is, found);
            }
        }
        _ if was != is => found.push(line(at, Some(was), Some(is))),
        _ => {}
    }
}

fn line(at: &str, was: Option<&Value>, is: Option<&Value>) -> String {
    format!("{at} was {} and is {}", shown(was), shown(is))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(replicas: u32, image: &str, restarted: &str) -> Value {
        let mut object = json!({"metadata": {"uid": "u1"}, "spec": {
            "replicas": replicas, "minReadySeconds": 1, "updateStrategy": {"type": "RollingUpdate"},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                "containers": [{"name": "db", "image": image}, {"name": "side", "image": "s"}],
            }},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        }});
        if !restarted.is_empty() {
            object["spec"]["template"]["metadata"]["annotations"] = json!({RESTARTED: restarted});
        }
        object
    }

    fn meta() -> ObjectMeta {
        let scaled = json!({"manager": "kubectl", "operation": "Update", "subresource": "scale",
            "time": "2026-01-02T03:04:05Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        serde_json::from_value(json!({"uid": "u1", "managedFields": [scaled]})).expect("metadata")
    }

    #[test]
    fn what_would_be_missing_at_the_target_is_named_and_harmless_edits_are_not() {
        let begun = object(3, "a:1", "");
        let mut harmless = object(3, "a:1", "2026-01-02T03:04:05Z");
        harmless["spec"]["minReadySeconds"] = json!(9);
        assert_eq!(drift(&begun, &meta(), &harmless), Vec::<String>::new());
        assert_eq!(drift(&Value::Null, &meta(), &begun), Vec::<String>::new());

        // Where nobody is known to have written the part itself, it is who wrote the spec last.
        let who = "field manager `kubectl` (subresource scale) at 2026-01-02T03:04:05Z";
        assert_eq!(
            drift(&begun, &meta(), &object(5, "a:2", "")),
            [
                format!("spec.replicas was 3 and is 5, set by {who}"),
                format!(
                    "spec.template.spec.containers.db.image was \"a:1\" and is \"a:2\", last written by {who}"
                ),
            ]
        );
        let mut more = object(3, "a:1", "");
        more["spec"]["template"]["spec"]["volumes"] = json!([]);
        more["spec"]["ordinals"] = json!({"start": 1});
        assert_eq!(drift(&begun, &meta(), &more).len(), 2);

        let mut other = meta();
        other.uid = Some("u2".to_owned());
        assert_eq!(
            drift(&begun, &other, &begun),
            ["it was deleted and made again"]
        );
    }
}
