//! What is said of a tenant at the end of a reconcile.
use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::{
    api::{self, Tenant},
    cluster::{self, Cluster},
    control_plane,
};

/// How a tenant fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Sleeping,
    NotReady,
    WriteLimited,
    Ready,
    Upgrading,
    Provisioning,
    /// A rollout goes on that changes no version.
    Unknown,
}

impl Phase {
    /// The first in Kamaji's order that is the case.
    pub fn of(tenant: &Tenant, deployment: &Deployment) -> Self {
        let wanted = tenant.spec.control_plane.deployment.replicas;
        let pods = deployment.status.clone().unwrap_or_default();
        let count = |pods: Option<i32>| pods.unwrap_or_default();
        let told = api::status(tenant).kubernetes_resources.version;
        let rolled_out = pods.observed_generation >= deployment.metadata.generation
            && [pods.replicas, pods.ready_replicas, pods.updated_replicas]
                .into_iter()
                .all(|pods| count(pods) == wanted);
        if wanted == 0 {
            Self::Sleeping
        } else if count(pods.ready_replicas) == 0 {
            Self::NotReady
        } else if !tenant.spec.write_permissions.refused().is_empty() {
            Self::WriteLimited
        } else if rolled_out {
            Self::Ready
        } else {
            match told.version {
                Some(version) if version == tenant.spec.kubernetes.version => Self::Unknown,
                Some(_) => Self::Upgrading,
                None => Self::Provisioning,
            }
        }
    }

    fn is_running(self) -> bool {
        matches!(self, Self::Ready | Self::WriteLimited)
    }
}

/// Says how the tenant is reached and how it fares, and that all it wishes is seen to.
pub async fn tell(
    cluster: &Cluster,
    tenant: &Tenant,
    address: &str,
    deployment: &Deployment,
) -> Result<()> {
    let phase = Phase::of(tenant, deployment);
    let mut status = control_plane::reached(tenant, address);
    status["observedGeneration"] = json!(tenant.metadata.generation);
    let resources = &mut status["kubernetesResources"];
    resources["version"] = json!({"status": format!("{phase:?}")});
    if phase.is_running() {
        resources["version"]["version"] = json!(tenant.spec.kubernetes.version);
    }
    let told = api::status(tenant).kubernetes_resources.deployment;
    resources["deployment"] = told_of(deployment, told.as_ref());
    cluster.say(tenant, status).await
}

/// With a new time only where something has changed, or each word would call for the next.
fn told_of(deployment: &Deployment, told: Option<&Value>) -> Value {
    let name = deployment.name_any();
    let mut now = json!(deployment.status.clone().unwrap_or_default());
    now["name"] = json!(name);
    now["namespace"] = json!(deployment.namespace());
    now["selector"] = json!(format!("kamaji.clastix.io/name={name}"));
    let told = told.and_then(Value::as_object).cloned().unwrap_or_default();
    now["lastUpdate"] = told.get("lastUpdate").cloned().unwrap_or_default();
    if now == json!(told) {
        return now;
    }
    now["lastUpdate"] = json!(cluster::now());
    // The status is merged: what is no longer there must be said.
    for key in told.keys() {
        if now.get(key).is_none() {
            now[key] = Value::Null;
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(spec: &Value, version: &Value) -> Tenant {
        serde_json::from_value(json!({
            "metadata": {"name": "t", "namespace": "n"}, "spec": spec,
            "status": {"kubernetesResources": {"version": version}},
        }))
        .expect("a tenant")
    }

    /// A Deployment with so many pods, ready ones and new ones.
    fn deployment(pods: i32, ready: i32, updated: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "t", "namespace": "n", "generation": 2},
            "status": {
                "observedGeneration": 2, "replicas": pods,
                "readyReplicas": ready, "updatedReplicas": updated,
            },
        }))
        .expect("a deployment")
    }

    #[test]
    fn the_first_in_kamaji_s_order_is_said() {
        let spec = |replicas: i32, blocked: bool| {
            json!({
                "controlPlane": {"deployment": {"replicas": replicas}},
                "kubernetes": {"version": "v2"}, "writePermissions": {"blockCreation": blocked},
            })
        };
        let (same, older, new) = (
            json!({"version": "v2"}),
            json!({"version": "v1"}),
            json!({}),
        );
        for (spec, version, (pods, ready, updated), wanted) in [
            (spec(0, true), &same, (0, 0, 0), Phase::Sleeping),
            (spec(1, true), &same, (1, 0, 1), Phase::NotReady),
            (spec(1, true), &same, (2, 1, 1), Phase::WriteLimited),
            (spec(1, false), &same, (1, 1, 1), Phase::Ready),
            (spec(1, false), &older, (1, 1, 1), Phase::Ready),
            (spec(1, false), &older, (2, 1, 1), Phase::Upgrading),
            (spec(2, false), &new, (2, 1, 2), Phase::Provisioning),
            (spec(1, false), &same, (2, 1, 1), Phase::Unknown),
        ] {
            let said = Phase::of(&tenant(&spec, version), &deployment(pods, ready, updated));
            assert_eq!(said, wanted, "{spec} {version}");
        }
    }

    #[test]
    fn a_rollout_that_has_not_begun_is_no_end_of_it() {
        let spec = json!({
            "controlPlane": {"deployment": {"replicas": 1}}, "kubernetes": {"version": "v2"},
        });
        let mut deployment = deployment(1, 1, 1);
        deployment.metadata.generation = Some(3);
        let said = Phase::of(&tenant(&spec, &json!({"version": "v2"})), &deployment);
        assert_eq!(said, Phase::Unknown);
    }

    #[test]
    fn the_time_changes_with_the_deployment_only() {
        let first = told_of(&deployment(1, 1, 1), None);
        let mut told = first.clone();
        told["lastUpdate"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(told_of(&deployment(1, 1, 1), Some(&told)), told);
        told["unavailableReplicas"] = json!(1);
        let next = told_of(&deployment(1, 1, 1), Some(&told));
        assert_eq!(next["unavailableReplicas"], Value::Null);
        assert_ne!(next["lastUpdate"], told["lastUpdate"]);
    }
}
