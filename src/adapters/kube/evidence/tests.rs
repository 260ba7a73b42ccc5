use super::{
    super::fake::{Answer, FakeApi, Seen, failure},
    *,
};
use serde_json::{Value, json};

fn event(reason: &str, message: &str, time: &str) -> Value {
    json!({
        "metadata": {"name": "e"}, "involvedObject": {}, "type": "Warning",
        "reason": reason, "message": message, "lastTimestamp": time, "count": 2,
    })
}

fn items(items: &Value) -> Answer {
    Answer::Json(200, json!({"metadata": {}, "items": items}))
}

fn server(pod: Value, events: Value) -> FakeApi {
    FakeApi::new(move |seen: &Seen| match seen.target.as_str() {
        target if target.contains("/log?") => Answer::Text("connecting\npanic: no route\n"),
        target if target.contains("/events?") && target.contains("Claim") => {
            items(&json!([event(
                "ProvisioningFailed",
                "no such class",
                "2026-01-01T00:00:00Z"
            )]))
        }
        target if target.contains("/events?") => items(&events),
        target if target.contains("/persistentvolumeclaims/") => Answer::Json(
            200,
            json!({
                "metadata": {"name": "data"}, "status": {"phase": "Pending"},
                "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "10Gi"}}},
            }),
        ),
        target if target.contains("/jobs/") => Answer::Json(
            200,
            json!({
                "metadata": {"name": "copy"}, "status": {"failed": 1, "conditions": [
                    {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too many"},
                ]},
            }),
        ),
        target if target.contains("/pods?") => items(&json!([])),
        _ => Answer::Json(200, pod.clone()),
    })
}

#[tokio::test]
async fn a_pod_without_a_node_tells_the_schedulers_text_and_its_claims() {
    let pod = json!({
        "metadata": {"name": "mover"},
        "spec": {"containers": [], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"},
        ]},
    });
    let events = json!([
        event(
            "FailedScheduling",
            "0/3 nodes are available",
            "2026-01-01T00:00:02Z"
        ),
        event("Older", "first", "2026-01-01T00:00:01Z"),
        event(
            "FailedScheduling",
            "0/3 nodes  are available",
            "2026-01-01T00:00:03Z"
        ),
    ]);
    let lines = pod_evidence(&server(pod, events).cluster(), "shop", "mover").await;
    insta::assert_snapshot!(lines.join("\n"), @r"
    pod shop/mover is Pending
    pod shop/mover has no node: Unschedulable: 0/3 nodes are available
    persistentvolumeclaim shop/data is Pending (storage class fast, 10Gi)
    event Warning ProvisioningFailed: no such class (2 times)
    event Warning Older: first (2 times)
    event Warning FailedScheduling: 0/3 nodes are available (4 times)
    ");
}

#[tokio::test]
async fn a_pod_that_crashes_tells_exit_codes_and_the_end_of_its_log() {
    let pod = json!({
        "metadata": {"name": "mover"},
        "spec": {"containers": [], "nodeName": "n1"},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "mover", "image": "m", "imageID": "", "ready": false, "restartCount": 3,
             "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
             "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
            {"name": "side", "image": "registry/none:1", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}},
        ]},
    });
    let lines = pod_evidence(&server(pod, json!([])).cluster(), "shop", "mover").await;
    insta::assert_snapshot!(lines.join("\n"), @r"
    pod shop/mover is Running
    pod shop/mover, container mover waits: CrashLoopBackOff: back-off 40s
    pod shop/mover, container mover was restarted 3 times, last after exit code 137 (killed): OOMKilled
    pod shop/mover, container side waits: ImagePullBackOff: not found (image registry/none:1)
    log of mover: connecting
    log of mover: panic: no route
    ");
}

#[tokio::test]
async fn a_job_whose_pods_are_refused_tells_the_quota_once() {
    let refused =
        |pod: &str| format!("Error creating: pods \"{pod}\" is forbidden: exceeded quota: small");
    let events = json!([
        event(
            "FailedCreate",
            &refused("copy-x7f2k"),
            "2026-01-01T00:00:00Z"
        ),
        event(
            "FailedCreate",
            &refused("copy-b8c9d"),
            "2026-01-01T00:00:01Z"
        ),
    ]);
    let lines = job_evidence(&server(json!({}), events).cluster(), "shop", "copy").await;
    insta::assert_snapshot!(lines.join("\n"), @r#"
    job shop/copy: pods: 1 failed
    job shop/copy is Failed: BackoffLimitExceeded: too many
    event Warning FailedCreate: Error creating: pods "copy-…" is forbidden: exceeded quota: small (4 times)
    job shop/copy has no pod
    "#);
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_nothing_fails() {
    let fake = FakeApi::new(|seen: &Seen| {
        let message = format!("User \"jane\" cannot read {}", seen.method);
        Answer::Json(403, failure("Forbidden", &message))
    });
    let lines = claim_evidence(&fake.cluster(), "shop", "data").await;
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line.contains("cannot be read: forbidden to")),
        "{lines:?}"
    );
}
