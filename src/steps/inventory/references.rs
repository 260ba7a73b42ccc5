//! What a pod template refers to by name in its namespace.
use std::collections::BTreeSet;

use serde_json::Value;

/// A named object that pods need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Plural resource of the core group: `configmaps`, `secrets`, `serviceaccounts`, `services`.
    pub resource: &'static str,
    /// Its name.
    pub name: String,
    /// Whether the pods start without it.
    pub optional: bool,
}

/// Objects that a namespace has by itself.
const BUILT_IN: [(&str, &str); 2] = [
    ("configmaps", "kube-root-ca.crt"),
    ("serviceaccounts", "default"),
];

/// What a StatefulSet's or Deployment's pods refer to: ConfigMaps and Secrets (volumes, projected
/// volumes, environment), pull secrets, the service account, and the StatefulSet's own Service.
#[must_use]
pub fn references(workload: &Value) -> Vec<Reference> {
    let spec = &workload["spec"];
    let pod = &spec["template"]["spec"];
    let mut found = BTreeSet::new();
    let mut add = |resource: &'static str, name: &Value, optional: &Value| {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty())
            && !BUILT_IN.contains(&(resource, name))
        {
            found.insert(Reference {
                resource,
                name: name.to_owned(),
                optional: optional.as_bool().unwrap_or(false),
            });
        }
    };
    add("services", &spec["serviceName"], &Value::Null);
    add("serviceaccounts", &pod["serviceAccountName"], &Value::Null);
    for secret in items(&pod["imagePullSecrets"]) {
        add("secrets", &secret["name"], &Value::Bool(true));
    }
    for volume in items(&pod["volumes"]) {
        let map = &volume["configMap"];
        add("configmaps", &map["name"], &map["optional"]);
        let secret = &volume["secret"];
        add("secrets", &secret["secretName"], &secret["optional"]);
        for source in items(&volume["projected"]["sources"]) {
            for (resource, key) in [("configmaps", "configMap"), ("secrets", "secret")] {
                add(resource, &source[key]["name"], &source[key]["optional"]);
            }
        }
    }
    for container in items(&pod["initContainers"]).chain(items(&pod["containers"])) {
        for (list, map, secret) in [("envFrom", "configMapRef", "secretRef")] {
            for from in items(&container[list]) {
                add("configmaps", &from[map]["name"], &from[map]["optional"]);
                add("secrets", &from[secret]["name"], &from[secret]["optional"]);
            }
        }
        for variable in items(&container["env"]) {
            let from = &variable["valueFrom"];
            for (resource, key) in [
                ("configmaps", "configMapKeyRef"),
                ("secrets", "secretKeyRef"),
            ] {
                add(resource, &from[key]["name"], &from[key]["optional"]);
            }
        }
    }
    // Named once as needed and once as optional: needed.
    let needed: BTreeSet<_> = found
        .iter()
        .filter(|reference| !reference.optional)
        .map(|reference| (reference.resource, reference.name.clone()))
        .collect();
    found
        .into_iter()
        .filter(|reference| {
            !reference.optional || !needed.contains(&(reference.resource, reference.name.clone()))
        })
        .collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::references;

    #[test]
    fn every_way_to_refer_to_an_object_is_found() {
        let workload = json!({"spec": {"serviceName": "db", "template": {"spec": {
            "serviceAccountName": "runner",
            "imagePullSecrets": [{"name": "registry"}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "from", "optional": true}}]}],
            "containers": [{
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "password", "key": "a"}}},
                        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b", "optional": true}}}]
            }],
            "volumes": [{"name": "c", "configMap": {"name": "files"}},
                        {"name": "s", "secret": {"secretName": "keys", "optional": true}},
                        {"name": "r", "configMap": {"name": "kube-root-ca.crt"}},
                        {"name": "p", "projected": {"sources": [{"secret": {"name": "joined"}}]}}]
        }}}});
        let found: Vec<_> = references(&workload)
            .iter()
            .map(|r| {
                format!(
                    "{}/{}{}",
                    r.resource,
                    r.name,
                    if r.optional { "?" } else { "" }
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                "configmaps/files",
                "configmaps/settings",
                "secrets/from?",
                "secrets/joined",
                "secrets/keys?",
                "secrets/password",
                "secrets/registry?",
                "serviceaccounts/runner",
                "services/db"
            ]
        );
    }
}
