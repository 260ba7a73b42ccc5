//! Who would undo a freeze: operators, Argo CD, Flux and autoscalers that put a workload back as they want it.
mod autoscalers;
mod controllers;
mod gitops;

use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};

use super::{Cluster, KubeError};

/// A kind of workload that can be frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// `apps/v1` `Deployment`.
    Deployment,
}

impl WorkloadKind {
    fn kind(self) -> &'static str {
        match self {
            Self::StatefulSet => "StatefulSet",
            Self::Deployment => "Deployment",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::StatefulSet => "statefulsets",
            Self::Deployment => "deployments",
        }
    }
}

/// How the workload is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeMode {
    /// Scaled to zero.
    Scale,
    /// Its pods stay, but sleep instead of doing their work.
    Sleep,
}

/// Somebody who manages the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Who: `argo cd application argocd/orders`.
    pub who: String,
    /// Why this matters for a freeze.
    pub why: String,
    /// The command that pauses it; `None` when nothing has to be paused.
    pub pause: Option<String>,
    /// True when it would put the workload back while it is frozen; false for a mere warning.
    pub undoes: bool,
}

/// Everybody who manages this workload and what to do about it, those who undo a freeze first.
///
/// What cannot be read is a finding as well: not knowing is no proof of nobody.
pub async fn who_would_undo(
    cluster: &Cluster,
    namespace: &str,
    kind: WorkloadKind,
    name: &str,
    mode: FreezeMode,
) -> Result<Vec<Finding>, KubeError> {
    let api = dynamic(cluster, "apps", "v1", kind.kind(), kind.plural(), namespace);
    let workload = api.get(name).await?;
    let mut findings = controllers::of(cluster, namespace, &workload).await;
    findings.extend(gitops::of(cluster, &workload).await);
    findings.extend(autoscalers::of(cluster, namespace, kind, &workload, mode).await);
    findings.sort_by_key(|finding| !finding.undoes);
    Ok(findings)
}

/// Objects of a kind that need not be installed.
fn dynamic(
    cluster: &Cluster,
    group: &str,
    version: &str,
    kind: &str,
    plural: &str,
    namespace: &str,
) -> Api<DynamicObject> {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    Api::namespaced_with(cluster.client(), namespace, &resource)
}

#[cfg(test)]
mod tests;
