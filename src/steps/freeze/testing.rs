//! What the tests of this folder share.
use serde_json::Value;

use crate::adapters::kube::JsonPatchOperation;

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
