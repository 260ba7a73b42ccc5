//! One field of an object, found by a path in which a container stands by its name.
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adapters::kube::JsonPatchOperation;

/// One field that a freeze replaces, with both its values; `None` where the field is absent.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// A JSON pointer in which an item of a list stands by its name:
    /// `/spec/template/spec/containers/db/command`.
    pub at: String,
    /// Before the freeze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Value>,
    /// While frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<Value>,
}

/// Which of its two values a field has now.
#[derive(Clone, Debug, PartialEq)]
pub enum Now {
    /// As the freeze left it.
    Frozen,
    /// As before the freeze.
    Original,
    /// Neither: somebody else changed it to this.
    Changed(Option<Value>),
}

impl Field {
    /// Which of its two values it has in this object.
    pub(super) fn now(&self, object: &Value) -> Now {
        let Some((parent, _, name)) = parent(object, &self.at) else {
            return Now::Changed(None);
        };
        let value = parent.get(name);
        if value == self.is.as_ref() {
            Now::Frozen
        } else if value == self.was.as_ref() {
            Now::Original
        } else {
            Now::Changed(value.cloned())
        }
    }

    /// The operation that gives it its frozen value, from whatever it has.
    pub(super) fn freeze(&self, object: &Value) -> Option<JsonPatchOperation> {
        set(object, &self.at, self.is.as_ref())
    }

    /// Gives it its original value in this copy of an object.
    pub(super) fn put_back(&self, object: &mut Value) {
        let Some((path, name)) = parent(object, &self.at).map(|(_, path, name)| (path, name))
        else {
            return;
        };
        let Some(fields) = object.pointer_mut(&path).and_then(Value::as_object_mut) else {
            return;
        };
        match &self.was {
            Some(was) => fields.insert(name.to_owned(), was.clone()),
            None => fields.remove(name),
        };
    }

    /// The operation that gives it its original value, from whatever it has.
    pub(super) fn restore(&self, object: &Value) -> Option<JsonPatchOperation> {
        set(object, &self.at, self.was.as_ref())
    }
}

/// The value at a path.
pub(super) fn get<'a>(object: &'a Value, at: &str) -> Option<&'a Value> {
    let (parent, _, name) = parent(object, at)?;
    parent.get(name)
}

fn set(object: &Value, at: &str, to: Option<&Value>) -> Option<JsonPatchOperation> {
    let (parent, path, name) = parent(object, at)?;
    let path = format!("{path}/{name}");
    match (parent.get(name), to) {
        (Some(now), Some(to)) if now == to => None,
        (None, None) => None,
        (Some(_), None) => Some(JsonPatchOperation::Remove { path }),
        (Some(_), Some(to)) => Some(JsonPatchOperation::Replace {
            path,
            value: to.clone(),
        }),
        (None, Some(to)) => Some(JsonPatchOperation::Add {
            path,
            value: to.clone(),
        }),
    }
}

/// The object that holds the field, its true JSON pointer, and the field's name.
fn parent<'a, 'p>(object: &'a Value, at: &'p str) -> Option<(&'a Value, String, &'p str)> {
    let (above, name) = at.rsplit_once('/')?;
    let mut value = object;
    let mut path = String::new();
    for part in above.split('/').skip(1) {
        if let Value::Array(items) = value {
            let index = items
                .iter()
                .position(|item| item.get("name").and_then(Value::as_str) == Some(part))?;
            path = format!("{path}/{index}");
            value = items.get(index)?;
        } else {
            path = format!("{path}/{part}");
            value = value.get(part)?;
        }
    }
    value.is_object().then_some((value, path, name))
}
