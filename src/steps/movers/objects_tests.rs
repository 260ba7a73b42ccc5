//! The Jobs as they are sent: each right and each path that a mover gets is here to be seen.
use serde_json::{Value, json};

use super::super::{Mover, testing::movers};
use super::*;
use crate::steps::users::tests::place_with;

fn pod(run_as: RunAs, mode: Mode, side: Side) -> Value {
    let movers = movers(run_as, mode, place_with(json!([])));
    let mover = Mover { index: 0, side };
    let node = (side == Side::Source).then_some("n1");
    let job = movers.job(&mover, node, None).expect("a job");
    let job = serde_json::to_value(job).expect("JSON");
    job["spec"]["template"]["spec"].clone()
}

#[tokio::test]
async fn the_job_of_each_sort_of_mover() {
    let mut told = Vec::new();
    for run_as in [RunAs::Root, RunAs::Workload, RunAs::User(1000, 2000)] {
        for mode in [Mode::Filesystem, Mode::Block] {
            for side in [Side::Source, Side::Target] {
                let pod = pod(run_as, mode, side);
                let container = &pod["containers"][0];
                let shown = json!({
                    "args": container["args"],
                    "container security": container["securityContext"],
                    "pod security": pod["securityContext"],
                    "volumes": pod["volumes"],
                    "mounts": container["volumeMounts"],
                    "devices": container["volumeDevices"],
                    "affinity": pod["affinity"],
                    "node selector": pod["nodeSelector"],
                });
                let run_as = String::from(run_as);
                let mode = mode.name();
                told.push(format!("# {run_as}, {mode}, {side}"));
                for (name, value) in shown.as_object().expect("an object") {
                    told.push(format!("{name}: {value}"));
                }
                told.push(String::new());
            }
        }
    }
    insta::assert_snapshot!("jobs", told.join("\n"));
}

#[tokio::test]
async fn by_exec_a_pod_of_the_workload_s_image_waits_with_a_shell_and_knows_no_keys() {
    let mut movers = movers(RunAs::Root, Mode::Filesystem, place_with(json!([])));
    movers.allowed = vec![crate::plan::MoverWay::Exec];
    movers.pull_secret = None;
    movers.workload["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    let side = Side::Target;
    let job = movers.job(&Mover { index: 0, side }, None, None);
    let job = serde_json::to_value(job.expect("a job")).expect("JSON");
    let pod = &job["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let begin = &container["command"].as_array().expect("a command")[..2];
    assert_eq!(begin, ["sh", "-c"]);
    for field in ["args", "ports", "readinessProbe"] {
        assert!(container[field].is_null(), "{container}");
    }
    assert_eq!(
        container["volumeMounts"],
        json!([{"mountPath": "/volume", "name": "volume", "readOnly": false}, {"mountPath": "/session", "name": "session"}])
    );
    let volumes = pod["volumes"].as_array().expect("volumes").iter();
    let names: Vec<_> = volumes.map(|volume| volume["name"].clone()).collect();
    assert_eq!(names, ["volume", "session"]);
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "own"}]));
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
}

#[tokio::test]
async fn in_place_a_volume_is_made_on_the_node_of_its_pod_if_it_can_be() {
    let preferred = |used: &Value, namespace: &str| {
        let mut movers = movers(RunAs::Root, Mode::Filesystem, place_with(json!([])));
        movers.volumes[0].used = serde_json::from_value(used.clone()).expect("uses");
        movers.target.namespace = namespace.to_owned();
        let side = Side::Target;
        let job = movers
            .job(&Mover { index: 0, side }, None, None)
            .expect("a job");
        let job = serde_json::to_value(job).expect("JSON");
        let affinity = &job["spec"]["template"]["spec"]["affinity"]["nodeAffinity"];
        assert!(affinity["requiredDuringSchedulingIgnoredDuringExecution"].is_object());
        let preferred = &affinity["preferredDuringSchedulingIgnoredDuringExecution"];
        preferred[0]["preference"]["matchFields"][0]["values"][0].clone()
    };
    let used = json!([{"pod": "db-0", "node": "n2"}]);
    assert_eq!(preferred(&used, "shop"), "n2");
    assert_eq!(preferred(&used, "elsewhere"), Value::Null);
    assert_eq!(preferred(&json!([]), "shop"), Value::Null);
}

