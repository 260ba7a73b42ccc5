//! Whether the pods of a StatefulSet are ready, and why not.
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};

use super::Place;
use crate::{
    adapters::kube::{KubeError, Look, Selector, Wait, list_all, pod_evidence, wait_for},
    engine::{Cx, Failure, Kind},
};

/// A database may recover for a while before it is ready.
const READY: Duration = Duration::from_mins(15);

/// Waits until so many pods of a StatefulSet are ready; an error has what is seen of those that are not.
pub(super) async fn pods(
    place: &Place,
    name: &str,
    replicas: u32,
    step: &str,
    cx: &Cx,
) -> Result<u32> {
    let wanted = i32::try_from(replicas).unwrap_or(i32::MAX);
    let object = place.object("statefulset", name);
    let what = format!("{object} to have {wanted} ready pods");
    let tell = |seen: &str| cx.sink.waiting(step, seen);
    let wait = Wait::new(&what, READY).telling(&tell);
    let waited = wait_for(&place.api::<StatefulSet>(), name, &wait, |set| {
        let status = set.and_then(|set| set.status.as_ref());
        let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
        if set.is_none() {
            Look::Never("it was deleted".to_owned())
        } else if ready >= wanted {
            Look::Done
        } else {
            Look::NotYet(format!("{ready} of {wanted} are ready"))
        }
    })
    .await;
    let Err(error) = waited else {
        return Ok(replicas);
    };
    let mut seen = Vec::new();
    for pod in of(place, name).await.unwrap_or_default() {
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

async fn of(place: &Place, name: &str) -> Result<Vec<Pod>, KubeError> {
    let all = list_all(&place.api::<Pod>(), &Selector::all()).await?;
    Ok(all.into_iter().filter(|pod| is_of(pod, name)).collect())
}

/// Whether a StatefulSet of this name made the pod.
pub(super) fn is_of(pod: &Pod, statefulset: &str) -> bool {
    pod.metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == "StatefulSet" && owner.name == statefulset)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
