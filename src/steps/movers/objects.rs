//! The objects that a mover is: a Secret with its keys and a Job.
use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::{
    ByteString,
    api::{batch::v1::Job, core::v1::Secret},
};
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::{
    Mover, Movers, by_exec,
    put::{self, Suited},
};
use crate::marks;
use crate::{plan::RunAs, steps::inventory::Mode, transfer::Side};

/// Port on which a mover listens, for the other mover and for the client.
pub(super) const PORT: u16 = 7400;
/// The container that is the mover.
pub(super) const CONTAINER: &str = "mover";
/// Where a mover finds its volume.
pub(super) const VOLUME: &str = "/volume";
/// Where a mover finds its device, for a volume in Block mode.
const DEVICE: &str = "/dev/volume";
/// Where a mover finds its keys.
const KEYS: &str = "/keys";
/// A mover without a client ends after this many seconds: long enough for a laptop to change networks,
/// short enough that a forgotten one does not hold a volume for a night.
const IDLE_SECONDS: u32 = 900;
/// How often a Job starts its mover again. Each loss costs one; evictions do not count.
const RESTARTS: u32 = 50;
/// Which volume of the migration a mover serves, as its number.
pub(super) const VOLUME_LABEL: &str = "kubectl-migrate/volume";

/// The capabilities that keeping every owner, mode and attribute needs, and no others.
const TARGET_CAPABILITIES: [&str; 6] = [
    "CHOWN",        // numeric owners
    "DAC_OVERRIDE", // directories that their owners closed to all others
    "FOWNER",       // modes, times and ACLs of files of others
    "FSETID",       // setuid and setgid bits outlive writing
    "MKNOD",        // device nodes
    "SETFCAP",      // file capabilities, kept as an attribute
];
/// Reading what its owner closed to all others, and without leaving a time of access.
const SOURCE_CAPABILITIES: [&str; 2] = ["DAC_OVERRIDE", "FOWNER"];

impl Movers {
    /// The labels of the objects of one mover.
    pub(super) fn labels(&self, mover: &Mover) -> BTreeMap<String, String> {
        let mut labels = self.belongs.labels(&format!("mover-{}", mover.side));
        labels.insert(VOLUME_LABEL.to_owned(), mover.index.to_string());
        labels
    }

