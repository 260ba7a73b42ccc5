//! What a pod tells: whose it is, which claims it uses, whether it sleeps.
use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStatus, Pod, Volume, VolumeDevice, VolumeMount,
};
use kube::ResourceExt;

use super::{blame, sleeper};
use crate::marks::{Belongs, ROLE};
use crate::{
    plan::{FreezeMode, Workload},
    steps::Place,
};

/// Judges the pods of a namespace by one freeze.
#[derive(Clone, Debug)]
pub(super) struct Judge<'a> {
    pub place: &'a Place,
    pub workload: &'a Workload,
    pub uid: &'a str,
    pub belongs: &'a Belongs,
    pub claims: &'a [String],
    pub mode: FreezeMode,
    /// The containers of the pod template that were put to sleep.
    pub sleepers: BTreeSet<&'a str>,
}

impl Judge<'_> {
    /// Why the pod can write, or may still; `None` for a pod that cannot.
    pub(super) fn intruder(&self, pod: &Pod) -> Option<String> {
        if is_over(pod) || self.is_mover(pod) {
            return None;
        }
        if !is_of(pod, self.workload, self.uid) {
            return self.foreign(pod);
        }
        match self.mode {
            FreezeMode::Scale => Some(format!("{} is {}", self.shown(pod), state(pod))),
            FreezeMode::Sleep => self.awake(pod).map(|container| {
                let shown = self.shown(pod);
                format!(
                    "{shown} is {}, and its container {container} does not sleep",
                    state(pod)
                )
            }),
        }
    }

    /// That a pod of somebody else uses one of the claims.
    pub(super) fn foreign(&self, pod: &Pod) -> Option<String> {
        if is_over(pod) || self.is_mover(pod) || is_of(pod, self.workload, self.uid) {
            return None;
        }
        let claim = claims(pod).find(|claim| self.claims.contains(claim))?;
        let shown = self.shown(pod);
        Some(format!(
            "{shown} ({}, {}) mounts claim {claim}",
            made_by(pod),
            state(pod)
        ))
    }

    /// The pods of the workload that have not ended.
    pub(super) fn own<'p>(&self, pods: &'p [Pod]) -> Vec<&'p Pod> {
        let own = pods
            .iter()
            .filter(|pod| is_of(pod, self.workload, self.uid));
        own.filter(|pod| !is_over(pod)).collect()
    }

    pub(super) fn shown(&self, pod: &Pod) -> String {
        self.place.object("pod", &pod.name_any())
    }

    fn is_mover(&self, pod: &Pod) -> bool {
        self.belongs.owns(&pod.metadata)
            && pod
                .labels()
                .get(ROLE)
                .is_some_and(|role| role.starts_with("mover-"))
    }

    /// A container that could write: one of the template's, or one that was added and mounts a claim.
    fn awake<'p>(&self, pod: &'p Pod) -> Option<&'p str> {
        let spec = pod.spec.as_ref()?;
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        let claimed: BTreeSet<&str> = volumes
            .iter()
            .filter(|volume| claim(pod, volume).is_some())
            .map(|volume| volume.name.as_str())
            .collect();
        let mounts = |mounts: &Option<Vec<VolumeMount>>, devices: &Option<Vec<VolumeDevice>>| {
            let mounts = mounts.iter().flatten().map(|mount| mount.name.as_str());
            let devices = devices.iter().flatten().map(|device| device.name.as_str());
            mounts.chain(devices).any(|name| claimed.contains(name))
        };
        let plain = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        let plain = plain.map(|container| {
            let mounts = mounts(&container.volume_mounts, &container.volume_devices);
            (&container.name, &container.command, mounts)
        });
        let debug = spec.ephemeral_containers.iter().flatten().map(|container| {
            let mounts = mounts(&container.volume_mounts, &container.volume_devices);
            (&container.name, &container.command, mounts)
        });
        plain.chain(debug).find_map(|(name, command, mounts)| {
            let counts = mounts || self.sleepers.contains(name.as_str());
            (counts && !sleeper::is(command.as_ref())).then_some(name.as_str())
        })
    }

    /// Why the pod keeps the workload from being asleep: it can write, or is the workload's and not settled.
    pub(super) fn in_the_way(&self, pod: &Pod) -> Option<String> {
        if let Some(why) = self.intruder(pod) {
            return Some(why);
        }
        let own = is_of(pod, self.workload, self.uid) && !is_over(pod);
        (own && (pod.metadata.deletion_timestamp.is_some() || !is_ready(pod)))
            .then(|| format!("{} is {}", self.shown(pod), state(pod)))
    }
}

