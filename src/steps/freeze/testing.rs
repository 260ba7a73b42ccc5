//! What the tests of this folder share.
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{FreezeStep, Original, pods::Judge};
use crate::marks::Belongs;
use crate::{
    adapters::kube::{ConnectionFlags, JsonPatchOperation, connect},
    plan::{FreezeMode, Workload},
    steps::Place,
};

/// The object after a JSON patch, by the rules of RFC 6902.
pub(super) fn patched(object: &Value, operations: &[JsonPatchOperation]) -> Value {
    let mut object = object.clone();
    for operation in operations {
        apply(&mut object, operation);
    }
    object
}

fn apply(object: &mut Value, operation: &JsonPatchOperation) {
    let (JsonPatchOperation::Test { path, .. }
    | JsonPatchOperation::Add { path, .. }
    | JsonPatchOperation::Replace { path, .. }
    | JsonPatchOperation::Remove { path }) = operation;
    let (parent, name) = path.rsplit_once('/').expect("a pointer");
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = object.pointer_mut(parent).expect("the parent exists");
    let parent = parent.as_object_mut().expect("an object");
    match operation {
        JsonPatchOperation::Test { value, .. } => assert_eq!(parent.get(&name), Some(value)),
        JsonPatchOperation::Add { value, .. } => {
            parent.insert(name, value.clone());
        }
        JsonPatchOperation::Replace { value, .. } => {
            let before = parent.insert(name, value.clone());
            assert!(before.is_some(), "{path} is replaced and was not there");
        }
        JsonPatchOperation::Remove { .. } => {
            assert!(
                parent.remove(&name).is_some(),
                "{path} is removed and was not there"
            );
        }
    }
}

/// The step for `statefulset shop/db` in run `r1`; its cluster is never dialled.
pub(super) async fn step(mode: FreezeMode) -> FreezeStep {
    let flags = ConnectionFlags {
        server: Some("https://127.0.0.1:1".to_owned()),
        kubeconfig: Some("/dev/null".into()),
        ..ConnectionFlags::default()
    };
    FreezeStep {
        place: Place {
            cluster: connect(&flags)
                .await
                .expect("a cluster that is not dialled"),
            namespace: "shop".to_owned(),
            remote: false,
        },
        workload: Workload::StatefulSet("db".to_owned()),
        mode,
        belongs: Belongs {
            migration: "m".to_owned(),
            home: "shop".to_owned(),
            run: "r1".to_owned(),
        },
        claims: vec!["data-db-0".to_owned()],
        begun: Value::Null,
        exclusive: Vec::new(),
        bound: Duration::from_secs(1),
    }
}

/// Hands out the judge of a freeze of `statefulset shop/db`, whose container `db` was put to sleep.
pub(super) async fn judged(mode: FreezeMode, test: impl FnOnce(&Judge<'_>)) {
    let watched = step(mode).await.watched();
    let spec = json!({"spec": {"template": {"spec": {"containers": [{"name": "db"}]}}}});
    let original = Original::of(&watched.workload, FreezeMode::Sleep, &spec);
    test(&watched.judge(mode, "u1", &original));
}

/// A ready pod `db-0` of the workload that mounts the claim, with these fields put over it.
pub(super) fn pod(over: &Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "db-0", "ownerReferences":
            [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u1", "controller": true}]},
        "spec": {
            "containers": [{"name": "db", "command": ["/bin/db"]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    for (part, fields) in over.as_object().expect("an object") {
        for (field, value) in fields.as_object().expect("an object") {
            pod[part][field] = value.clone();
        }
    }
    serde_json::from_value(pod).expect("a pod")
}
