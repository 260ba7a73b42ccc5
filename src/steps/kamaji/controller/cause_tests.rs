use serde_json::{Value, json};

use super::*;

fn job(status: &Value) -> Job {
    serde_json::from_value(json!({"metadata": {"name": "migrate-1"}, "status": status}))
        .expect("a job")
}

fn pod(status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "migrate-1-x", "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": status,
    }))
    .expect("a pod")
}

fn cause_of(job: &Job, pods: &[Pod], evidence: &[&str]) -> Option<Cause> {
    let evidence: Vec<_> = evidence.iter().map(|&line| line.to_owned()).collect();
    let seen = Seen {
        namespace: "kamaji-system",
        name: "migrate-1",
        job: Some(job),
        pods,
        evidence: &evidence,
    };
    seen.cause()
}

fn waiting(reason: &str) -> Pod {
    pod(&json!({"phase": "Pending", "containerStatuses": [{
        "name": "migrate", "image": "clastix/kamaji:none", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": "as it says"}},
    }]}))
}

fn ended(reason: &str, restarts: i32) -> Pod {
    pod(&json!({"phase": "Running", "containerStatuses": [{
        "name": "migrate", "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": reason}},
    }]}))
}

#[test]
fn each_reason_that_a_pod_waits_for_has_its_cause() {
    let running = job(&json!({"active": 1}));
    for (reason, text, certain) in [
        (
            "ErrImagePull",
            "cannot pull image clastix/kamaji:none",
            false,
        ),
        (
            "ImagePullBackOff",
            "cannot pull image clastix/kamaji:none",
            false,
        ),
        (
            "InvalidImageName",
            "cannot have image clastix/kamaji:none",
            true,
        ),
        (
            "CreateContainerConfigError",
            "cannot be started (CreateContainerConfigError): as it says",
            true,
        ),
    ] {
        let cause = cause_of(&running, &[waiting(reason)], &[]).expect(reason);
        assert!(cause.what.contains(text), "{cause:?}");
        assert!(
            cause.what.starts_with("pod kamaji-system/migrate-1-x"),
            "{cause:?}"
        );
        assert_eq!(cause.certain, certain, "{reason}");
    }
    assert_eq!(
        cause_of(&running, &[waiting("ContainerCreating")], &[]),
        None
    );
}

#[test]
fn what_the_pod_said_last_is_told_with_its_meaning() {
    let running = job(&json!({"active": 1}));
    let log = "log of migrate: rpc error: code = Unimplemented desc = unknown method AuthStatus";
    let cause = cause_of(&running, &[ended("Error", 1)], &[log]).expect("a cause");
    assert!(
        cause.what.contains("older than etcd 3.5") && cause.certain,
        "{cause:?}"
    );
    assert_eq!(
        cause.next.0,
        "kubectl logs migrate-1-x -n kamaji-system --previous"
    );
    let unknown = cause_of(
        &running,
        &[ended("Error", 4)],
        &["log of migrate: something new"],
    );
    let unknown = unknown.expect("a cause");
    assert!(
        unknown.what.ends_with("again and again: something new") && !unknown.certain,
        "{unknown:?}"
    );
}

#[test]
fn memory_nodes_quotas_and_an_end_are_told_apart() {
    let running = job(&json!({"active": 1}));
    let killed = cause_of(&running, &[ended("OOMKilled", 1)], &[]).expect("a cause");
    assert!(
        killed.what.contains("OOMKilled") && killed.certain,
        "{killed:?}"
    );
    let nowhere = pod(&json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available",
    }]}));
    let nowhere = cause_of(&running, &[nowhere], &[]).expect("a cause");
    assert!(
        nowhere.what.contains("has no node: 0/1 nodes") && !nowhere.certain,
        "{nowhere:?}"
    );
    let quota =
        "event Warning FailedCreate: pods \"migrate-1-…\" is forbidden: exceeded quota: few";
    let quota = cause_of(&job(&json!({})), &[], &[quota]).expect("a cause");
    assert_eq!(
        quota.next.0,
        "kubectl describe resourcequota -n kamaji-system"
    );
    let conditions = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]});
    let failed = cause_of(
        &job(&conditions),
        &[],
        &["log of migrate: context deadline exceeded"],
    );
    let failed = failed.expect("a cause");
    assert!(
        failed.what.contains("has failed: it did not end within"),
        "{failed:?}"
    );
    let complete = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    assert_eq!(
        cause_of(&job(&complete), &[ended("OOMKilled", 1)], &[]),
        None
    );
}
