//! The rights that a migration needs, each of them used by a step; and the check that they are there.
use anyhow::Result;
use async_trait::async_trait;

use super::{
    Place,
    inventory::{Inventory, Reference, references},
    kept_claims,
    movers::Movers,
    preflight::{Look, RIGHTS},
};
use crate::{
    adapters::kube::{Rule, refused_rules},
    engine::Check,
    marks::{Belongs, object_name},
    plan::{self, Objects, Workload},
    transfer::Side,
};

/// Rules for one side's cluster.
#[derive(Clone, Debug)]
pub struct Rights {
    /// The side.
    pub place: Place,
    /// What is needed there.
    pub rules: Vec<Rule>,
}

/// For objects that are gone as soon as they are deleted.
const SHORT_LIFE: [&str; 2] = ["get", "delete"];
/// For objects whose end is waited for.
const LONG_LIFE: [&str; 4] = ["get", "delete", "list", "watch"];

/// Verbs on all objects of a kind in a namespace.
fn all(namespace: &str, group: &str, resource: &str, verbs: &[&str]) -> Vec<Rule> {
    verbs
        .iter()
        .map(|verb| Rule::new(verb, group, resource, Some(namespace)))
        .collect()
}

/// Verbs on one object.
fn one(namespace: &str, group: &str, resource: &str, verbs: &[&str], name: &str) -> Vec<Rule> {
    let rules = all(namespace, group, resource, verbs);
    rules.into_iter().map(|rule| rule.on(name)).collect()
}

/// To keep the journal and its lock. A right to create cannot be bound to a name.
#[must_use]
pub fn for_journal(belongs: &Belongs) -> Vec<Rule> {
    let (home, name) = (&belongs.home, object_name(&belongs.migration));
    [("", "configmaps"), ("coordination.k8s.io", "leases")]
        .iter()
        .flat_map(|(group, resource)| {
            let mut rules = all(home, group, resource, &["create"]);
            rules.extend(one(home, group, resource, &["get", "update"], &name));
            rules
        })
        .collect()
}

/// To run the movers of one side and to look at them. Only their own Secrets can be read.
#[must_use]
pub fn for_movers(movers: &Movers, side: Side) -> Vec<Rule> {
    let place = movers.place(side);
    let namespace = &place.namespace;
    let by_exec = movers.goes_by_exec();
    let of_movers = |rules: Vec<Rule>| if by_exec { Vec::new() } else { rules };
    let mut rules = [
        all(namespace, "batch", "jobs", &["create"]),
        of_movers(all(namespace, "", "secrets", &["create"])),
        of_movers(all(namespace, "", "pods", &["get"])),
        all(namespace, "", "pods", &["list", "watch"]),
        of_movers(all(namespace, "", "pods/portforward", &["create", "get"])),
        all(namespace, "", "pods/log", &["get"]),
        all(namespace, "", "events", &["list", "watch"]),
    ]
    .concat();
    if movers.executable.is_some() || by_exec {
        rules.extend(all(namespace, "", "pods/exec", &["create", "get"]));
    }
    for name in movers.names(side) {
        rules.extend(one(namespace, "batch", "jobs", &LONG_LIFE, &name));
        rules.extend(of_movers(one(namespace, "", "secrets", &SHORT_LIFE, &name)));
    }
    if side == Side::Source {
        let name = movers.keys_name();
        rules.extend(of_movers(one(namespace, "", "secrets", &SHORT_LIFE, &name)));
    }
    rules
}

/// To read the credentials of a bucket.
#[must_use]
pub fn for_secret(namespace: &str, name: Option<&String>) -> Vec<Rule> {
    name.map_or_else(Vec::new, |name| {
        one(namespace, "", "secrets", &["get"], name)
    })
}

/// To read the credentials of the bucket that bytes may go through.
#[must_use]
pub fn for_way(namespace: &str, mover: &plan::Mover) -> Vec<Rule> {
    let bucket = mover.bucket.as_ref();
    for_secret(namespace, bucket.and_then(|bucket| bucket.secret.as_ref()))
}