/// Whether the pod's containers have ended for good.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether the pod was made for this workload.
pub(super) fn is_of(pod: &Pod, workload: &Workload, uid: &str) -> bool {
    let owners = pod.owner_references().iter();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    match workload {
        Workload::StatefulSet(_) => controllers.any(|owner| owner.uid == uid),
        // A Deployment's pods belong to its ReplicaSets, which are named after it and their hash.
        Workload::Deployment(name) => pod.labels().get("pod-template-hash").is_some_and(|hash| {
            controllers
                .any(|owner| owner.kind == "ReplicaSet" && owner.name == format!("{name}-{hash}"))
        }),
    }
}

/// The names of all claims that the pod uses.
pub(super) fn claims(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.iter().filter_map(|spec| spec.volumes.as_ref());
    volumes.flatten().filter_map(|volume| claim(pod, volume))
}

fn claim(pod: &Pod, volume: &Volume) -> Option<String> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some(source.claim_name.clone());
    }
    // The claim of a generic ephemeral volume is named after pod and volume.
    volume
        .ephemeral
        .as_ref()
        .map(|_| format!("{}-{}", pod.name_any(), volume.name))
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref());
    conditions
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether any of its containers is the sleeper.
pub(super) fn has_sleeper(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .into_iter()
        .any(|container| sleeper::is(container.command.as_ref()))
}

/// Why the sleeper cannot be started in this pod: its image has no shell.
pub(super) fn cannot_sleep(pod: &Pod) -> Option<String> {
    let statuses = pod
        .status
        .iter()
        .filter_map(|status| status.container_statuses.as_ref());
    statuses.flatten().find_map(|status| {
        let states = [&status.state, &status.last_state];
        let message = states.into_iter().flatten().find_map(start_error)?;
        Some(format!("container {}: {message}", status.name))
    })
}

/// The runtime's text when it could not start the command (`StartError`, exit code 128 in containerd).
fn start_error(state: &ContainerState) -> Option<String> {
    if let Some(ended) = &state.terminated {
        let reason = ended.reason.as_deref().unwrap_or_default();
        return matches!(reason, "StartError" | "ContainerCannotRun")
            .then(|| ended.message.clone().unwrap_or_else(|| reason.to_owned()));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    (reason == "RunContainerError")
        .then(|| waiting.message.clone().unwrap_or_else(|| reason.to_owned()))
}

/// How a pod is, in a few words: `Running`, `Pending: container db: ImagePullBackOff`, `being deleted on node worker-3`.
pub(super) fn state(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let phase = status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending");
    if pod.metadata.deletion_timestamp.is_some() {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        return format!("being deleted on node {}", node.unwrap_or("unknown"));
    }
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let waiting = containers.into_iter().flatten().find_map(waiting);
    match waiting {
        Some(why) => format!("{phase}: {why}"),
        None if phase == "Running" && !is_ready(pod) => "Running, but not ready".to_owned(),
        None => phase.to_owned(),
    }
}

fn waiting(status: &ContainerStatus) -> Option<String> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or("waiting");
    Some(format!("container {}: {reason}", status.name))
}

fn made_by(pod: &Pod) -> String {
    let owner = pod
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    match owner {
        Some(owner) => format!("of {}/{}", owner.kind.to_lowercase(), owner.name),
        None => match blame::maker(&pod.metadata) {
            Some(maker) => format!("made by {maker}"),
            None => "of no controller".to_owned(),
        },
    }
}
