//! Pods that tell whether one can reach the other.
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use crate::{
    adapters::kube::{
        KubeError, Look, Wait, create_owned, delete_and_wait, get_opt, pod_ending, pod_evidence,
        wait_for,
    },
    engine::{Failure, Kind},
    marks::{Belongs, ROLE},
    steps::Place,
};

/// The role of the pods, so that nobody takes them for movers.
const WALL: &str = "wall";
/// That of the one that is dialled: the policy leaves it alone, so that nothing but the other's way out can be closed.
pub(super) const LISTENS: &str = "wall-listen";
/// The port that one of them listens on.
const PORT: u16 = 7461;
/// How long one looks for what it is to see: a policy needs a moment to be in force.
const LOOKS: u32 = 30;
/// Beyond that: to be placed, to pull the image and to end.
const SLACK: Duration = Duration::from_secs(30);
/// Nothing of it stays for longer, whatever becomes of us.
const LIVES: u32 = 600;
/// A pod of ours ends within its grace.
const GONE: Duration = Duration::from_mins(2);
/// The exit code of one that did not see it: that of a difference.
const UNSEEN: i32 = 12;

/// The pods that look.
#[derive(Clone, Debug)]
pub(super) struct Probes {
    pub belongs: Belongs,
    pub place: Place,
    pub image: String,
    pub pull_secret: Option<String>,
    pub starts_within: Duration,
}

/// What one of them is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Open,
    Closed,
    /// Not open for a moment: a pod that is made when the policy is in force long since.
    Never,
}

impl Want {
    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Never => "never",
        }
    }
}

/// The pod that listens.
const LISTENER: &str = "wall-listen";

impl Probes {
    fn api(&self) -> Api<Pod> {
        self.place.api()
    }

    fn pod(&self, name: &str, args: &[String], listens: bool) -> Result<Pod> {
        let mut container = json!({
            "name": WALL,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "args": args,
            "resources": {
                "requests": {"cpu": "10m", "memory": "16Mi"},
                "limits": {"cpu": "1", "memory": "64Mi"},
            },
            // As strict as the strictest namespace wants it.
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
            },
        });
        if listens {
            container["readinessProbe"] = json!({"tcpSocket": {"port": PORT}, "periodSeconds": 1});
        }
        let mut spec = json!({
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIVES,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        });
        if let Some(secret) = &self.pull_secret {
            spec["imagePullSecrets"] = json!([{"name": secret}]);
        }
        Ok(serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name, "namespace": self.place.namespace,
                "labels": self.belongs.labels(if listens { LISTENS } else { WALL }),
                // A mesh would answer in its place.
                "annotations": {"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"},
            },
            "spec": spec,
        }))?)
    }

    /// Starts the one that listens; its address.
    pub async fn listen(&self) -> Result<String> {
        let args = [
            "wall".to_owned(),
            format!("--listen={PORT}"),
            format!("--within={LIVES}s"),
        ];
        create_owned(&self.api(), &self.pod(LISTENER, &args, true)?).await?;
        let object = self.place.object("pod", LISTENER);
        let what = format!("{object} to listen");
        let wait = Wait::new(&what, self.starts_within);
        let waited = wait_for(&self.api(), LISTENER, &wait, look_ready).await;
        let pod = self.seen(LISTENER, waited).await?;
        let address = pod.and_then(|pod| pod.status?.pod_ip);
        let address = address.with_context(|| format!("{object} has no address"))?;
        Ok(if address.contains(':') {
            format!("[{address}]:{PORT}")
        } else {
            format!("{address}:{PORT}")
        })
    }

    /// Whether the one that listens still does: one that has ended cannot be reached either.
    pub async fn listens(&self) -> Result<bool> {
        let pod = get_opt(&self.api(), LISTENER).await?;
        Ok(look_ready(pod.as_ref()) == Look::Done)
    }

    /// Whether a pod comes to see this of an address.
    pub async fn sees(&self, want: Want, address: &str) -> Result<bool> {
        let name = format!("wall-{}", want.word());
        let args = [
            "wall".to_owned(),
            format!("--dial={address}"),
            format!("--want={}", want.word()),
            format!("--within={LOOKS}s"),
        ];
        create_owned(&self.api(), &self.pod(&name, &args, false)?).await?;
        let object = self.place.object("pod", &name);
        let what = format!("{object} to end");
        let bound = self.starts_within + Duration::from_secs(LOOKS.into()) + SLACK;
        let wait = Wait::new(&what, bound);
        let waited = wait_for(&self.api(), &name, &wait, |pod| match pod {
            None => Look::Never("it was deleted".to_owned()),
            Some(pod) => match phase(pod) {
                "Succeeded" | "Failed" => Look::Done,
                phase => Look::NotYet(format!("it is {phase}")),
            },
        })
        .await;
        let pod = self.seen(&name, waited).await?;
        let pod = pod.with_context(|| format!("{object} is gone"))?;
        match (phase(&pod), exit_code(&pod)) {
            ("Succeeded", _) => Ok(true),
            (_, Some(UNSEEN)) => Ok(false),
            _ => {
                let why = format!("{object} could not look");
                let seen = vec![pod_ending(&name, &pod)];
                Err(Failure::new(Kind::Error, why).with_evidence(seen).into())
            }
        }
    }

    /// What was waited for, or what is seen of a pod for which that was in vain.
    async fn seen(
        &self,
        name: &str,
        waited: Result<Option<Pod>, KubeError>,
    ) -> Result<Option<Pod>> {
        let error = match waited {
            Ok(pod) => return Ok(pod),
            Err(error) => error,
        };
        let kind = match error {
            KubeError::TimedOut { .. } => Kind::TimedOut,
            _ => Kind::Error,
        };
        let place = &self.place;
        let seen = pod_evidence(&place.cluster, &place.namespace, name).await;
        Err(Failure::new(kind, error.to_string())
            .with_evidence(seen)
            .into())
    }

    /// Takes all of them away.
    pub async fn remove(&self) -> Result<()> {
        for name in [LISTENER, "wall-open", "wall-closed", "wall-never"] {
            let Some(pod) = get_opt(&self.api(), name).await? else {
                continue;
            };
            let labels = pod.metadata.labels.as_ref();
            let ours = labels.is_some_and(|labels| {
                labels
                    .get(ROLE)
                    .is_some_and(|own| own == WALL || own == LISTENS)
            });
            if ours && self.belongs.owns(&pod.metadata) {
                let what = format!("{} to be gone", self.place.object("pod", name));
                let uid = pod.metadata.uid.as_deref();
                delete_and_wait(&self.api(), name, uid, &Wait::new(&what, GONE)).await?;
            }
        }
        Ok(())
    }
}

fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

fn look_ready(pod: Option<&Pod>) -> Look {
    let Some(pod) = pod else {
        return Look::Never("it was deleted".to_owned());
    };
    let status = pod.status.as_ref();
    let addressed = status.is_some_and(|status| status.pod_ip.is_some());
    match phase(pod) {
        "Succeeded" | "Failed" => Look::Never("it has ended".to_owned()),
        _ if addressed && crate::steps::ready::is_ready(pod) => Look::Done,
        phase => Look::NotYet(format!("it is {phase}")),
    }
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let state = statuses.first()?.state.as_ref()?;
    Some(state.terminated.as_ref()?.exit_code)
}
