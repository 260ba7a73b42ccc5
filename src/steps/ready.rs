//! Whether the pods of a workload are ready, and why not.
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Pod,
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
};

use super::Place;
use crate::{
    adapters::kube::{
        KubeError, Look, Selector, Wait, list_all, object_events, pod_evidence, wait_for,
    },
    engine::{Cx, Failure, Kind},
    plan::Workload,
};

/// A database may recover for a while before it is ready.
pub(super) const READY: Duration = Duration::from_mins(15);

/// Waits until so many pods of a StatefulSet are ready; an error has what is seen of those that are not.
pub(super) async fn pods(
    place: &Place,
    name: &str,
    replicas: u32,
    step: &str,
    cx: &Cx,
) -> Result<u32> {
    let workload = Workload::StatefulSet(name.to_owned());
    within(place, &workload, replicas, READY, step, cx).await
}

/// A kind of workload, as the server names it.
pub(super) fn resource(workload: &Workload) -> ApiResource {
    match workload {
        Workload::StatefulSet(_) => ApiResource::erase::<StatefulSet>(&()),
        Workload::Deployment(_) => ApiResource::erase::<Deployment>(&()),
    }
}

/// Waits so long until so many pods of a workload are ready; an error has what is seen of those that are not.
pub(super) async fn within(
    place: &Place,
    workload: &Workload,
    replicas: u32,
    bound: Duration,
    step: &str,
    cx: &Cx,
) -> Result<u32> {
    let wanted = u64::from(replicas);
    let object = place.object(workload.kind(), workload.name());
    let what = format!("{object} to have {wanted} ready pods");
    let tell = |seen: &str| cx.sink.waiting(step, seen);
    let wait = Wait::new(&what, bound).telling(&tell);
    let resource = resource(workload);
    let api: Api<DynamicObject> =
        Api::namespaced_with(place.cluster.client(), &place.namespace, &resource);
    let waited = wait_for(&api, workload.name(), &wait, |set| {
        let Some(set) = set else {
            return Look::Never("it was deleted".to_owned());
        };
        let ready = set.data["status"]["readyReplicas"].as_u64().unwrap_or(0);
        if ready >= wanted {
            Look::Done
        } else {
            Look::NotYet(format!("{ready} of {wanted} are ready"))
        }
    })
    .await;
    let Err(error) = waited else {
        return Ok(replicas);
    };
    // A quota or a policy refuses its pods there, where no pod can tell it.
    let (kind, name) = (&resource.kind, workload.name());
    let mut seen = object_events(&place.cluster, &place.namespace, kind, name).await;
    for pod in of(place, workload).await.unwrap_or_default() {
        if !is_ready(&pod) {
            let name = pod.metadata.name.unwrap_or_default();
            seen.extend(pod_evidence(&place.cluster, &place.namespace, &name).await);
        }
    }
    let kind = match error {
        KubeError::TimedOut { .. } => Kind::TimedOut,
        _ => Kind::Error,
    };
    Err(Failure::new(kind, error.to_string())
        .with_evidence(seen)
        .into())
}

/// The pods of a workload that are there now.
pub(super) async fn of(place: &Place, workload: &Workload) -> Result<Vec<Pod>, KubeError> {
    let all = list_all(&place.api::<Pod>(), &Selector::all()).await?;
    let own = all.into_iter().filter(|pod| is_of_workload(pod, workload));
    Ok(own.collect())
}

/// Whether a workload of this name made the pod; a Deployment by one of its `ReplicaSet`s, which are named after it.
pub(super) fn is_of_workload(pod: &Pod, workload: &Workload) -> bool {
    match workload {
        Workload::StatefulSet(name) => is_of(pod, name),
        Workload::Deployment(name) => {
            let mut owners = pod.metadata.owner_references.iter().flatten();
            owners.any(|owner| {
                let hash = owner.name.strip_prefix(name.as_str());
                let hash = hash.and_then(|rest| rest.strip_prefix('-'));
                owner.kind == "ReplicaSet" && hash.is_some_and(|hash| !hash.contains('-'))
            })
        }
    }
}

/// Whether a StatefulSet of this name made the pod.
pub(super) fn is_of(pod: &Pod, statefulset: &str) -> bool {
    pod.metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "StatefulSet" && owner.name == statefulset)
}

/// Whether a pod is ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_of_the_workload_that_made_it_and_of_no_other_with_a_like_name() {
        let pod = |kind: &str, owner: &str| -> Pod {
            let owner = json!({"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "u"});
            let pod = json!({"metadata": {"name": "p", "ownerReferences": [owner]}});
            serde_json::from_value(pod).expect("a pod")
        };
        let deployment = Workload::Deployment("db".to_owned());
        let set = Workload::StatefulSet("db".to_owned());
        for (kind, owner, of_deployment, of_set) in [
            ("ReplicaSet", "db-7d4b9c6f5", true, false),
            ("ReplicaSet", "db-x-7d4b9c6f5", false, false),
            ("ReplicaSet", "db", false, false),
            ("StatefulSet", "db", false, true),
            ("StatefulSet", "db-x", false, false),
        ] {
            let pod = pod(kind, owner);
            assert_eq!(
                (
                    is_of_workload(&pod, &deployment),
                    is_of_workload(&pod, &set)
                ),
                (of_deployment, of_set),
                "{kind} {owner}"
            );
        }
    }
}
