//! The volumes of a StatefulSet, and what each becomes at the target.
use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    engine::{Failure, Kind},
    plan::{Claims, Plan, Quantity},
};

/// One volume and what it becomes.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The source's claim.
    pub source: String,
    /// The uid of the source's claim: another of the same name is another volume.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The name of the source's volume itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub volume: String,
    /// The target's claim.
    pub target: String,
    /// A file system or a block device.
    pub mode: Mode,
    /// Access modes, as the claim has them.
    pub access: Vec<String>,
    /// Capacity of the source in bytes.
    pub capacity: u64,
    /// Size that the target asks for, as a Kubernetes quantity.
    pub size: String,
    /// Storage class of the target; none is the cluster's default.
    pub class: Option<String>,
    /// Who uses the source at the moment.
    pub used: Vec<Use>,
    /// The claim's phase: `Bound`, `Pending`, `Lost`.
    pub phase: String,
}

/// A file system or a block device.
#[derive(Default, Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Mounted as a directory tree.
    #[default]
    Filesystem,
    /// Given as a device; copied as one file.
    Block,
}

impl Volume {
    /// Whether one pod alone may have it, so that a mover must wait for the workload's to be gone.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.access.iter().any(|mode| mode == "ReadWriteOncePod")
    }
}

impl Mode {
    /// As a claim's `volumeMode` says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "Filesystem",
            Self::Block => "Block",
        }
    }
}

/// A pod that uses a claim.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// The pod.
    pub pod: String,
    /// Its node; none while it is not placed.
    pub node: Option<String>,
}

