//! A pod in the place of the Job's, made before anything is begun, and removed again.
use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::{
    Api, ResourceExt as _,
    api::{ObjectMeta, PostParams},
};

use super::{
    super::{Switch, controller::Manager},
    job::{DEFAULT_IMAGE, parts, unseen},
};
use crate::{
    adapters::kube::{KubeError, Look, Selector, Wait, delete_and_wait, list_all, wait_for},
    engine::Check,
    marks::ROLE,
};

/// The role of the pod that is tried in the place of Kamaji's.
const PROBE: &str = "probe";
/// An image may have to be pulled.
const STARTS_WITHIN: Duration = Duration::from_mins(5);
const GONE_WITHIN: Duration = Duration::from_mins(3);

impl Switch {
    /// A pod with the Job's image and account, where the Job's would be: what refuses or holds the one refuses or
    /// holds the other. It is removed again.
    pub(super) async fn probe_pod(&self, manager: &Manager) -> Check {
        let name = "migration pod probe";
        let pods = self.place.cluster.namespaced::<Pod>(&manager.namespace);
        let image = match &manager.migrate_image {
            Some(image) => image.clone(),
            None => format!("{DEFAULT_IMAGE}:{}", parts(&manager.image).1),
        };
        let object = format!("namespace {}", manager.namespace);
        let cure = "mend what is said, or use --way direct, which has no job";
        if let Err(error) = self.remove_probes(&pods).await {
            return unseen(manager, &error);
        }
        let wanted = probe(&self.belongs.labels(PROBE), manager, &image);
        let made = pods.create(&PostParams::default(), &wanted).await;
        let made = match made.map_err(KubeError::from) {
            Ok(made) => made,
            Err(error) => {
                let evidence = format!("refuses a pod like that of Kamaji's job: {error}");
                return Check::block(name, object, evidence, cure);
            }
        };
        let pod = made.name_any();
        let what = format!("pod {}/{pod} to start", manager.namespace);
        let wait = Wait::new(&what, STARTS_WITHIN);
        let seen = wait_for(&pods, &pod, &wait, |found| found.map_or_else(gone, starts)).await;
        let gone = Wait::new("the probe to be gone", GONE_WITHIN);
        let removed = delete_and_wait(&pods, &pod, made.metadata.uid.as_deref(), &gone).await;
        match (seen, removed) {
            (Ok(_), Ok(_)) => Check::pass(
                name,
                object,
                format!(
                    "a pod with image {image} and account {} starts",
                    manager.account
                ),
            ),
            (Err(error), _) => Check::block(
                name,
                object,
                format!("a pod with image {image} does not start: {error}"),
                cure,
            ),
            (Ok(_), Err(error)) => Check::warn(
                name,
                object,
                format!("the probe could not be removed: {error}"),
                format!("kubectl delete pod {pod} -n {}", manager.namespace),
            ),
        }
    }
}

impl Switch {
    /// Removes probes that a run which was killed has left.
    async fn remove_probes(&self, pods: &Api<Pod>) -> Result<(), KubeError> {
        let selector = format!("{},{ROLE}={PROBE}", self.belongs.selector());
        let wait = Wait::new("an earlier probe to be gone", GONE_WITHIN);
        for left in list_all(pods, &Selector::labels(selector)).await? {
            let uid = left.metadata.uid.as_deref();
            delete_and_wait(pods, &left.name_any(), uid, &wait).await?;
        }
        Ok(())
    }
}

fn gone() -> Look {
    Look::Never("it was deleted".to_owned())
}

/// Whether a container has begun: its own end does not count, for another program may have other flags.
fn starts(pod: &Pod) -> Look {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let state = containers.into_iter().next().and_then(|one| one.state);
    match state {
        Some(state) if state.running.is_some() => Look::Done,
        Some(state) if state.terminated.is_some() => {
            let ended = state.terminated.unwrap_or_default();
            match ended.reason.as_deref() {
                Some(reason @ ("OOMKilled" | "StartError" | "ContainerCannotRun")) => {
                    let message = ended.message.unwrap_or_default();
                    Look::Never(format!("{reason}: {message}"))
                }
                _ => Look::Done,
            }
        }
        Some(state) => {
            let waiting = state.waiting.unwrap_or_default();
            let reason = waiting.reason.unwrap_or_default();
            let told = format!("{reason}: {}", waiting.message.unwrap_or_default());
            match &*reason {
                "ImagePullBackOff"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "CreateContainerConfigError"
                | "CreateContainerError" => Look::Never(told),
                _ => Look::NotYet(told),
            }
        }
        None => {
            let conditions = status.conditions.unwrap_or_default();
            let nowhere = conditions
                .into_iter()
                .find(|one| one.reason.as_deref() == Some("Unschedulable"));
            Look::NotYet(nowhere.map_or_else(
                || "it is not placed yet".to_owned(),
                |one| format!("it has no node: {}", one.message.unwrap_or_default()),
            ))
        }
    }
}

/// The pod: as little of its own as the Job's has.
fn probe(labels: &BTreeMap<String, String>, manager: &Manager, image: &str) -> Pod {
    Pod {
        metadata: ObjectMeta {
            generate_name: Some("kubectl-migrate-probe-".to_owned()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            service_account_name: Some(manager.account.clone()),
            restart_policy: Some("Never".to_owned()),
            containers: vec![Container {
                name: "migrate".to_owned(),
                image: Some(image.to_owned()),
                args: Some(vec!["migrate".to_owned(), "--help".to_owned()]),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_began_is_enough_and_one_that_cannot_is_told() {
        let pod = |state: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"metadata": {}, "status": {"containerStatuses": [{
                "name": "migrate", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }]}}))
            .expect("a pod")
        };
        assert_eq!(starts(&pod(json!({"running": {}}))), Look::Done);
        let ended = pod(json!({"terminated": {"exitCode": 2, "reason": "Error"}}));
        assert_eq!(starts(&ended), Look::Done);
        let never = pod(json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}));
        assert_eq!(
            starts(&never),
            Look::Never("ImagePullBackOff: not found".to_owned())
        );
        let cannot = pod(json!({"terminated": {"exitCode": 128, "reason": "StartError"}}));
        assert!(matches!(starts(&cannot), Look::Never(_)));
        assert!(matches!(starts(&Pod::default()), Look::NotYet(_)));
    }
}
