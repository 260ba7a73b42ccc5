//! The rights of the way `controller`, where Kamaji makes its Jobs.
use super::super::Switch;
use crate::adapters::kube::Rule;

/// Where Kamaji is installed as its guide says; for whoever may not look.
const USUAL: &str = "kamaji-system";

/// Its Job, its pods, and the probe that preflight makes in the Job's place.
pub(in super::super) async fn rules(switch: &Switch) -> Vec<Rule> {
    let manager = switch.manager().await.ok();
    let namespace = manager.map_or_else(|| USUAL.to_owned(), |manager| manager.namespace);
    let namespace = Some(namespace.as_str());
    let all = |group: &str, resource: &str, verbs: &[&str]| -> Vec<Rule> {
        verbs
            .iter()
            .map(|verb| Rule::new(verb, group, resource, namespace))
            .collect()
    };
    let job = all("batch", "jobs", &["get", "list", "watch", "delete"]);
    let name = switch.job_name();
    [
        job.into_iter().map(|rule| rule.on(&name)).collect(),
        // Their names are random.
        all("", "pods", &["create", "get", "list", "watch", "delete"]),
        all("", "pods/log", &["get"]),
        all("", "events", &["list"]),
        all("", "serviceaccounts", &["get"]),
    ]
    .concat()
}
