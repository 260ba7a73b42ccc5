//! Why a pod, a job or a claim does not do what it should: gathered before anything is cleaned up.
//!
//! Gathering never fails: what cannot be read becomes a line that says so.
mod events;
mod pod;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{Api, ResourceExt};

use super::{Cluster, Selector, list_all};

/// Lines of the log that are shown per container.
const LOG_LINES: i64 = 10;

/// Bytes of the log that are read per container.
const LOG_BYTES: i64 = 8 * 1024;

/// Events that are shown, newest last.
const EVENTS: usize = 10;

/// Characters of a line from outside that are shown.
const WIDTH: usize = 400;

/// What is known about a pod: phase, scheduling, containers, claims, events, the end of its logs.
pub async fn pod_evidence(cluster: &Cluster, namespace: &str, name: &str) -> Vec<String> {
    let what = format!("pod {namespace}/{name}");
    match cluster.namespaced::<Pod>(namespace).get(name).await {
        Err(error) => {
            let mut lines = vec![unreadable(&what, error)];
            lines.extend(events::of(cluster, namespace, "Pod", name).await);
            lines
        }
        Ok(found) => {
            let mut lines = pod::lines(&what, &found);
            if pod::is_unscheduled(&found) {
                for claim in pod::claims(&found) {
                    lines.extend(claim_evidence(cluster, namespace, &claim).await);
                }
            }
            lines.extend(events::of(cluster, namespace, "Pod", name).await);
            lines.extend(pod::logs(cluster, namespace, &found).await);
            lines
        }
    }
}

/// What a pod's status tells of its end: its phase, and how its containers ended, such as that one had no memory left.
#[must_use]
pub fn pod_ending(name: &str, pod: &Pod) -> String {
    pod::lines(&format!("pod {name}"), pod).join("; ")
}

/// What is known about a job: its conditions and events (quota and Pod Security refuse its pods
/// there), then its newest pod.
pub async fn job_evidence(cluster: &Cluster, namespace: &str, name: &str) -> Vec<String> {
    let what = format!("job {namespace}/{name}");
    let mut lines = match cluster.namespaced::<Job>(namespace).get(name).await {
        Err(error) => vec![unreadable(&what, error)],
        Ok(job) => job_lines(&what, &job),
    };
    lines.extend(events::of(cluster, namespace, "Job", name).await);
    let pods: Api<Pod> = cluster.namespaced(namespace);
    match list_all(
        &pods,
        &Selector::labels(format!("batch.kubernetes.io/job-name={name}")),
    )
    .await
    {
        Err(error) => lines.push(format!("the pods of {what} cannot be read: {error}")),
        Ok(pods) => match pods
            .iter()
            .max_by_key(|pod| pod.creation_timestamp().map(|time| time.0))
        {
            None => lines.push(format!("{what} has no pod")),
            Some(newest) => {
                lines.extend(pod_evidence(cluster, namespace, &newest.name_any()).await);
            }
        },
    }
    lines
}

/// What is known about a claim: phase, class, size, and the provisioner's events.
pub async fn claim_evidence(cluster: &Cluster, namespace: &str, name: &str) -> Vec<String> {
    let what = format!("persistentvolumeclaim {namespace}/{name}");
    let mut lines = match cluster
        .namespaced::<PersistentVolumeClaim>(namespace)
        .get(name)
        .await
    {
        Err(error) => vec![unreadable(&what, error)],
        Ok(claim) => vec![claim_line(&what, &claim)],
    };
    lines.extend(events::of(cluster, namespace, "PersistentVolumeClaim", name).await);
    lines
}

/// The last events of an object of this kind, such as that a quota refuses a workload's pods.
pub async fn object_events(
    cluster: &Cluster,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Vec<String> {
    events::of(cluster, namespace, kind, name).await
}

fn job_lines(what: &str, job: &Job) -> Vec<String> {
    let status = job.status.clone().unwrap_or_default();
    let counts = [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter_map(|(word, count)| count.map(|count| format!("{count} {word}")))
        .collect();
    let counts = if counts.is_empty() {
        "none yet".to_owned()
    } else {
        counts.join(", ")
    };
    let mut lines = vec![format!("{what}: pods: {counts}")];
    for condition in status
        .conditions
        .iter()
        .flatten()
        .filter(|condition| condition.status == "True")
    {
        let why = because(condition.reason.as_deref(), condition.message.as_deref());
        lines.push(format!("{what} is {}{why}", condition.type_));
    }
    lines
}

fn claim_line(what: &str, claim: &PersistentVolumeClaim) -> String {
    let spec = claim.spec.clone().unwrap_or_default();
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Unknown");
    let class = spec
        .storage_class_name
        .unwrap_or_else(|| "default".to_owned());
    let requests = spec
        .resources
        .and_then(|resources| resources.requests)
        .unwrap_or_default();
    let size = requests
        .get("storage")
        .map_or("no size", |size| size.0.as_str());
    format!("{what} is {phase} (storage class {class}, {size})")
}

fn unreadable(what: &str, error: kube::Error) -> String {
    format!("{what} cannot be read: {}", super::KubeError::from(error))
}

/// `: Reason: message`, as far as there is any.
fn because(reason: Option<&str>, message: Option<&str>) -> String {
    [reason, message]
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .fold(String::new(), |mut all, text| {
            all.push_str(": ");
            all.push_str(&short(text));
            all
        })
}

/// One line, cut to a readable width.
fn short(text: &str) -> String {
    let line = super::cause::one_line(text);
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
