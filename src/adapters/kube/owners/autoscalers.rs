//! Autoscalers: horizontal, KEDA's and vertical.
use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use super::{
    super::{Cluster, KubeError, Selector, get_opt, list_all},
    Finding, FreezeMode, WorkloadKind, dynamic,
};

pub(super) async fn of(
    cluster: &Cluster,
    namespace: &str,
    kind: WorkloadKind,
    workload: &DynamicObject,
    mode: FreezeMode,
) -> Vec<Finding> {
    let mut findings = horizontal(cluster, namespace, kind, workload, mode).await;
    findings.extend(vertical(cluster, namespace, kind, workload).await);
    findings
}

async fn horizontal(
    cluster: &Cluster,
    namespace: &str,
    kind: WorkloadKind,
    workload: &DynamicObject,
    mode: FreezeMode,
) -> Vec<Finding> {
    let api = dynamic(
        cluster,
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        namespace,
    );
    let autoscalers = match list_dynamic(&api).await {
        Ok(autoscalers) => autoscalers,
        Err(finding) => {
            return finding
                .map(|why| unread("horizontal pod autoscalers", namespace, &why))
                .into_iter()
                .collect();
        }
    };
    let mut findings = Vec::new();
    for autoscaler in autoscalers
        .iter()
        .filter(|found| targets(&found.data["spec"]["scaleTargetRef"], kind, workload))
    {
        let keda = autoscaler
            .owner_references()
            .iter()
            .find(|owner| owner.kind == "ScaledObject");
        findings.push(match keda {
            Some(owner) => scaled_object(cluster, namespace, &owner.name).await,
            None => plain(namespace, autoscaler, workload, mode),
        });
    }
    findings
}

/// An HPA leaves a workload with zero replicas alone; sleeping pods use no CPU, so it would remove them.
fn plain(
    namespace: &str,
    autoscaler: &DynamicObject,
    workload: &DynamicObject,
    mode: FreezeMode,
) -> Finding {
    let name = autoscaler.name_any();
    let who = format!("horizontal pod autoscaler {namespace}/{name}");
    match mode {
        FreezeMode::Scale => Finding {
            who,
            why: "it rests while the workload has no replicas, and may choose another number afterwards".to_owned(),
            pause: None,
            undoes: false,
        },
        FreezeMode::Sleep => {
            let replicas = workload.data["spec"]["replicas"].as_i64().unwrap_or(1);
            let patch = format!(r#"{{"spec":{{"minReplicas":{replicas},"maxReplicas":{replicas}}}}}"#);
            Finding {
                who,
                why: "it would scale the sleeping pods".to_owned(),
                pause: Some(format!("kubectl -n {namespace} patch horizontalpodautoscaler {name} --type merge -p '{patch}'")),
                undoes: true,
            }
        }
    }
}

/// KEDA scales from zero by itself: its HPA resting is no protection.
async fn scaled_object(cluster: &Cluster, namespace: &str, name: &str) -> Finding {
    let api = dynamic(
        cluster,
        "keda.sh",
        "v1alpha1",
        "ScaledObject",
        "scaledobjects",
        namespace,
    );
    let (undoes, why) = match get_opt(&api, name).await {
        Ok(Some(found)) if is_paused(&found) => (
            false,
            "it is paused; keep it so during the freeze".to_owned(),
        ),
        Ok(_) => (
            true,
            "it scales the workload up again, from zero as well".to_owned(),
        ),
        Err(error) => (
            true,
            format!("it may scale the workload up again; it cannot be read: {error}"),
        ),
    };
    Finding {
        who: format!("keda scaledobject {namespace}/{name}"),
        why,
        pause: undoes.then(|| format!("kubectl -n {namespace} annotate scaledobject {name} autoscaling.keda.sh/paused=true")),
        undoes,
    }
}

fn is_paused(scaled: &DynamicObject) -> bool {
    let annotations = scaled.annotations();
    annotations
        .get("autoscaling.keda.sh/paused")
        .is_some_and(|value| value == "true")
        || annotations.contains_key("autoscaling.keda.sh/paused-replicas")
}

async fn vertical(
    cluster: &Cluster,
    namespace: &str,
    kind: WorkloadKind,
    workload: &DynamicObject,
) -> Vec<Finding> {
    let api = dynamic(
        cluster,
        "autoscaling.k8s.io",
        "v1",
        "VerticalPodAutoscaler",
        "verticalpodautoscalers",
        namespace,
    );
    let autoscalers = match list_dynamic(&api).await {
        Ok(autoscalers) => autoscalers,
        Err(finding) => {
            return finding
                .map(|why| unread("vertical pod autoscalers", namespace, &why))
                .into_iter()
                .collect();
        }
    };
    let acts = |found: &&DynamicObject| found.data["spec"]["updatePolicy"]["updateMode"] != "Off";
    autoscalers
        .iter()
        .filter(|found| targets(&found.data["spec"]["targetRef"], kind, workload))
        .filter(acts)
        .map(|found| {
            let name = found.name_any();
            let patch = r#"{"spec":{"updatePolicy":{"updateMode":"Off"}}}"#;
            Finding {
                who: format!("vertical pod autoscaler {namespace}/{name}"),
                why: "it may evict pods to give them other resources".to_owned(),
                pause: Some(format!("kubectl -n {namespace} patch verticalpodautoscaler {name} --type merge -p '{patch}'")),
                undoes: false,
            }
        })
        .collect()
}

/// `Err(None)` when the kind is not installed: then there is none.
async fn list_dynamic(
    api: &kube::Api<DynamicObject>,
) -> Result<Vec<DynamicObject>, Option<KubeError>> {
    list_all(api, &Selector::all())
        .await
        .map_err(|error| (!error.is_not_found()).then_some(error))
}

fn targets(reference: &Value, kind: WorkloadKind, workload: &DynamicObject) -> bool {
    reference["kind"] == kind.kind() && reference["name"] == workload.name_any()
}

fn unread(what: &str, namespace: &str, error: &KubeError) -> Finding {
    Finding {
        who: format!("{what} in namespace {namespace}"),
        why: format!("they cannot be read: {error}"),
        pause: None,
        undoes: false,
    }
}
