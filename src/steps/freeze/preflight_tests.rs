#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
use serde_json::Value;

use super::*;
use crate::{
    engine::Verdict,
    steps::freeze::testing::{judged, pod},
};

fn object(spec: &Value) -> DynamicObject {
    serde_json::from_value(json!({"metadata": {"name": "db", "uid": "u1"}, "spec": spec})).unwrap()
}

fn verdicts(checks: &[Check]) -> Vec<(Verdict, &str)> {
    checks
        .iter()
        .map(|check| (check.verdict, check.evidence.as_str()))
        .collect()
}

#[tokio::test]
async fn pods_that_are_not_ready_or_not_there_and_others_on_the_claims_block() {
    let ready = pod(&json!({}));
    let mut unready = pod(&json!({"metadata": {"name": "db-1"}}));
    unready.status.as_mut().unwrap().conditions = None;
    let job = pod(&json!({
        "metadata": {"name": "report-x", "ownerReferences":
            [{"apiVersion": "batch/v1", "kind": "Job", "name": "report", "uid": "j", "controller": true}]},
    }));
    judged(FreezeMode::Scale, |judge| {
        let look = |replicas: i64, pods: &[Pod]| {
            let checks = of_pods(
                judge,
                &object(&json!({"replicas": replicas})),
                pods,
                "kubectl describe",
            );
            verdicts(&checks)
                .into_iter()
                .map(|(verdict, text)| (verdict, text.to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            look(1, std::slice::from_ref(&ready)),
            [(Verdict::Pass, "1 of 1 pods are ready".to_owned())]
        );
        assert_eq!(
            look(2, std::slice::from_ref(&ready)),
            [(Verdict::Block, "1 of 2 pods are there".to_owned())]
        );
        assert_eq!(
            look(0, &[]),
            [(
                Verdict::Pass,
                "already at 0 pods; it is guarded all the same".to_owned()
            )]
        );
        assert_eq!(
            look(2, &[ready.clone(), unready.clone(), job.clone()]),
            [
                (
                    Verdict::Block,
                    "pod shop/db-1 is Running, but not ready".to_owned()
                ),
                (
                    Verdict::Block,
                    "pod shop/report-x (of job/report, Running) mounts claim data-db-0".to_owned()
                ),
            ]
        );
    })
    .await;
}

#[test]
fn claims_that_follow_the_pods_are_kept_and_that_is_said() {
    let policy = |scaled: &str| {
        object(&json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled}}))
    };
    let kept = of_scale("statefulset shop/db", &policy("Delete")).unwrap();
    assert_eq!(kept.verdict, Verdict::Pass);
    assert!(
        kept.evidence
            .contains("Kubernetes would delete the claims with the data")
    );
    assert_eq!(of_scale("statefulset shop/db", &policy("Retain")), None);
}

#[tokio::test]
async fn a_rollout_that_is_held_and_pods_that_would_not_change_block() {
    let step = crate::steps::freeze::testing::step(FreezeMode::Sleep).await;
    let mut held =
        object(&json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}, "paused": true}));
    held.data["status"] = json!({"replicas": 2, "updatedReplicas": 1});
    let checks = of_workload(&step, &held);
    let blocks: Vec<&str> = checks
        .iter()
        .map(|check| check.evidence.split(':').next().unwrap())
        .collect();
    assert!(
        checks
            .iter()
            .all(|check| check.verdict == Verdict::Block && !check.cure.is_empty())
    );
    assert_eq!(
        blocks,
        [
            "a rollout is under way or held",
            "its update strategy is OnDelete",
            "its rollouts are paused"
        ]
    );
    let scale = crate::steps::freeze::testing::step(FreezeMode::Scale).await;
    held.data["status"] = json!({"replicas": 2, "updatedReplicas": 2});
    assert_eq!(of_workload(&scale, &held), []);
}

#[tokio::test]
async fn a_claim_that_its_sleeping_pod_keeps_from_the_movers_blocks() {
    let mut step = crate::steps::freeze::testing::step(FreezeMode::Sleep).await;
    step.exclusive = vec!["data-db-0".to_owned()];
    let checks = of_workload(&step, &object(&json!({"replicas": 1})));
    let [check] = checks.as_slice() else {
        panic!("{checks:?}");
    };
    assert_eq!(check.verdict, Verdict::Block);
    assert_eq!(check.object, "persistentvolumeclaim shop/data-db-0");
    assert_eq!(check.cure, "set spec.freeze.mode: scale");
    step.mode = FreezeMode::Scale;
    assert_eq!(of_workload(&step, &object(&json!({"replicas": 1}))), []);
}

#[tokio::test]
async fn a_workload_that_is_not_what_the_migration_began_with_is_not_frozen() {
    let now = |replicas| object(&json!({"replicas": replicas, "template": {}}));
    let mut step = crate::steps::freeze::testing::step(FreezeMode::Scale).await;
    step.begun = serde_json::to_value(now(3)).unwrap();
    assert_eq!(of_drift(&step, "statefulset shop/db", &now(3)), []);
    let checks = of_drift(&step, "statefulset shop/db", &now(5));
    let found = verdicts(&checks);
    let why = "spec.replicas was 3 and is 5, set by somebody unknown";
    assert_eq!(found, [(Verdict::Block, why)]);
    assert!(
        checks[0]
            .cure
            .contains("kubectl migrate rollback m -n shop")
    );

    // Inside of the change, too, also when it is frozen already.
    let original = Original::of(&step.workload, step.mode, &now(3).data);
    assert!(step.is_as_begun(&now(0), &original).is_ok());
    let original = Original::of(&step.workload, step.mode, &now(5).data);
    let refused = step.is_as_begun(&now(0), &original).unwrap_err();
    assert_eq!(refused.kind, crate::engine::Kind::Blocked);
    assert_eq!(refused.evidence, [why]);
}
