//! The rights that a migration needs, each of them used by a step; and the check that they are there.
use anyhow::Result;
use async_trait::async_trait;

use super::{
    Place,
    inventory::{Inventory, references},
    preflight::Look,
};
use crate::{
    adapters::kube::{Rule, refused_rules},
    engine::Check,
    plan::Objects,
};

/// Rules for one side's cluster.
#[derive(Clone, Debug)]
pub struct Rights {
    /// The side.
    pub place: Place,
    /// What is needed there.
    pub rules: Vec<Rule>,
}

/// Verbs on a resource of one group in a namespace.
fn rules(namespace: &str, group: &str, resource: &str, verbs: &[&str]) -> Vec<Rule> {
    verbs
        .iter()
        .map(|verb| Rule::new(verb, group, resource, Some(namespace)))
        .collect()
}

/// To keep the journal and its lock.
#[must_use]
pub fn for_journal(namespace: &str) -> Vec<Rule> {
    [
        rules(namespace, "", "configmaps", &["get", "create", "update"]),
        rules(
            namespace,
            "coordination.k8s.io",
            "leases",
            &["get", "create", "update"],
        ),
    ]
    .concat()
}

/// To run movers and to look at them.
#[must_use]
pub fn for_movers(namespace: &str) -> Vec<Rule> {
    [
        rules(
            namespace,
            "batch",
            "jobs",
            &["get", "list", "watch", "create", "delete"],
        ),
        rules(
            namespace,
            "",
            "secrets",
            &["get", "list", "watch", "create", "delete"],
        ),
        rules(namespace, "", "pods", &["get", "list", "watch"]),
        rules(namespace, "", "pods/portforward", &["create", "get"]),
        rules(namespace, "", "pods/log", &["get"]),
        rules(namespace, "", "events", &["list", "watch"]),
    ]
    .concat()
}

/// To read the source's volumes, and to make the target's.
#[must_use]
pub fn for_claims(source: &str, target: &str) -> (Vec<Rule>, Vec<Rule>) {
    let verbs = ["get", "list", "watch", "create", "delete", "patch"];
    (
        rules(source, "", "persistentvolumeclaims", &["get", "list"]),
        rules(target, "", "persistentvolumeclaims", &verbs),
    )
}

/// To look at what the target's claims need, which belongs to no namespace.
#[must_use]
pub fn for_target_checks() -> Vec<Rule> {
    vec![Rule::new("list", "storage.k8s.io", "storageclasses", None)]
}

/// To look at a namespace's own object: whether it is there, and which Pod Security it enforces.
#[must_use]
pub fn for_namespace(namespace: &str) -> Vec<Rule> {
    vec![Rule::new("get", "", "namespaces", None).on(namespace)]
}

/// To tell one cluster from another.
#[must_use]
pub fn for_identity() -> Vec<Rule> {
    vec![Rule::new("get", "", "namespaces", None).on("kube-system")]
}

/// To start the StatefulSet at the target.
#[must_use]
pub fn for_start(namespace: &str) -> Vec<Rule> {
    rules(
        namespace,
        "apps",
        "statefulsets",
        &["get", "list", "watch", "create", "delete"],
    )
}

/// To look at, and where asked for to copy, what the pods refer to.
#[must_use]
pub fn for_objects(
    inventory: &Inventory,
    objects: Objects,
    source: &str,
    target: &str,
) -> (Vec<Rule>, Vec<Rule>) {
    let mut here = Vec::new();
    let mut there = Vec::new();
    for reference in references(&inventory.workload) {
        here.push(Rule::new("get", "", reference.resource, Some(source)).on(&reference.name));
        there.push(Rule::new("get", "", reference.resource, Some(target)).on(&reference.name));
        if objects == Objects::Copy {
            // A right to create cannot be bound to a name.
            there.push(Rule::new("create", "", reference.resource, Some(target)));
            for verb in ["list", "watch", "delete"] {
                there.push(Rule::new(verb, "", reference.resource, Some(target)));
            }
        }
    }
    (here, there)
}

#[async_trait]
impl Look for Rights {
    async fn look(&self) -> Result<Vec<Check>> {
        let user = self.place.cluster.context();
        let refused = refused_rules(&self.place.cluster, &self.rules).await?;
        let count = self.rules.len();
        if refused.is_empty() {
            let object = format!("context {user}");
            return Ok(vec![Check::pass(
                "rights",
                object,
                format!("all {count} are granted"),
            )]);
        }
        Ok(refused
            .iter()
            .map(|refused| {
                Check::block(
                    "rights",
                    format!("context {user}"),
                    format!("may not {}{}", refused.rule, reason(&refused.reason)),
                    "`kubectl migrate preflight -f FILE --emit-role` prints the Role to ask for",
                )
            })
            .collect())
    }
}

fn reason(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}
