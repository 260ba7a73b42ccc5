//! What the source's objects become at the target: raw JSON, so that fields this program does not know
//! are kept.
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::inventory::{Inventory, Volume};
use crate::{marks, plan::Plan};

/// Annotations that say what another tool last applied, or what a controller bound: they are of the
/// source alone.
const FOREIGN_ANNOTATIONS: [&str; 5] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "pv.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "volume.kubernetes.io/",
];

/// An object as it would be made at the target: no status, no identity, no owner, our marks.
#[must_use]
pub fn transplant(source: &Value, namespace: &str, labels: BTreeMap<String, String>) -> Value {
    let old = &source["metadata"];
    let mut metadata = json!({"name": old["name"], "namespace": namespace});
    let mut all: Map<String, Value> = old["labels"].as_object().cloned().unwrap_or_default();
    all.extend(
        labels
            .into_iter()
            .map(|(key, value)| (key, Value::from(value))),
    );
    metadata["labels"] = Value::Object(all);
    let annotations: Map<String, Value> = old["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != marks::ORIGINAL)
        .filter(|(key, _)| {
            !FOREIGN_ANNOTATIONS
                .iter()
                .any(|foreign| key.starts_with(foreign))
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    let mut object = source.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        fields.insert("metadata".to_owned(), metadata);
    }
    object
}

/// A ConfigMap, Secret, ServiceAccount or Service as it would be made at the target.
#[must_use]
pub fn copied(source: &Value, namespace: &str, labels: BTreeMap<String, String>) -> Value {
    let mut object = transplant(source, namespace, labels);
    if let Some(fields) = object.as_object_mut() {
        // A service account's token Secrets are made by its own cluster.
        fields.remove("secrets");
    }
    if let Some(spec) = object["spec"].as_object_mut() {
        let headless = spec
            .get("clusterIP")
            .is_some_and(|address| address == "None");
        for field in [
            "clusterIP",
            "clusterIPs",
            "healthCheckNodePort",
            "loadBalancerIP",
        ] {
            spec.remove(field);
        }
        if headless {
            spec.insert("clusterIP".to_owned(), json!("None"));
        }
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
    }
    object
}

/// Leaves out of an object what reaches beyond its namespace: its original is still there, and would be met by its double.
/// Annotations tell controllers of names, addresses, identities and other places; labels may, too.
pub fn keep_to_itself(object: &mut Value, without_labels: bool) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("annotations");
        if without_labels {
            metadata.remove("labels");
        }
    }
    // Of these objects none but a Service has a spec.
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        for field in [
            "externalIPs",
            "externalName",
            "loadBalancerClass",
            "loadBalancerSourceRanges",
            "externalTrafficPolicy",
            "allocateLoadBalancerNodePorts",
        ] {
            spec.remove(field);
        }
        spec.insert("type".to_owned(), json!("ClusterIP"));
    }
}

/// The claim that a volume becomes.
#[must_use]
pub fn claim(volume: &Volume, namespace: &str, labels: &BTreeMap<String, String>) -> Value {
    let mut spec = json!({
        "accessModes": volume.access,
        "resources": {"requests": {"storage": volume.size}},
        "volumeMode": volume.mode.name(),
    });
    if let Some(class) = &volume.class {
        spec["storageClassName"] = json!(class);
    }
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": volume.target, "namespace": namespace, "labels": labels},
        "spec": spec,
    })
}

/// A workload as it is kept beside its data: what its users made of it, and nothing that a server added.
#[must_use]
pub fn kept(workload: &Value) -> Value {
    if workload.is_null() {
        return Value::Null;
    }
    let namespace = workload["metadata"]["namespace"].as_str();
    transplant(workload, namespace.unwrap_or_default(), BTreeMap::new())
}

/// The Deployment as it would be made at the target, with the replicas it had.
#[must_use]
pub fn deployment(
    inventory: &Inventory,
    namespace: &str,
    labels: BTreeMap<String, String>,
) -> Value {
    let mut object = transplant(&inventory.workload, namespace, labels);
    object["apiVersion"] = json!("apps/v1");
    object["kind"] = json!("Deployment");
    object["spec"]["replicas"] = json!(inventory.replicas);
    object
}

/// The StatefulSet as it would be made at the target, with the replicas it had.
#[must_use]
pub fn statefulset(
    plan: &Plan,
    inventory: &Inventory,
    namespace: &str,
    labels: BTreeMap<String, String>,
) -> Value {
    let target = &plan.spec.target;
    let mut object = transplant(&inventory.workload, namespace, labels);
    object["apiVersion"] = json!("apps/v1");
    object["kind"] = json!("StatefulSet");
    if let Some(name) = &target.statefulset {
        object["metadata"]["name"] = json!(name);
    }
    object["spec"]["replicas"] = json!(inventory.replicas);
    let templates = object["spec"]["volumeClaimTemplates"].as_array_mut();
    for template in templates.into_iter().flatten() {
        let name = template["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let own = target.volumes.get(&name);
        let class = own
            .and_then(|own| own.storage_class.clone())
            .or_else(|| target.storage_class.clone());
        let size = own
            .and_then(|own| own.size.clone())
            .or_else(|| target.size.clone());
        if let Some(fields) = template.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = template["metadata"].as_object_mut() {
            metadata.remove("creationTimestamp");
        }
        match class {
            Some(class) => template["spec"]["storageClassName"] = json!(class),
            // The source's class means nothing in another cluster; the claims got the default there.
            None if target.context.is_some() => {
                if let Some(spec) = template["spec"].as_object_mut() {
                    spec.remove("storageClassName");
                }
            }
            None => {}
        }
        if let Some(size) = size {
            template["spec"]["resources"]["requests"]["storage"] = json!(size.to_string());
        }
        if let Some(spec) = template["spec"].as_object_mut() {
            // A template that was bound by hand to one volume or filled from a snapshot would do it again.
            for field in ["volumeName", "dataSource", "dataSourceRef"] {
                spec.remove(field);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_workload_is_what_its_users_made_of_it() {
        let workload = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-11-28T04:15:00Z", "labels": {"app": "web"},
                "annotations": {"team": "orders", "deployment.kubernetes.io/revision": "4",
                    (marks::ORIGINAL): "{}"},
                "managedFields": [{"manager": "kubectl"}], "ownerReferences": [{"name": "x"}],
            },
            "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "new": 1}]}}},
            "status": {"replicas": 2},
        });
        let kept = kept(&workload);
        assert_eq!(
            kept,
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"},
                    "annotations": {"team": "orders"}},
                "spec": workload["spec"],
            })
        );
        assert_eq!(super::kept(&Value::Null), Value::Null);
        let inventory = Inventory {
            workload: kept,
            replicas: 3,
            volumes: Vec::new(),
            left_out: Vec::new(),
        };
        let labels = BTreeMap::from([("kubectl-migrate/run".to_owned(), "r1".to_owned())]);
        let made = deployment(&inventory, "new", labels);
        assert_eq!(made["metadata"]["namespace"], "new");
        assert_eq!(made["metadata"]["labels"]["kubectl-migrate/run"], "r1");
        assert_eq!(made["spec"]["replicas"], 3);
    }
}