/// How many pods a workload asks for; 1 when it does not say.
#[must_use]
pub fn replicas(workload: &Value) -> u32 {
    workload["spec"]["replicas"]
        .as_u64()
        .map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// The volumes of a StatefulSet or Deployment, and the claims that look like its own but belong to no pod of it.
pub(super) fn of_statefulset(
    plan: &Plan,
    object: &str,
    name: &str,
    workload: &Value,
    claims: &[PersistentVolumeClaim],
    pods: &[Pod],
) -> Result<(Vec<Volume>, Vec<String>)> {
    let target = &plan.spec.target;
    let elsewhere = target.context.is_some();
    let target_name = target.statefulset.as_deref().unwrap_or(name);
    let find = |claim: &str| {
        claims
            .iter()
            .find(|candidate| candidate.metadata.name.as_deref() == Some(claim))
            .ok_or_else(|| {
                let why = format!("{object} needs claim {claim}, which does not exist");
                Failure::new(Kind::Blocked, why)
            })
    };
    let spec = &workload["spec"];
    let first = spec["ordinals"]["start"].as_u64().unwrap_or(0);
    let templates: Vec<&str> = spec["volumeClaimTemplates"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|template| template["metadata"]["name"].as_str())
        .collect();
    for named in target.volumes.keys() {
        if !templates.contains(&named.as_str()) {
            let why = format!(
                "spec.target.volumes names `{named}`, and {object} has the claim templates {}",
                templates.join(", ")
            );
            return Err(Failure::new(Kind::Blocked, why).into());
        }
    }
    // In place the pods' claims have these names: the new volumes are filled under others.
    let in_place = plan.is_in_place();
    let named = |claim: String| {
        if in_place {
            format!("{claim}-migrate-{}", plan.metadata.name)
        } else {
            claim
        }
    };
    let mut volumes = Vec::new();
    for ordinal in first..first + u64::from(replicas(workload)) {
        for template in &templates {
            let claim = find(&format!("{template}-{name}-{ordinal}"))?;
            let Claims {
                storage_class,
                size,
            } = target.of(template);
            let name = named(format!("{template}-{target_name}-{ordinal}"));
            volumes.push(volume(claim, name, storage_class, size, pods, elsewhere)?);
        }
    }
    // A claim that the pods' template names itself is shared by all of them, and keeps its name.
    let shared: BTreeSet<&str> = spec["template"]["spec"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
        .collect();
    for claim in shared {
        let class = target.storage_class.clone();
        let size = target.size.clone();
        volumes.push(volume(
            find(claim)?,
            named(claim.to_owned()),
            class,
            size,
            pods,
            elsewhere,
        )?);
    }
    let taken: BTreeSet<&str> = volumes
        .iter()
        .map(|volume| volume.source.as_str())
        .collect();
    let left_out = claims
        .iter()
        .filter_map(|claim| claim.metadata.name.as_deref())
        .filter(|claim| !taken.contains(claim))
        .filter(|claim| {
            templates.iter().any(|template| {
                claim
                    .strip_prefix(&format!("{template}-{name}-"))
                    .is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
            })
        })
        .map(str::to_owned)
        .collect();
    if in_place {
        volumes.retain(|volume| find(&volume.source).is_ok_and(|claim| is_other(volume, claim)));
    }
    Ok((volumes, left_out))
}

/// Whether a volume is to have another class or size than its claim asks for now.
fn is_other(volume: &Volume, claim: &PersistentVolumeClaim) -> bool {
    let spec = claim.spec.as_ref();
    let class = spec.and_then(|spec| spec.storage_class_name.as_ref());
    let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let asked = requests.and_then(|requests| requests.get("storage"));
    let bytes = |text: &str| text.parse().map(|size: Quantity| size.bytes()).ok();
    volume.class.as_ref() != class || asked.and_then(|asked| bytes(&asked.0)) != bytes(&volume.size)
}

/// One claim and what it becomes.
pub(super) fn volume(
    claim: &PersistentVolumeClaim,
    target: String,
    class: Option<String>,
    size: Option<Quantity>,
    pods: &[Pod],
    elsewhere: bool,
) -> Result<Volume> {
    let source = claim.metadata.name.clone().unwrap_or_default();
    let spec = claim.spec.clone().unwrap_or_default();
    let bound = spec.volume_name.clone().unwrap_or_default();
    let status = claim.status.clone().unwrap_or_default();
    let requested = spec
        .resources
        .and_then(|resources| resources.requests?.get("storage").cloned())
        .map(|quantity| quantity.0);
    let capacity = status
        .capacity
        .and_then(|capacity| capacity.get("storage").cloned())
        .map(|quantity| quantity.0)
        .or_else(|| requested.clone())
        .with_context(|| format!("claim {source} has no size"))?;
    let capacity: Quantity = capacity
        .parse()
        .map_err(|why| anyhow::anyhow!("claim {source}: its capacity {why}"))?;
    let used = pods
        .iter()
        .filter(|pod| uses(pod, &source))
        .map(|pod| Use {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        })
        .collect();
    // In another cluster the source's class means nothing: what the plan does not name is the default.
    let class = class.or_else(|| spec.storage_class_name.filter(|_| !elsewhere));
    Ok(Volume {
        target,
        mode: match spec.volume_mode.as_deref() {
            Some("Block") => Mode::Block,
            _ => Mode::Filesystem,
        },
        access: spec.access_modes.unwrap_or_default(),
        capacity: capacity.bytes(),
        size: size.map_or_else(
            || requested.unwrap_or_else(|| capacity.to_string()),
            |size| size.to_string(),
        ),
        class,
        used,
        phase: status.phase.unwrap_or_else(|| "Pending".to_owned()),
        uid: claim.metadata.uid.clone().unwrap_or_default(),
        volume: bound,
        source,
    })
}

/// Whether a pod that has not ended uses a claim.
pub(in crate::steps) fn uses(pod: &Pod, claim: &str) -> bool {
    let ended = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"));
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    !ended
        && volumes.into_iter().flatten().any(|volume| {
            let named = volume.persistent_volume_claim.as_ref();
            // The claim of a generic ephemeral volume is named after pod and volume.
            let own = volume.ephemeral.as_ref().map(|_| {
                let pod = pod.metadata.name.as_deref().unwrap_or_default();
                format!("{pod}-{}", volume.name)
            });
            named.is_some_and(|used| used.claim_name == claim) || own.as_deref() == Some(claim)
        })
}
