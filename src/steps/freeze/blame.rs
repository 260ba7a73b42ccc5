//! Who changed an object, by the record that the API server keeps of it.
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

use crate::adapters::kube::FIELD_MANAGER;

/// The newest writer other than us of a field (as a path like `/spec/replicas`), else of the spec.
pub(super) fn of(meta: &ObjectMeta, field: Option<&str>) -> String {
    let entries = || {
        let all = meta.managed_fields.iter().flatten();
        all.filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER))
    };
    let newest = |at: &str| {
        entries()
            .filter(|entry| owns(entry, at))
            .max_by_key(|entry| entry.time.clone())
    };
    let writer = field.and_then(newest).or_else(|| newest("/spec"));
    writer.map_or_else(|| "somebody unknown".to_owned(), describe)
}

/// The newest writer other than us of the spec, if it wrote since then. An API server keeps no record of
/// some changes (scaling to 0 is one), and an earlier writer must not be blamed for them.
pub(super) fn since(meta: &ObjectMeta, then: Timestamp) -> String {
    let entries = meta.managed_fields.iter().flatten();
    let newest = entries
        .filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER) && owns(entry, "/spec"))
        // The record is in whole seconds.
        .filter(|entry| {
            let at = entry.time.as_ref().map(|time| time.0.as_second());
            at.is_some_and(|at| at >= then.as_second())
        })
        .max_by_key(|entry| entry.time.clone());
    newest.map_or_else(|| "somebody unknown".to_owned(), describe)
}

/// Who made an object: its first recorded writer.
pub(super) fn maker(meta: &ObjectMeta) -> Option<String> {
    let entries = meta.managed_fields.iter().flatten();
    let first = entries
        .filter(|entry| entry.subresource.is_none())
        .min_by_key(|entry| entry.time.clone())?;
    Some(format!("field manager `{}`", first.manager.as_deref()?))
}

fn describe(entry: &ManagedFieldsEntry) -> String {
    let manager = entry.manager.as_deref().unwrap_or("unknown");
    let mut text = format!("field manager `{manager}`");
    if let Some(subresource) = entry.subresource.as_deref() {
        text = format!("{text} (subresource {subresource})");
    }
    match &entry.time {
        Some(time) => format!("{text} at {}", time.0),
        None => text,
    }
}

/// Whether the entry holds the field: `/spec/replicas` is `f:spec` and in it `f:replicas`.
fn owns(entry: &ManagedFieldsEntry, at: &str) -> bool {
    let Some(mut fields) = entry.fields_v1.as_ref().map(|fields| &fields.0) else {
        return false;
    };
    for part in at.split('/').skip(1) {
        let Some(inner) = step(fields, part) else {
            return false;
        };
        fields = inner;
    }
    true
}

fn step<'a>(fields: &'a Value, part: &str) -> Option<&'a Value> {
    let fields = fields.as_object()?;
    if let Some(inner) = fields.get(&format!("f:{part}")) {
        return Some(inner);
    }
    let item = format!("k:{{\"name\":\"{part}\"}}");
    fields.get(&item)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meta(entries: &Value) -> ObjectMeta {
        serde_json::from_value(json!({ "managedFields": entries })).expect("metadata")
    }

    fn entry(manager: &str, subresource: &str, minute: u32, fields: &Value) -> Value {
        let mut entry = json!({
            "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": format!("2026-01-02T03:{minute:02}:05Z"), "fieldsV1": fields,
        });
        if !subresource.is_empty() {
            entry["subresource"] = json!(subresource);
        }
        entry
    }

    #[test]
    fn the_newest_writer_of_the_field_is_named_and_not_the_controller_or_us() {
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let meta = meta(&json!([
            entry(FIELD_MANAGER, "", 9, &replicas),
            entry("helm", "", 1, &replicas),
            entry("kubectl", "scale", 7, &replicas),
            entry(
                "kube-controller-manager",
                "status",
                8,
                &json!({"f:status": {"f:replicas": {}}})
            ),
        ]));
        assert_eq!(
            of(&meta, Some("/spec/replicas")),
            "field manager `kubectl` (subresource scale) at 2026-01-02T03:07:05Z"
        );
        assert_eq!(maker(&meta).as_deref(), Some("field manager `helm`"));
        let then = |minute: u32| {
            let text = format!("2026-01-02T03:{minute:02}:05.7Z");
            text.parse().expect("a time")
        };
        assert!(since(&meta, then(7)).contains("`kubectl`"));
        assert_eq!(since(&meta, then(8)), "somebody unknown");
    }

    #[test]
    fn a_containers_field_is_found_by_its_name_and_a_removed_one_by_the_spec() {
        let command = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"db\"}": {"f:command": {}}
        }}}}});
        let meta = meta(&json!([
            entry("argocd-controller", "", 3, &command),
            entry(
                "kubectl-edit",
                "",
                5,
                &json!({"f:spec": {"f:template": {}}})
            ),
        ]));
        let at = "/spec/template/spec/containers/db/";
        assert!(of(&meta, Some(&format!("{at}command"))).contains("`argocd-controller`"));
        assert!(of(&meta, Some(&format!("{at}args"))).contains("`kubectl-edit`"));
        assert_eq!(of(&ObjectMeta::default(), None), "somebody unknown");
    }
}