    fn metadata(&self, mover: &Mover) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name(mover)),
            namespace: Some(self.place(mover.side).namespace.clone()),
            labels: Some(self.labels(mover)),
            ..ObjectMeta::default()
        }
    }

    /// The Secret with a mover's own key and the certificates that it accepts.
    pub(super) fn secret(&self, mover: &Mover, files: BTreeMap<String, Vec<u8>>) -> Secret {
        Secret {
            metadata: self.metadata(mover),
            data: Some(
                files
                    .into_iter()
                    .map(|(name, bytes)| (name, ByteString(bytes)))
                    .collect(),
            ),
            immutable: Some(true),
            ..Secret::default()
        }
    }

    /// The Job that runs a mover next to its volume.
    pub(super) fn job(
        &self,
        mover: &Mover,
        node: Option<&str>,
        suited: Option<&Suited>,
    ) -> Result<Job> {
        let volume = &self.volumes[mover.index];
        let reads = !self.writes(mover);
        let claim = if mover.side == Side::Source {
            &volume.source
        } else {
            &volume.target
        };
        let mut args = vec![
            "mover".to_owned(),
            format!("--side={}", mover.side),
            format!("--run={}", self.run_of(mover.index)),
            format!("--keys={KEYS}"),
            format!("--port={PORT}"),
            format!("--idle={IDLE_SECONDS}s"),
        ];
        let mut container = json!({
            "name": CONTAINER,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": "mover", "containerPort": PORT}],
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1, "failureThreshold": 60},
            "resources": {
                "requests": {"cpu": "100m", "memory": "64Mi"},
                // A ResourceQuota may ask for limits; the mover's memory does not grow with the volume.
                "limits": {"cpu": "4", "memory": "512Mi"},
            },
            "securityContext": self.container_security(mover),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [{"name": "keys", "mountPath": KEYS, "readOnly": true}],
        });
        match volume.mode {
            Mode::Filesystem => {
                args.push(format!("--root={VOLUME}"));
                if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                    mounts.push(json!({"name": "volume", "mountPath": VOLUME, "readOnly": reads}));
                }
            }
            Mode::Block => {
                args.push(format!("--device={DEVICE}"));
                container["volumeDevices"] = json!([{"name": "volume", "devicePath": DEVICE}]);
            }
        }
        container["args"] = json!(args);
        let mut volumes = json!([
            // A read-only claim volume would make some drivers attach it anew; the mount is read-only.
            {"name": "volume", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "keys", "secret": {"secretName": self.name(mover), "defaultMode": self.keys_mode()}},
        ]);
        if let (Some(_), Some(volumes)) = (&self.executable, volumes.as_array_mut()) {
            volumes.push(put::waits(&mut container, IDLE_SECONDS));
        }
        if self.goes_by_exec() {
            by_exec::holds(&mut container, &mut volumes, IDLE_SECONDS);
        }
        let mut pod = json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 10,
            "securityContext": self.pod_security(mover),
            "containers": [container],
            "volumes": volumes,
        });
        self.place_pod(mover, node, &mut pod);
        if let Some(suited) = suited {
            suited.narrow(&mut pod);
        }
        if let Some(secret) = &self.pull_secret {
            pod["imagePullSecrets"] = json!([{"name": secret}]);
        } else if self.goes_by_exec() {
            // It is the workload's own image, mostly, and pulled as that is.
            let own = &self.workload["spec"]["template"]["spec"]["imagePullSecrets"];
            if !own.is_null() {
                pod["imagePullSecrets"] = own.clone();
            }
        }
        let job = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self.metadata(mover),
            "spec": {
                "backoffLimit": RESTARTS,
                "podFailurePolicy": {"rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]},
                "template": {
                    "metadata": {"labels": self.labels(mover), "annotations": {
                        // Movers must not be slowed or bound to a mesh's certificates.
                        "sidecar.istio.io/inject": "false",
                        "linkerd.io/inject": "disabled",
                        // An autoscaler must not move one while it copies.
                        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                    }},
                    "spec": pod,
                },
            },
        });
        Ok(serde_json::from_value(job)?)
    }

    /// On the source's side: the node that has the volume attached. On the target's: where the workload's
    /// pods may run, so that a volume that is made for its first user is made in reach of them.
    fn place_pod(&self, mover: &Mover, node: Option<&str>, pod: &mut Value) {
        let template = &self.workload["spec"]["template"]["spec"];
        if !template["tolerations"].is_null() {
            pod["tolerations"] = template["tolerations"].clone();
        }
        if let Some(node) = node {
            pod["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": [node]},
                ]}],
            }}});
        } else if mover.side == Side::Target {
            for field in ["nodeSelector", "runtimeClassName", "schedulerName"] {
                if !template[field].is_null() {
                    pod[field] = template[field].clone();
                }
            }
            if !template["affinity"]["nodeAffinity"].is_null() {
                pod["affinity"] = json!({"nodeAffinity": template["affinity"]["nodeAffinity"]});
            }
            if let Some(node) = self.node_in_place(mover) {
                let preferred = json!({"weight": 100, "preference": {"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": [node]},
                ]}});
                let all = &mut pod["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
                match all.as_array_mut() {
                    Some(all) => all.push(preferred),
                    None => *all = json!([preferred]),
                }
            }
        }
    }

    /// Where a workload stays in its namespace, the node of the volume's pod: a volume that is made where its first user
    /// is then has the company of the pod's others, and the distance from other pods' that it had.
    fn node_in_place(&self, mover: &Mover) -> Option<&str> {
        let stays = !self.target.remote && self.source.namespace == self.target.namespace;
        let used = self.volumes[mover.index].used.iter();
        let mut nodes = used.filter_map(|used| used.node.as_deref());
        nodes.next().filter(|_| stays && self.workload.is_object())
    }

    fn pod_security(&self, mover: &Mover) -> Value {
        let mut security = json!({"seccompProfile": {"type": "RuntimeDefault"}});
        match self.run_as {
            RunAs::Root | RunAs::Auto => {
                security["runAsUser"] = json!(0);
                security["runAsGroup"] = json!(0);
            }
            RunAs::User(user, group) => {
                security["runAsUser"] = json!(user);
                security["runAsGroup"] = json!(group);
                security["runAsNonRoot"] = json!(user != 0);
                // A fresh volume belongs to root; the group is how another user may write to it.
                if self.writes(mover) {
                    security["fsGroup"] = json!(group);
                    security["fsGroupChangePolicy"] = json!("OnRootMismatch");
                }
            }
            RunAs::Workload => {
                let own = &self.workload["spec"]["template"]["spec"]["securityContext"];
                for field in ["runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"] {
                    if !own[field].is_null() {
                        security[field] = own[field].clone();
                    }
                }
                security["runAsNonRoot"] = json!(own["runAsUser"].as_u64() != Some(0));
            }
        }
        security
    }

    /// The keys' files belong to root, and no other container of the pod could read them.
    fn keys_mode(&self) -> u32 {
        match self.run_as {
            RunAs::Root | RunAs::Auto => 0o400,
            RunAs::User(..) | RunAs::Workload => 0o444,
        }
    }

    fn container_security(&self, mover: &Mover) -> Value {
        let root = matches!(self.run_as, RunAs::Root | RunAs::Auto);
        let added: &[&str] = match (root, self.writes(mover)) {
            (false, _) => &[],
            (true, false) => &SOURCE_CAPABILITIES,
            (true, true) => &TARGET_CAPABILITIES,
        };
        let mut capabilities = json!({"drop": ["ALL"]});
        if !added.is_empty() {
            capabilities["add"] = json!(added);
        }
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": capabilities,
        })
    }

    /// The labels by which the pods of one mover are found.
    pub(super) fn selector(&self, mover: &Mover) -> String {
        format!(
            "{}={},{}=mover-{},{VOLUME_LABEL}={}",
            marks::RUN,
            self.belongs.run,
            marks::ROLE,
            mover.side,
            mover.index
        )
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