/// To keep the keys of the run's movers.
#[must_use]
pub fn for_keys(movers: &Movers) -> Vec<Rule> {
    let namespace = &movers.source.namespace;
    let mut rules = all(namespace, "", "secrets", &["create"]);
    let name = movers.keys_name();
    rules.extend(one(namespace, "", "secrets", &SHORT_LIFE, &name));
    rules
}

/// To read the source's claims.
#[must_use]
pub fn for_source_claims(namespace: &str) -> Vec<Rule> {
    all(namespace, "", "persistentvolumeclaims", &["list"])
}

/// To make the target's claims; those that are there already are marked.
#[must_use]
pub fn for_target_claims(inventory: &Inventory, namespace: &str) -> Vec<Rule> {
    let resource = "persistentvolumeclaims";
    let mut rules = all(namespace, "", resource, &["create"]);
    for volume in &inventory.volumes {
        rules.extend(one(namespace, "", resource, &LONG_LIFE, &volume.target));
        rules.extend(one(namespace, "", resource, &["patch"], &volume.target));
    }
    rules
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
pub fn for_start(inventory: &Inventory, namespace: &str, name: &str) -> Vec<Rule> {
    let mut rules = all(namespace, "apps", "statefulsets", &["create"]);
    rules.extend(one(namespace, "apps", "statefulsets", &LONG_LIFE, name));
    // Before it is deleted again, its claims are told to stay.
    if kept_claims::deletes(&inventory.workload) {
        rules.extend(one(namespace, "apps", "statefulsets", &["patch"], name));
    }
    rules
}

/// To run a user's checks in pods.
#[must_use]
pub fn for_commands(namespace: &str) -> Vec<Rule> {
    [
        all(namespace, "", "pods", &["list"]),
        all(namespace, "", "pods/exec", &["create", "get"]),
    ]
    .concat()
}

/// To start a workload out of a snapshot, and to see why it does not.
#[must_use]
pub fn for_workload(inventory: &Inventory, namespace: &str, workload: &Workload) -> Vec<Rule> {
    let name = workload.name();
    let mut rules = match workload {
        Workload::StatefulSet(_) => for_start(inventory, namespace, name),
        Workload::Deployment(_) => [
            all(namespace, "apps", "deployments", &["create"]),
            one(namespace, "apps", "deployments", &LONG_LIFE, name),
        ]
        .concat(),
    };
    rules.extend(all(namespace, "", "pods", &["get", "list", "watch"]));
    rules.extend(all(namespace, "", "pods/log", &["get"]));
    rules.extend(all(namespace, "", "events", &["list", "watch"]));
    rules
}

/// To make a namespace for the time of a check, to close its network, and to take it away again.
#[must_use]
pub fn for_scratch(namespace: &str) -> Vec<Rule> {
    let mut rules = vec![Rule::new("create", "", "namespaces", None)];
    for verb in LONG_LIFE {
        rules.push(Rule::new(verb, "", "namespaces", None).on(namespace));
    }
    // Volumes that outlive their claims are not to outlive the check.
    rules.push(Rule::new("list", "", "persistentvolumes", None));
    rules.push(Rule::new("patch", "", "persistentvolumes", None));
    rules.extend(all(
        namespace,
        "",
        "serviceaccounts",
        &["get", "list", "watch"],
    ));
    rules.extend(all(namespace, "", "pods", &["create"]));
    rules.extend(all(namespace, "", "pods", &LONG_LIFE));
    rules.extend(all(
        namespace,
        "networking.k8s.io",
        "networkpolicies",
        &["create", "get", "delete", "list", "watch"],
    ));
    rules
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
    for Reference { resource, name, .. } in references(&inventory.workload) {
        here.extend(one(source, "", resource, &["get"], &name));
        if objects == Objects::Copy {
            there.extend(all(target, "", resource, &["create"]));
            there.extend(one(target, "", resource, &SHORT_LIFE, &name));
        } else {
            there.extend(one(target, "", resource, &["get"], &name));
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
                RIGHTS,
                object,
                format!("all {count} are granted"),
            )]);
        }
        Ok(refused
            .iter()
            .map(|refused| {
                Check::block(
                    RIGHTS,
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
