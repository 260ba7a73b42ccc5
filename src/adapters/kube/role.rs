//! The smallest Roles that give a list of rights, as YAML that can be applied.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{KubeError, Rule};

/// Objects whose name the authoriser does not know, or many at once: RBAC cannot narrow these verbs to one
/// name. A list or a watch can be narrowed: it is granted when it selects `metadata.name`.
const UNNAMEABLE: [&str; 2] = ["create", "deletecollection"];

/// One Role per namespace, one `ClusterRole` for the rest, all called `name`, each with its binding to this
/// user (`system:serviceaccount:NAMESPACE:NAME` for a service account). The same rights give the same text.
pub fn role_yaml(rules: &[Rule], name: &str, user: &str) -> Result<String, KubeError> {
    let mut by_namespace: BTreeMap<Option<&str>, Vec<&Rule>> = BTreeMap::new();
    for rule in rules {
        by_namespace
            .entry(rule.namespace.as_deref())
            .or_default()
            .push(rule);
    }
    let mut documents = Vec::new();
    for (namespace, rules) in by_namespace {
        let (role, binding) = match namespace {
            Some(_) => ("Role", "RoleBinding"),
            None => ("ClusterRole", "ClusterRoleBinding"),
        };
        let mut metadata = json!({"name": name});
        if let Some(namespace) = namespace {
            metadata["namespace"] = json!(namespace);
        }
        documents.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": role,
            "metadata": metadata,
            "rules": policy_rules(&rules),
        }));
        documents.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": binding,
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name},
            "subjects": [subject(user)],
        }));
    }
    let texts: Result<Vec<String>, _> = documents.iter().map(serde_yaml::to_string).collect();
    let texts = texts.map_err(|error| KubeError::Other {
        what: "cannot write the Role as YAML".to_owned(),
        cause: error.to_string(),
    })?;
    Ok(texts.join("---\n"))
}

/// Group, resource and names; the order of these makes the order of the text.
type Target = (String, String, BTreeSet<String>);

/// Group, names and verbs: what resources must have in common to share one rule.
type Shared<'a> = (String, BTreeSet<String>, BTreeSet<&'a str>);

/// Merges first the verbs of one target, then the targets that have the same verbs.
fn policy_rules(rules: &[&Rule]) -> Vec<Value> {
    let everywhere = |rule: &Rule| rule.name.is_none() || UNNAMEABLE.contains(&rule.verb.as_str());
    let unnamed: BTreeSet<(&str, String, &str)> = rules
        .iter()
        .filter(|rule| everywhere(rule))
        .map(|rule| {
            (
                rule.group.as_str(),
                rule.resource_path(),
                rule.verb.as_str(),
            )
        })
        .collect();
    // The names that one verb needs on one resource.
    let mut names: BTreeMap<(&str, String, &str), BTreeSet<String>> = unnamed
        .iter()
        .map(|target| (target.clone(), BTreeSet::new()))
        .collect();
    for rule in rules {
        let target = (
            rule.group.as_str(),
            rule.resource_path(),
            rule.verb.as_str(),
        );
        if let (false, Some(name)) = (unnamed.contains(&target), &rule.name) {
            names.entry(target).or_default().insert(name.clone());
        }
    }
    let mut verbs: BTreeMap<Target, BTreeSet<&str>> = BTreeMap::new();
    for ((group, resource, verb), names) in names {
        verbs
            .entry((group.to_owned(), resource, names))
            .or_default()
            .insert(verb);
    }
    let mut resources: BTreeMap<Shared<'_>, BTreeSet<String>> = BTreeMap::new();
    for ((group, resource, names), verbs) in verbs {
        resources
            .entry((group, names, verbs))
            .or_default()
            .insert(resource);
    }
    resources
        .into_iter()
        .map(|((group, names, verbs), resources)| {
            let mut rule = json!({"apiGroups": [group], "resources": resources});
            if !names.is_empty() {
                rule["resourceNames"] = json!(names);
            }
            rule["verbs"] = json!(verbs);
            rule
        })
        .collect()
}

fn subject(user: &str) -> Value {
    match user
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((namespace, name)) => {
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
        }
        None => json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNER: &str = "system:serviceaccount:ops:runner";

    #[test]
    fn the_smallest_roles_are_written_in_a_fixed_order() {
        let rules = [
            Rule::new("watch", "apps", "statefulsets", Some("shop")).on("orders-db"),
            Rule::new("get", "apps", "statefulsets", Some("shop")).on("orders-db"),
            Rule::new("update", "apps", "statefulsets/scale", Some("shop")).on("orders-db"),
            Rule::new("get", "apps", "statefulsets/scale", Some("shop")).on("orders-db"),
            Rule::new("get", "", "pods", Some("shop")).on("orders-db-0"),
            Rule::new("get", "", "pods", Some("shop")),
            Rule::new("create", "", "pods", Some("shop")).on("mover"),
            Rule::new("list", "", "persistentvolumeclaims", Some("shop")),
            Rule::new("get", "", "namespaces", None).on("kube-system"),
        ];
        let role =
            |rules: &[Rule]| role_yaml(rules, "migrate-shop-orders-db", RUNNER).expect("a text");
        let text = role(&rules);
        let reversed: Vec<Rule> = rules.iter().rev().cloned().collect();
        assert_eq!(text, role(&reversed));
        insta::assert_snapshot!(text, @r"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata:
          name: migrate-shop-orders-db
        rules:
        - apiGroups:
          - ''
          resources:
          - namespaces
          resourceNames:
          - kube-system
          verbs:
          - get
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata:
          name: migrate-shop-orders-db
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: migrate-shop-orders-db
        subjects:
        - kind: ServiceAccount
          name: runner
          namespace: ops
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: migrate-shop-orders-db
          namespace: shop
        rules:
        - apiGroups:
          - ''
          resources:
          - pods
          verbs:
          - create
          - get
        - apiGroups:
          - ''
          resources:
          - persistentvolumeclaims
          verbs:
          - list
        - apiGroups:
          - apps
          resources:
          - statefulsets/scale
          resourceNames:
          - orders-db
          verbs:
          - get
          - update
        - apiGroups:
          - apps
          resources:
          - statefulsets
          resourceNames:
          - orders-db
          verbs:
          - get
          - watch
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: migrate-shop-orders-db
          namespace: shop
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: Role
          name: migrate-shop-orders-db
        subjects:
        - kind: ServiceAccount
          name: runner
          namespace: ops
        ");
    }
}
