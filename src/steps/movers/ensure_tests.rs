//! Where a mover is put: next to who uses its volume now, not who used it when the migration began.
use serde_json::{Value, json};

use super::super::{Mover, testing::movers};
use super::*;
use crate::{
    marks::{HOME, MIGRATION, ROLE},
    plan::RunAs,
    steps::{
        inventory::{Mode, Use},
        users::tests::{place_with, user},
    },
};

const SOURCE: Mover = Mover {
    index: 0,
    side: Side::Source,
};

async fn nodes(pods: Value, access: &str, side: Side) -> Vec<String> {
    let mut movers = movers(RunAs::Root, Mode::Filesystem, place_with(pods));
    let volume = &mut movers.volumes[0];
    volume.access = vec![access.to_owned()];
    // What the journal says of long ago counts for nothing.
    volume.used = vec![Use {
        pod: "db-0".to_owned(),
        node: Some("old".to_owned()),
    }];
    let mover = Mover { side, ..SOURCE };
    movers.nodes_of(&mover).await.expect("nodes")
}

#[tokio::test]
async fn a_mover_is_bound_to_the_node_of_the_pod_that_uses_its_source_now() {
    let mover = json!({MIGRATION: "m", HOME: "shop", ROLE: "mover-source"});
    let pods = json!([user("mover", &mover), user("db-0", &json!({}))]);
    assert_eq!(
        nodes(pods.clone(), "ReadWriteOnce", Side::Source).await,
        ["n1"]
    );
    let nowhere: [&str; 0] = [];
    assert_eq!(
        nodes(pods.clone(), "ReadWriteMany", Side::Source).await,
        nowhere
    );
    assert_eq!(nodes(pods, "ReadWriteOnce", Side::Target).await, nowhere);
    let alone = json!([user("mover", &mover)]);
    assert_eq!(nodes(alone, "ReadWriteOnce", Side::Source).await, nowhere);
}

#[tokio::test]
async fn a_mover_that_only_reads_its_target_goes_where_that_is_used() {
    let mut pod = user("db-0", &json!({}));
    pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = json!("new-data");
    let mut movers = movers(RunAs::Root, Mode::Filesystem, place_with(json!([])));
    movers.target = place_with(json!([pod]));
    let target = Mover {
        side: Side::Target,
        ..SOURCE
    };
    let movers = movers.only_reading();
    assert_eq!(movers.nodes_of(&target).await.expect("nodes"), ["n1"]);
}

#[tokio::test]
async fn a_job_that_is_bound_to_another_node_is_replaced() {
    let movers = movers(RunAs::Root, Mode::Filesystem, place_with(json!([])));
    let job = |node: Option<&str>, ready: i32| -> Job {
        let job = movers.job(&SOURCE, node, None).expect("a job");
        let mut job = serde_json::to_value(job).expect("JSON");
        job["status"] = json!({"ready": ready});
        serde_json::from_value(job).expect("a job")
    };
    let nodes =
        |nodes: &[&str]| -> Vec<String> { nodes.iter().map(|node| (*node).to_owned()).collect() };
    assert!(is_elsewhere(&job(Some("n1"), 1), &nodes(&["n2"])));
    assert!(!is_elsewhere(&job(Some("n1"), 0), &nodes(&["n2", "n1"])));
    assert!(!is_elsewhere(&job(None, 0), &nodes(&["n2"])));
    // Nobody uses it any more: one that runs has it, one that does not may run elsewhere.
    assert!(!is_elsewhere(&job(Some("n1"), 1), &nodes(&[])));
    assert!(is_elsewhere(&job(Some("n1"), 0), &nodes(&[])));
}

#[test]
fn a_pod_that_waits_for_its_executable_is_told_from_one_that_has_it() {
    let pod = |ready: bool| {
        let pod = json!({
            "metadata": {"name": "mover-1"}, "spec": {"containers": []},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [{
                "name": "mover", "image": "m", "imageID": "db@sha256:1", "ready": ready, "restartCount": 0,
                "state": {"running": {}},
            }]},
        });
        serde_json::from_value::<Pod>(pod).expect("a pod")
    };
    let nobody = BTreeSet::new();
    let it = BTreeSet::from(["mover-1".to_owned()]);
    let looked = look_at(&[pod(false)], SOURCE, Some(&nobody));
    assert!(
        matches!(&looked, (Look::Done, Some(Came::Waits(name))) if name == "mover-1"),
        "{looked:?}"
    );
    for given in [Some(&it), None] {
        let looked = look_at(&[pod(false)], SOURCE, given);
        assert!(matches!(looked, (Look::NotYet(_), None)), "{looked:?}");
    }
    let looked = look_at(&[pod(true)], SOURCE, Some(&nobody));
    assert!(
        matches!(&looked, (Look::Done, Some(Came::Runs(running))) if running.image == "db@sha256:1"),
        "{looked:?}"
    );
}

#[test]
fn an_image_without_a_shell_is_not_waited_for() {
    let pod = json!({
        "metadata": {"name": "mover-1"}, "spec": {"containers": []},
        "status": {"phase": "Failed", "containerStatuses": [{
            "name": "mover", "image": "m", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 128, "reason": "StartError",
                "message": "exec: \"sh\": executable file not found in $PATH"}},
        }]},
    });
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    let (Look::Never(why), None) =
        look_at(std::slice::from_ref(&pod), SOURCE, Some(&BTreeSet::new()))
    else {
        panic!("it is waited for");
    };
    assert_eq!(
        why,
        "pod mover-1 cannot start: exec: \"sh\": executable file not found in $PATH; the image needs a shell (`sh`): roll back, then name another that the nodes have with --mover-image"
    );
    assert!(matches!(
        look_at(&[pod], SOURCE, None),
        (Look::NotYet(_), None)
    ));
}

#[test]
fn a_mover_without_memory_is_told_as_that() {
    let pod = json!({
        "metadata": {"name": "mover-1"}, "spec": {"containers": [], "nodeName": "n1"},
        "status": {"phase": "Failed", "containerStatuses": [{
            "name": "mover", "image": "m", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }]},
    });
    let pod = serde_json::from_value(pod).expect("a pod");
    let (Look::NotYet(seen), None) = look_at(&[pod], SOURCE, None) else {
        panic!("a pod that failed is not waited for, or runs");
    };
    assert_eq!(
        seen,
        "pod mover-1 is Failed; pod mover-1, container mover ended with exit code 137 (killed): OOMKilled"
    );
}
