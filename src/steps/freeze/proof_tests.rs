use serde_json::{Value, json};

use super::*;
use crate::marks::{MANAGED_BY, PROGRAM, ROLE, RUN};
use crate::steps::freeze::{
    sleeper,
    testing::{judged, pod},
};

fn asleep() -> Value {
    json!({"spec": {"containers": [{"name": "db", "command": sleeper::COMMAND}]}})
}

#[tokio::test]
async fn scaled_to_0_is_proved_only_when_no_pod_but_ours_can_write() {
    let ended = pod(&json!({"status": {"phase": "Succeeded"}}));
    let mover = |run: &str| {
        pod(&json!({"metadata": {"name": "mover", "ownerReferences": [],
            "labels": {MANAGED_BY: PROGRAM, ROLE: "mover-source", RUN: run}}}))
    };
    // The claim of a generic ephemeral volume is named after its pod.
    let ephemeral = pod(&json!({"metadata": {"name": "data", "ownerReferences": []},
        "spec": {"volumes": [{"name": "db-0", "ephemeral": {}}]}}));
    let deleted = pod(
        &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"nodeName": "worker-3"}}),
    );
    judged(FreezeMode::Scale, |judge| {
        let look = |pod: Pod| gone(judge, &[pod]);
        assert_eq!(gone(judge, &[]), Look::Done);
        assert_eq!(look(ended.clone()), Look::Done);
        assert_eq!(look(mover("r1")), Look::Done);
        let other = Look::NotYet(
            "pod shop/mover (of no controller, Running) mounts claim data-db-0".to_owned(),
        );
        assert_eq!(
            look(mover("r2")),
            other,
            "another run's mover is no better than a stranger"
        );
        let strange = Look::NotYet(
            "pod shop/data (of no controller, Running) mounts claim data-db-0".to_owned(),
        );
        assert_eq!(look(ephemeral.clone()), strange);
        let held = Look::NotYet("pod shop/db-0 is being deleted on node worker-3".to_owned());
        assert_eq!(
            look(deleted.clone()),
            held,
            "a node that is down may still write"
        );
    })
    .await;
}

#[tokio::test]
async fn asleep_is_proved_only_when_every_container_that_can_write_sleeps() {
    let sleeping = pod(&asleep());
    let mut debugged = asleep();
    debugged["spec"]["ephemeralContainers"] =
        json!([{"name": "debugger", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]);
    let mut injected = asleep();
    injected["spec"]["containers"] =
        json!([{"name": "proxy"}, {"name": "db", "command": sleeper::COMMAND}]);
    let shellless = pod(&json!({
        "spec": {"containers": [{"name": "db", "command": sleeper::COMMAND}]},
        "status": {"phase": "Running", "conditions": [], "containerStatuses": [{
            "name": "db", "image": "", "imageID": "", "ready": false, "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}},
        }]},
    }));
    judged(FreezeMode::Sleep, |judge| {
        let look = |pod: &Pod, wanted| all_asleep(judge, std::slice::from_ref(pod), wanted);
        assert_eq!(look(&sleeping, 1), Look::Done);
        assert_eq!(
            look(&sleeping, 2),
            Look::NotYet("1 of 2 pods are there".to_owned())
        );
        assert_eq!(
            look(&pod(&injected), 1),
            Look::Done,
            "a proxy that mounts no claim cannot write"
        );
        let awake = |name: &str| {
            Look::NotYet(format!(
                "pod shop/db-0 is Running, and its container {name} does not sleep"
            ))
        };
        assert_eq!(look(&pod(&json!({})), 1), awake("db"));
        assert_eq!(look(&pod(&debugged), 1), awake("debugger"));
        let Look::Never(why) = look(&shellless, 1) else {
            panic!("there is no shell to start");
        };
        assert!(
            why.starts_with("pod shop/db-0 cannot run the sleeper: container db: no such file;"),
            "{why}"
        );
    })
    .await;
}

#[test]
fn the_controllers_word_counts_only_for_the_newest_spec() {
    let object = |status: &Value| -> DynamicObject {
        serde_json::from_value(json!({"metadata": {"name": "db", "generation": 4}, "spec": {"replicas": 2}, "status": status}))
            .expect("an object")
    };
    let stale = object(&json!({"observedGeneration": 3}));
    assert_eq!(
        settled(&stale, FreezeMode::Scale),
        Look::NotYet("its controller has not seen the change".to_owned())
    );
    assert_eq!(
        settled(
            &object(&json!({"observedGeneration": 4})),
            FreezeMode::Scale
        ),
        Look::Done
    );
    let rolling = object(
        &json!({"observedGeneration": 4, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 2}),
    );
    assert_eq!(
        settled(&rolling, FreezeMode::Sleep),
        Look::NotYet("1 of 2 pods are changed, 2 ready".to_owned())
    );
    let rolled = object(
        &json!({"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}),
    );
    assert_eq!(settled(&rolled, FreezeMode::Sleep), Look::Done);
}
