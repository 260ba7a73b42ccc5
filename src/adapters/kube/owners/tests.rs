use super::{
    super::fake::{Answer, FakeApi, Seen, failure},
    *,
};
use serde_json::{Value, json};

/// A server that knows these objects by the end of their path, and these lists by their resource.
fn server(objects: Vec<(&'static str, Value)>) -> FakeApi {
    FakeApi::new(move |seen: &Seen| {
        let path = seen.target.split('?').next().unwrap_or_default();
        match objects.iter().find(|(end, _)| path.ends_with(end)) {
            Some((_, object)) => Answer::Json(200, object.clone()),
            None if path.ends_with("verticalpodautoscalers") => {
                Answer::Json(404, json!("404 page not found"))
            }
            None if path.ends_with("horizontalpodautoscalers") => {
                Answer::Json(200, json!({"metadata": {}, "items": []}))
            }
            None => Answer::Json(
                403,
                failure(
                    "Forbidden",
                    "x is forbidden: User \"jane\" cannot get resource \"x\"",
                ),
            ),
        }
    })
}

fn workload(metadata: Value) -> (&'static str, Value) {
    let mut object =
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"replicas": 3}});
    object["metadata"] = metadata;
    object["metadata"]["name"] = json!("db");
    ("/statefulsets/db", object)
}

