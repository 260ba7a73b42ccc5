use serde_json::Value;

use super::Plan;

/// The digest of a plan's meaning: comments, order and layout of the file do not count.
#[must_use]
pub fn digest(plan: &Plan) -> String {
    let value = sorted(serde_json::to_value(plan).unwrap_or_default());
    blake3::hash(value.to_string().as_bytes())
        .to_hex()
        .to_string()
}

/// What is different in `new`, a line each: `spec.target.size: 10Gi → 20Gi`.
#[must_use]
pub fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    found
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let side =
                |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            compare(&path, &side(old), &side(new), found);
        }
    } else if old != new {
        found.push(format!("{path}: {} → {}", shown(old), shown(new)));
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Maps keep the order of the source here, so the digest sorts them itself.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.into_iter().collect();
            pairs.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(
                pairs
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::changes;

    #[test]
    fn changes_are_named_by_field() {
        let old = json!({"spec": {"target": {"size": "10Gi", "namespace": "a"}}});
        let new = json!({"spec": {"target": {"size": "20Gi"}, "warm": {"rounds": 1}}});
        assert_eq!(
            changes(&old, &new),
            [
                "spec.target.namespace: a → (none)",
                "spec.target.size: 10Gi → 20Gi",
                "spec.warm: (none) → {\"rounds\":1}"
            ]
        );
    }
}
