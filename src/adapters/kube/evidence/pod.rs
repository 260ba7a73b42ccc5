//! What a pod's status and logs tell.
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use kube::{Api, ResourceExt, api::LogParams};

use super::{
    super::{Cluster, KubeError},
    LOG_BYTES, LOG_LINES, because, short,
};

/// Phase, conditions that say no, and the state of every container.
pub(super) fn lines(what: &str, pod: &Pod) -> Vec<String> {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or("Unknown");
    let why = because(status.reason.as_deref(), status.message.as_deref());
    let mut lines = vec![format!("{what} is {phase}{why}")];
    if pod.metadata.deletion_timestamp.is_some() {
        let finalizers = pod.finalizers().join(", ");
        let held = if finalizers.is_empty() {
            String::new()
        } else {
            format!(", held by {finalizers}")
        };
        lines.push(format!("{what} is being deleted{held}"));
    }
    for condition in status.conditions.iter().flatten() {
        if condition.type_ == "PodScheduled" && condition.status == "False" {
            lines.push(format!(
                "{what} has no node{}",
                because(condition.reason.as_deref(), condition.message.as_deref())
            ));
        }
    }
    let containers = statuses(pod)
        .into_iter()
        .flat_map(|status| container(&status));
    lines.extend(containers.map(|line| format!("{what}, {line}")));
    lines
}

pub(super) fn is_unscheduled(pod: &Pod) -> bool {
    pod.spec
        .as_ref()
        .is_none_or(|spec| spec.node_name.is_none())
}

/// The names of the claims that the pod mounts.
pub(super) fn claims(pod: &Pod) -> Vec<String> {
    let volumes = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.volumes.clone())
        .unwrap_or_default();
    volumes
        .into_iter()
        .filter_map(|volume| Some(volume.persistent_volume_claim?.claim_name))
        .collect()
}

/// The end of the log of every container that has run; of the run before, if it is waiting to run again.
pub(super) async fn logs(cluster: &Cluster, namespace: &str, pod: &Pod) -> Vec<String> {
    let api: Api<Pod> = cluster.namespaced(namespace);
    let mut lines = Vec::new();
    for status in statuses(pod) {
        let waiting = status
            .state
            .as_ref()
            .is_some_and(|state| state.waiting.is_some());
        if waiting && status.restart_count == 0 {
            continue;
        }
        let params = LogParams {
            container: Some(status.name.clone()),
            tail_lines: Some(LOG_LINES),
            limit_bytes: Some(LOG_BYTES),
            previous: waiting,
            ..LogParams::default()
        };
        match api.logs(&pod.name_any(), &params).await {
            Ok(log) => lines.extend(
                log.lines()
                    .map(|line| format!("log of {}: {}", status.name, short(line))),
            ),
            Err(error) => {
                lines.push(format!(
                    "the log of {} cannot be read: {}",
                    status.name,
                    KubeError::from(error)
                ));
            }
        }
    }
    lines
}

fn statuses(pod: &Pod) -> Vec<ContainerStatus> {
    let status = pod.status.clone().unwrap_or_default();
    let init = status.init_container_statuses.unwrap_or_default();
    init.into_iter()
        .chain(status.container_statuses.unwrap_or_default())
        .collect()
}

/// A container that finished well, or runs and never stopped, is no evidence.
fn container(status: &ContainerStatus) -> Vec<String> {
    let name = &status.name;
    let mut lines = Vec::new();
    let ContainerState {
        waiting,
        terminated,
        ..
    } = status.state.clone().unwrap_or_default();
    if let Some(waiting) = waiting {
        let why = because(waiting.reason.as_deref(), waiting.message.as_deref());
        let image = match waiting.reason.as_deref() {
            Some(
                "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull",
            ) => {
                format!(" (image {})", status.image)
            }
            _ => String::new(),
        };
        lines.push(format!("container {name} waits{why}{image}"));
    }
    if let Some(terminated) = terminated.filter(|end| end.exit_code != 0) {
        lines.push(format!(
            "container {name} ended with {}",
            ending(&terminated)
        ));
    }
    if let Some(before) = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
    {
        lines.push(format!(
            "container {name} was restarted {} times, last after {}",
            status.restart_count,
            ending(before)
        ));
    }
    lines
}

/// `exit code 137 (killed): OOMKilled: message`.
fn ending(terminated: &ContainerStateTerminated) -> String {
    let meaning = match terminated.exit_code {
        126 => " (cannot be executed)",
        127 => " (command not found)",
        137 => " (killed)",
        139 => " (segmentation fault)",
        143 => " (asked to stop)",
        _ => "",
    };
    let why = because(terminated.reason.as_deref(), terminated.message.as_deref());
    format!("exit code {}{meaning}{why}", terminated.exit_code)
}
