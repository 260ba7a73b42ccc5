//! Why Kamaji's Job does not come to its end: Kamaji tells it nowhere.
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerStatus, Pod},
};
use kube::ResourceExt as _;

use super::job::{has, is_alive};

/// A cause, with what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// Object and cause.
    pub what: String,
    /// A command, and what it does.
    pub next: (String, String),
    /// Whether it does not pass by itself.
    pub certain: bool,
}

/// What is looked at.
pub(super) struct Seen<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub job: Option<&'a Job>,
    pub pods: &'a [Pod],
    /// Lines of evidence: events, and the end of the log.
    pub evidence: &'a [String],
}

/// What a copy says at its end, and what that means.
const SAID: [(&str, &str); 5] = [
    (
        "unknown method AuthStatus",
        "a store is older than etcd 3.5, which Kamaji needs",
    ),
    (
        "context deadline exceeded",
        "it did not end within the time that it was given (kamaji.clastix.io/migration-timeout)",
    ),
    (
        "different drivers",
        "the stores have different drivers, which Kamaji tells only now",
    ),
    ("bucket not found", "the target has no bucket of the schema"),
    (
        "no space",
        "a store has no room (etcd's quota, or the pod's disk)",
    ),
];
/// A container that has ended so often will end again.
const RESTARTS: i32 = 2;

impl Seen<'_> {
    /// The cause that tells most; none while it may still come to a good end.
    pub(super) fn cause(&self) -> Option<Cause> {
        let job = self.job?;
        if has(job, "Complete") {
            return None;
        }
        if has(job, "Failed") {
            return Some(self.of_job(&format!("has failed{}", self.last_words()), true));
        }
        let Some(pod) = self.newest() else {
            return self.refused();
        };
        let status = pod.status.as_ref()?;
        if let Some(condition) = status.conditions.iter().flatten().find(|condition| {
            condition.type_ == "PodScheduled"
                && condition.reason.as_deref() == Some("Unschedulable")
        }) {
            let message = condition.message.as_deref().unwrap_or_default();
            return Some(self.of_pod(&pod, &format!("has no node: {message}"), false));
        }
        let containers = status.container_statuses.as_deref().unwrap_or_default();
        containers
            .iter()
            .find_map(|container| self.of_container(&pod, container))
    }

    fn of_container(&self, pod: &Pod, container: &ContainerStatus) -> Option<Cause> {
        let state = container.state.as_ref();
        let waiting = state.and_then(|state| state.waiting.as_ref());
        let reason = waiting
            .and_then(|waiting| waiting.reason.as_deref())
            .unwrap_or_default();
        let message = waiting
            .and_then(|waiting| waiting.message.as_deref())
            .unwrap_or_default();
        let image = &container.image;
        match reason {
            "ErrImagePull" | "ImagePullBackOff" => {
                let what = format!("cannot pull image {image} ({reason}): {message}");
                return Some(self.of_image(pod, &what, false));
            }
            "InvalidImageName" | "ErrImageNeverPull" => {
                let what = format!("cannot have image {image} ({reason}): {message}");
                return Some(self.of_image(pod, &what, true));
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                return Some(self.of_pod(
                    pod,
                    &format!("cannot be started ({reason}): {message}"),
                    true,
                ));
            }
            _ => {}
        }
        let last = container.last_state.as_ref();
        let ended = [state, last]
            .into_iter()
            .flatten()
            .find_map(|state| state.terminated.as_ref())
            .filter(|ended| ended.exit_code != 0)?;
        if ended.reason.as_deref() == Some("OOMKilled") {
            let what = "was killed for the memory it took (OOMKilled): a LimitRange, or its node, gives it too little";
            return Some(self.of_pod(pod, what, true));
        }
        let words = self.last_words();
        let known = SAID.iter().any(|(said, _)| words.contains(said));
        let often = reason == "CrashLoopBackOff" || container.restart_count >= RESTARTS;
        (known || often).then(|| {
            let what = format!(
                "ends with exit code {} again and again{words}",
                ended.exit_code
            );
            Cause {
                next: (
                    format!(
                        "kubectl logs {} -n {} --previous",
                        pod.name_any(),
                        self.namespace
                    ),
                    "shows all that it says".to_owned(),
                ),
                ..self.of_pod(pod, &what, known)
            }
        })
    }

    /// Pods that are not even made: by a quota, by Pod Security.
    fn refused(&self) -> Option<Cause> {
        let said = self.event("FailedCreate")?;
        let mut cause = self.of_job(&format!("can make no pod: {said}"), true);
        let namespace = self.namespace;
        if said.contains("exceeded quota") {
            cause.next = (
                format!("kubectl describe resourcequota -n {namespace}"),
                "shows what is used of it".to_owned(),
            );
        } else if said.contains("PodSecurity") {
            cause.next = (
                format!("kubectl get namespace {namespace} --show-labels"),
                "shows which Pod Security it enforces".to_owned(),
            );
        }
        Some(cause)
    }

    fn newest(&self) -> Option<Pod> {
        let alive = self.pods.iter().filter(|pod| is_alive(pod));
        alive
            .max_by_key(|pod| pod.creation_timestamp().map(|time| time.0))
            .cloned()
    }

    fn event(&self, reason: &str) -> Option<&str> {
        let start = format!("event Warning {reason}: ");
        let mut lines = self.evidence.iter().rev();
        lines.find_map(|line| line.strip_prefix(&start))
    }

    /// What the pod said last, and what that means.
    fn last_words(&self) -> String {
        let mut lines = self.evidence.iter().rev();
        let said = lines.find_map(|line| {
            let (_, said) = line.strip_prefix("log of ")?.split_once(": ")?;
            (!said.trim().is_empty()).then_some(said)
        });
        let Some(said) = said else {
            return self
                .event("BackoffLimitExceeded")
                .map_or_else(String::new, |said| format!(": {said}"));
        };
        let means = SAID.iter().find(|(text, _)| said.contains(text));
        means.map_or_else(
            || format!(": {said}"),
            |(_, means)| format!(": {means} (`{said}`)"),
        )
    }

    fn of_job(&self, what: &str, certain: bool) -> Cause {
        let (namespace, name) = (self.namespace, self.name);
        Cause {
            what: format!("job {namespace}/{name} {what}"),
            next: (
                format!("kubectl describe job {name} -n {namespace}"),
                "shows its events".to_owned(),
            ),
            certain,
        }
    }

    fn of_pod(&self, pod: &Pod, what: &str, certain: bool) -> Cause {
        let (namespace, name) = (self.namespace, pod.name_any());
        Cause {
            what: format!("pod {namespace}/{name} of Kamaji's job {what}"),
            next: (
                format!("kubectl describe pod {name} -n {namespace}"),
                "shows its events".to_owned(),
            ),
            certain,
        }
    }

    fn of_image(&self, pod: &Pod, what: &str, certain: bool) -> Cause {
        let namespace = self.namespace;
        Cause {
            next: (
                format!("kubectl get deployments -n {namespace} -o yaml"),
                "shows Kamaji's flag --migrate-image; its account's imagePullSecrets are what its jobs pull with"
                    .to_owned(),
            ),
            ..self.of_pod(pod, what, certain)
        }
    }
}

#[cfg(test)]
#[path = "cause_tests.rs"]
mod tests;