async fn found(objects: Vec<(&'static str, Value)>, mode: FreezeMode) -> Vec<Finding> {
    let cluster = server(objects).cluster();
    who_would_undo(&cluster, "shop", WorkloadKind::StatefulSet, "db", mode)
        .await
        .expect("findings")
}

async fn only(objects: Vec<(&'static str, Value)>, mode: FreezeMode) -> Finding {
    let mut findings = found(objects, mode).await;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.remove(0)
}

#[tokio::test]
async fn a_workload_of_nobody_has_no_findings() {
    assert_eq!(
        found(vec![workload(json!({}))], FreezeMode::Scale).await,
        []
    );
}

#[tokio::test]
async fn an_operator_is_named_at_the_top_of_its_chain() {
    let owner = |kind: &str, name: &str, version: &str| json!([{"apiVersion": version, "kind": kind, "name": name, "uid": "u", "controller": true}]);
    let resources = |kind: &str, plural: &str| {
        json!({"kind": "APIResourceList", "groupVersion": "x", "resources": [
            {"name": plural, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get"]}]})
    };
    let finding = only(
        vec![
            workload(json!({"ownerReferences": owner("CassandraDatacenter", "dc1", "cassandra.datastax.com/v1beta1")})),
            ("/cassandra.datastax.com/v1beta1", resources("CassandraDatacenter", "cassandradatacenters")),
            ("/k8ssandra.io/v1alpha1", resources("K8ssandraCluster", "k8ssandraclusters")),
            ("/cassandradatacenters/dc1", json!({
                "apiVersion": "cassandra.datastax.com/v1beta1", "kind": "CassandraDatacenter",
                "metadata": {"name": "dc1", "ownerReferences": owner("K8ssandraCluster", "prod", "k8ssandra.io/v1alpha1")}})),
            ("/k8ssandraclusters/prod", json!({
                "apiVersion": "k8ssandra.io/v1alpha1", "kind": "K8ssandraCluster", "metadata": {"name": "prod"}})),
        ],
        FreezeMode::Scale,
    )
    .await;
    assert_eq!(finding.who, "operator of k8ssandracluster shop/prod");
    assert!(
        finding
            .why
            .contains("cassandradatacenter dc1 of k8ssandracluster prod"),
        "{}",
        finding.why
    );
    assert!(finding.undoes);
}

#[tokio::test]
async fn an_operator_above_that_cannot_be_read_is_said() {
    let owner = json!([{"apiVersion": "rabbitmq.com/v1beta1", "kind": "RabbitmqCluster", "name": "q", "uid": "u", "controller": true}]);
    let finding = only(
        vec![workload(json!({"ownerReferences": owner}))],
        FreezeMode::Scale,
    )
    .await;
    assert!(finding.why.contains("cannot be read"), "{}", finding.why);
    assert_eq!(
        finding.pause.as_deref(),
        Some(
            "kubectl -n shop label rabbitmqcluster.rabbitmq.com q rabbitmq.com/pauseReconciliation=true"
        )
    );
}

#[tokio::test]
async fn helm_alone_is_a_warning() {
    let annotations =
        json!({"meta.helm.sh/release-name": "orders", "meta.helm.sh/release-namespace": "shop"});
    let finding = only(
        vec![workload(json!({"annotations": annotations}))],
        FreezeMode::Scale,
    )
    .await;
    assert_eq!(
        (finding.who.as_str(), finding.undoes),
        ("helm release shop/orders", false)
    );
}

#[tokio::test]
async fn argo_undoes_when_it_heals_or_cannot_be_read() {
    let tracked = || {
        workload(
            json!({"annotations": {"argocd.argoproj.io/tracking-id": "orders:apps/StatefulSet:shop/db"}}),
        )
    };
    let application = |automated: Value| {
        (
            "/applications/orders",
            json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "orders"},
            "spec": {"syncPolicy": {"automated": automated}}}),
        )
    };
    let healing = only(
        vec![tracked(), application(json!({"selfHeal": true}))],
        FreezeMode::Scale,
    )
    .await;
    assert!(healing.undoes);
    assert_eq!(
        healing.pause.as_deref(),
        Some(
            r#"kubectl -n argocd patch application.argoproj.io orders --type merge -p '{"spec":{"syncPolicy":{"automated":null}}}'"#
        )
    );
    assert!(
        !only(vec![tracked(), application(json!({}))], FreezeMode::Scale)
            .await
            .undoes
    );
    assert!(
        !only(vec![tracked(), application(Value::Null)], FreezeMode::Scale)
            .await
            .undoes
    );
    let unread = only(vec![tracked()], FreezeMode::Scale).await;
    assert!(
        unread.undoes && unread.why.contains("cannot be read"),
        "{}",
        unread.why
    );
}

#[tokio::test]
async fn flux_undoes_unless_it_is_seen_to_be_suspended() {
    let labels = json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
    let marked = || workload(json!({"labels": labels}));
    let kustomization = |suspend: bool| {
        (
            "/kustomizations/apps",
            json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps"}, "spec": {"suspend": suspend}}),
        )
    };
    assert!(only(vec![marked()], FreezeMode::Scale).await.undoes);
    assert!(
        only(vec![marked(), kustomization(false)], FreezeMode::Scale)
            .await
            .undoes
    );
    let suspended = only(vec![marked(), kustomization(true)], FreezeMode::Scale).await;
    assert_eq!((suspended.undoes, suspended.pause), (false, None));
}

fn hpa(owners: &Value) -> (&'static str, Value) {
    (
        "/horizontalpodautoscalers",
        json!({"metadata": {}, "items": [{
        "metadata": {"name": "scale", "ownerReferences": owners},
        "spec": {"scaleTargetRef": {"kind": "StatefulSet", "name": "db"}}}]}),
    )
}

#[tokio::test]
async fn an_autoscaler_blocks_sleep_and_only_warns_when_scaled_to_zero() {
    let scale = only(
        vec![workload(json!({})), hpa(&json!([]))],
        FreezeMode::Scale,
    )
    .await;
    assert!(!scale.undoes);
    let sleep = only(
        vec![workload(json!({})), hpa(&json!([]))],
        FreezeMode::Sleep,
    )
    .await;
    assert!(sleep.undoes);
    assert!(
        sleep
            .pause
            .expect("a command")
            .contains(r#""minReplicas":3,"maxReplicas":3"#)
    );
}

#[tokio::test]
async fn keda_undoes_a_scale_to_zero_unless_paused() {
    let owners = json!([{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "so", "uid": "u"}]);
    let scaled = |annotations: Value| {
        (
            "/scaledobjects/so",
            json!({
            "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "so", "annotations": annotations}}),
        )
    };
    let finding = only(
        vec![workload(json!({})), hpa(&owners), scaled(json!({}))],
        FreezeMode::Scale,
    )
    .await;
    assert!(finding.undoes);
    assert_eq!(
        finding.pause.as_deref(),
        Some("kubectl -n shop annotate scaledobject so autoscaling.keda.sh/paused=true")
    );
    let paused = scaled(json!({"autoscaling.keda.sh/paused": "true"}));
    assert!(
        !only(
            vec![workload(json!({})), hpa(&owners), paused],
            FreezeMode::Scale
        )
        .await
        .undoes
    );
}

#[tokio::test]
async fn a_vertical_autoscaler_is_a_warning_unless_off() {
    let vpa = |mode: &str| {
        (
            "/verticalpodautoscalers",
            json!({"metadata": {}, "items": [{
            "metadata": {"name": "v"},
            "spec": {"targetRef": {"kind": "StatefulSet", "name": "db"}, "updatePolicy": {"updateMode": mode}}}]}),
        )
    };
    let finding = only(vec![workload(json!({})), vpa("Auto")], FreezeMode::Scale).await;
    assert_eq!(
        (finding.who.as_str(), finding.undoes),
        ("vertical pod autoscaler shop/v", false)
    );
    assert_eq!(
        found(vec![workload(json!({})), vpa("Off")], FreezeMode::Scale).await,
        []
    );
}