#[tokio::test]
async fn a_mover_that_only_reads_can_change_nothing_of_its_target() {
    for run_as in [RunAs::Root, RunAs::User(1000, 2000)] {
        let movers = movers(run_as, Mode::Filesystem, place_with(json!([])));
        let target = Mover {
            index: 0,
            side: Side::Target,
        };
        let job = movers.only_reading().job(&target, Some("n1"), None);
        let job = serde_json::to_value(job.expect("a job")).expect("JSON");
        let pod = &job["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(container["volumeMounts"][1]["readOnly"], json!(true));
        // A group that is given to a volume changes its files.
        assert_eq!(pod["securityContext"]["fsGroup"], Value::Null);
        let added = &container["securityContext"]["capabilities"]["add"];
        let expected = match run_as {
            RunAs::Root => json!(["DAC_OVERRIDE", "FOWNER"]),
            _ => Value::Null,
        };
        assert_eq!(*added, expected, "{run_as:?}");
        let claim = &pod["volumes"][0]["persistentVolumeClaim"]["claimName"];
        assert_eq!(claim, "new-data");
    }
}

#[tokio::test]
async fn a_whole_job() {
    let movers = movers(RunAs::Auto, Mode::Filesystem, place_with(json!([])));
    let mover = Mover {
        index: 0,
        side: Side::Target,
    };
    let job = movers.job(&mover, None, None).expect("a job");
    let text = serde_json::to_string_pretty(&job).expect("JSON");
    insta::assert_snapshot!("whole_job", text);
}

#[tokio::test]
async fn a_job_whose_executable_is_put_into_it_waits_and_has_no_more_rights() {
    let image = movers(RunAs::Root, Mode::Filesystem, place_with(json!([])));
    let mut put = image.clone();
    put.executable = Some(crate::steps::movers::Executable::default());
    for side in [Side::Source, Side::Target] {
        let mover = Mover { index: 0, side };
        let pod = |movers: &crate::steps::movers::Movers| {
            let job = movers.job(&mover, None, None).expect("a job");
            let job = serde_json::to_value(job).expect("JSON");
            job["spec"]["template"]["spec"].clone()
        };
        let (image, put) = (pod(&image), pod(&put));
        let (without, container) = (&image["containers"][0], &put["containers"][0]);
        assert_eq!(put["securityContext"], image["securityContext"]);
        assert_eq!(container["securityContext"], without["securityContext"]);
        assert_eq!(put["automountServiceAccountToken"], json!(false));
        assert_eq!(container["imagePullPolicy"], "Never");
        // The shell, its script and its name; then the script's own arguments, then the mover's.
        assert_eq!(container["command"][0], "sh");
        assert_eq!(container["command"][3], "wait");
        assert_eq!(container["args"][0], "/executable");
        assert_eq!(container["args"][1], "900");
        let args = container["args"].as_array().expect("arguments");
        assert_eq!(args[2..], *without["args"].as_array().expect("arguments"));
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        let mut expected = without["volumeMounts"].as_array().expect("mounts").clone();
        expected.push(json!({"name": "executable", "mountPath": "/executable"}));
        assert_eq!(*mounts, expected);
        let added = json!({"name": "executable", "emptyDir": {"sizeLimit": "2Gi"}});
        assert_eq!(put["volumes"][2], added);
    }
}

#[tokio::test]
async fn no_mover_can_talk_to_the_api_server_or_become_more_than_it_is() {
    for run_as in [RunAs::Root, RunAs::Workload, RunAs::User(0, 0)] {
        for mode in [Mode::Filesystem, Mode::Block] {
            for side in [Side::Source, Side::Target] {
                let pod = pod(run_as, mode, side);
                assert_eq!(pod["automountServiceAccountToken"], json!(false));
                assert_eq!(pod["hostNetwork"], Value::Null);
                assert_eq!(pod["hostPID"], Value::Null);
                let security = &pod["containers"][0]["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], json!(false));
                assert_eq!(security["readOnlyRootFilesystem"], json!(true));
                assert_eq!(security["privileged"], Value::Null);
                assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
                let added = &security["capabilities"]["add"];
                let expected = match (run_as, side) {
                    (RunAs::Root, Side::Source) => json!(["DAC_OVERRIDE", "FOWNER"]),
                    (RunAs::Root, Side::Target) => json!([
                        "CHOWN",
                        "DAC_OVERRIDE",
                        "FOWNER",
                        "FSETID",
                        "MKNOD",
                        "SETFCAP"
                    ]),
                    _ => Value::Null,
                };
                assert_eq!(*added, expected, "{run_as:?} {side}");
            }
        }
    }
}
