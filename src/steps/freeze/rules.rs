//! The rights that a freeze and its undo need.
use super::FreezeStep;
use crate::{
    adapters::kube::Rule,
    plan::{FreezeMode, Workload},
};

/// Every right that the step uses, the thaw included.
#[must_use]
pub fn rules(step: &FreezeStep) -> Vec<Rule> {
    let resource = match step.workload {
        Workload::StatefulSet(_) => "statefulsets",
        Workload::Deployment(_) => "deployments",
    };
    let here = Some(step.place.namespace.as_str());
    let on_it = ["get", "list", "watch", "patch"]
        .map(|verb| Rule::new(verb, "apps", resource, here).on(step.workload.name()));
    // All pods of the namespace: whoever mounts the claims may be anybody's.
    let mut pods = vec!["list", "watch"];
    if step.mode == FreezeMode::Sleep {
        // A sleeper that never got ready blocks the rollout that wakes it, and is deleted.
        pods.extend(["get", "delete"]);
    }
    let pods = pods
        .into_iter()
        .map(|verb| Rule::new(verb, "", "pods", here));
    let autoscalers = Rule::new("list", "autoscaling", "horizontalpodautoscalers", here);
    on_it.into_iter().chain(pods).chain([autoscalers]).collect()
}
