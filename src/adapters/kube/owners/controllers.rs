//! Operators: the chain of controllers above a workload.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, GroupVersionKind},
    discovery::{Scope, oneshot},
};

use super::{
    super::{Cluster, KubeError},
    Finding,
};

/// Owners above owners; real chains have two or three.
const LONGEST_CHAIN: usize = 10;

/// The controller at the top of the chain puts back whatever is changed below it.
pub(super) async fn of(
    cluster: &Cluster,
    namespace: &str,
    workload: &DynamicObject,
) -> Vec<Finding> {
    let mut chain: Vec<OwnerReference> = Vec::new();
    let mut unread = None;
    let mut next = controller(workload);
    while let Some(owner) = next.take() {
        chain.push(owner.clone());
        if chain.len() == LONGEST_CHAIN {
            break;
        }
        match read(cluster, namespace, &owner).await {
            Ok(object) => next = controller(&object),
            Err(error) => unread = Some(error),
        }
    }
    let Some(top) = chain.last() else {
        return Vec::new();
    };
    let names: Vec<String> = chain
        .iter()
        .map(|owner| format!("{} {}", owner.kind.to_lowercase(), owner.name))
        .collect();
    let unread = unread
        .map(|error| format!("; what is above it cannot be read: {error}"))
        .unwrap_or_default();
    vec![Finding {
        who: format!(
            "operator of {} {namespace}/{}",
            top.kind.to_lowercase(),
            top.name
        ),
        why: format!(
            "it controls the workload ({}) and puts back what it did not change itself{unread}",
            names.join(" of ")
        ),
        pause: Some(pause(namespace, top)),
        undoes: true,
    }]
}

fn controller(object: &DynamicObject) -> Option<OwnerReference> {
    object
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true))
        .cloned()
}

async fn read(
    cluster: &Cluster,
    namespace: &str,
    owner: &OwnerReference,
) -> Result<DynamicObject, KubeError> {
    let (group, version) = owner
        .api_version
        .split_once('/')
        .unwrap_or(("", &owner.api_version));
    let kind = GroupVersionKind::gvk(group, version, &owner.kind);
    let (resource, capabilities) = oneshot::pinned_kind(&cluster.client(), &kind).await?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Namespaced => Api::namespaced_with(cluster.client(), namespace, &resource),
        Scope::Cluster => Api::all_with(cluster.client(), &resource),
    };
    Ok(api.get(&owner.name).await?)
}

/// Each operator's own documented switch; without one, the operator itself has to be stopped.
fn pause(namespace: &str, owner: &OwnerReference) -> String {
    let group = owner
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    let resource = format!("{}.{group} {}", owner.kind.to_lowercase(), owner.name);
    match group {
        "kafka.strimzi.io" | "core.strimzi.io" => {
            format!(
                "kubectl -n {namespace} annotate {resource} strimzi.io/pause-reconciliation=true"
            )
        }
        "elasticsearch.k8s.elastic.co" | "kibana.k8s.elastic.co" => {
            format!("kubectl -n {namespace} annotate {resource} eck.k8s.elastic.co/managed=false")
        }
        "rabbitmq.com" => {
            format!("kubectl -n {namespace} label {resource} rabbitmq.com/pauseReconciliation=true")
        }
        "monitoring.coreos.com" => {
            format!(
                r#"kubectl -n {namespace} patch {resource} --type merge -p '{{"spec":{{"paused":true}}}}'"#
            )
        }
        // A kind of Kubernetes itself: no group leads to who acts on it.
        "" => format!(
            "stop what acts on {} {}, or take it out of metadata.ownerReferences",
            owner.kind.to_lowercase(),
            owner.name
        ),
        _ => format!(
            "kubectl -n NAMESPACE scale deployment OPERATOR --replicas=0 (the operator that serves {group})"
        ),
    }
}
