#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::marks::Belongs;
use crate::steps::freeze::{Mark, testing::patched};

const STATEFUL: fn() -> Workload = || Workload::StatefulSet("db".to_owned());
const DEPLOYED: fn() -> Workload = || Workload::Deployment("db".to_owned());

/// Every combination of the fields that a freeze replaces being there or not.
fn specs(workload: &Workload) -> Vec<Value> {
    let probe =
        json!({"httpGet": {"path": "/", "port": "http"}, "newerField": {"kept": [1, null]}});
    let mut specs = Vec::new();
    for bits in 0..512_u32 {
        let has = |bit: u32| bits & (1 << bit) != 0;
        let mut container = json!({"name": "db", "image": "db:1", "unknownField": {"a": [1, 2]}});
        for (bit, field, value) in [
            (0, "command", json!(["/bin/db"])),
            (1, "args", json!(["--data", "/data"])),
            (2, "livenessProbe", probe.clone()),
            (
                3,
                "lifecycle",
                json!({"preStop": {"exec": {"command": ["/bin/stop"]}}}),
            ),
        ] {
            if has(bit) {
                container[field] = value;
            }
        }
        let mut spec = json!({
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                "containers": [{"name": "log", "image": "log:1", "readinessProbe": probe}, container],
            }},
        });
        if has(4) {
            spec["replicas"] = json!(3);
        }
        if has(5) {
            spec["template"]["spec"]["initContainers"] = json!([{"name": "prepare"}, {"name": "proxy", "restartPolicy": "Always", "startupProbe": probe}]);
        }
        if has(6) {
            spec["minReadySeconds"] = json!(30);
        }
        match workload {
            Workload::StatefulSet(_) => {
                let partition = if has(7) { 2 } else { 0 };
                spec["updateStrategy"] =
                    json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
                let scaled = if has(8) { "Delete" } else { "Retain" };
                spec["persistentVolumeClaimRetentionPolicy"] =
                    json!({"whenDeleted": "Delete", "whenScaled": scaled});
            }
            Workload::Deployment(_) if has(7) => {
                let kind = if has(8) { "Recreate" } else { "RollingUpdate" };
                spec["strategy"] = json!({"type": kind});
            }
            Workload::Deployment(_) => {}
        }
        specs.push(json!({"spec": spec, "status": {"replicas": 3}}));
    }
    specs
}

/// The same text for the same value, whatever the order of its keys.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{key:?}:{}", canonical(value)))
                .collect();
            fields.sort();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(canonical).collect::<Vec<_>>().join(",")
        ),
        plain => plain.to_string(),
    }
}

#[test]
fn every_spec_is_frozen_and_put_back_to_the_byte() {
    for workload in [STATEFUL(), DEPLOYED()] {
        for mode in [FreezeMode::Scale, FreezeMode::Sleep] {
            for before in specs(&workload) {
                let original = Original::of(&workload, mode, &before);
                // What is put back is what was read from the note, not what is in memory.
                let original: Original =
                    serde_json::from_str(&serde_json::to_string(&original).unwrap()).unwrap();
                let frozen = patched(&before, &original.freeze(&before).unwrap());
                assert_eq!(
                    original.freeze(&frozen).unwrap(),
                    [],
                    "freezing twice changes nothing"
                );
                assert_eq!(original.thawed(&frozen), None);
                let half = patched(&frozen, &original.restore(Part::Pods, &frozen).unwrap());
                let after = patched(&half, &original.restore(Part::Rollout, &half).unwrap());
                assert_eq!(canonical(&after), canonical(&before));
                assert!(!original.is_in(&after));
            }
        }
    }
}

#[test]
fn while_frozen_by_scale_there_are_no_pods_and_the_claims_stay() {
    for before in specs(&STATEFUL()) {
        let original = Original::of(&STATEFUL(), FreezeMode::Scale, &before);
        let frozen = patched(&before, &original.freeze(&before).unwrap());
        assert_eq!(frozen["spec"]["replicas"], 0);
        let policy = &frozen["spec"]["persistentVolumeClaimRetentionPolicy"];
        assert_eq!(
            policy,
            &json!({"whenDeleted": "Delete", "whenScaled": "Retain"})
        );
        // `whenScaled: Delete` at 0 replicas would delete the claims: the two go back in one patch.
        let thaw = original.restore(Part::Pods, &frozen).unwrap();
        assert_eq!(
            original
                .restore(Part::Rollout, &patched(&frozen, &thaw))
                .unwrap(),
            []
        );
    }
}

#[test]
fn while_asleep_nothing_but_sleepers_runs_and_every_pod_is_reached() {
    for workload in [STATEFUL(), DEPLOYED()] {
        for before in specs(&workload) {
            let original = Original::of(&workload, FreezeMode::Sleep, &before);
            let frozen = patched(&before, &original.freeze(&before).unwrap());
            let spec = &frozen["spec"]["template"]["spec"];
            for container in spec["containers"].as_array().unwrap() {
                assert_eq!(container["command"], json!(sleeper::COMMAND));
                let left: Vec<_> = container
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(String::as_str)
                    .collect();
                assert!(
                    left.iter()
                        .all(|field| ["name", "image", "command", "unknownField"].contains(field)),
                    "{left:?}"
                );
            }
            assert_eq!(spec.get("initContainers"), None);
            assert_eq!(original.sleepers().collect::<Vec<_>>(), ["log", "db"]);
            match workload {
                Workload::StatefulSet(_) => assert_eq!(get(&frozen, PARTITION), Some(&json!(0))),
                Workload::Deployment(_) => {
                    assert_eq!(frozen["spec"]["strategy"], json!({"type": "Recreate"}));
                }
            }
            assert_eq!(
                frozen["spec"].get("replicas"),
                before["spec"].get("replicas")
            );
        }
    }
}

#[test]
fn what_others_changed_beside_us_stays_and_what_they_changed_of_ours_is_refused() {
    let before = specs(&STATEFUL()).pop().unwrap();
    let original = Original::of(&STATEFUL(), FreezeMode::Sleep, &before);
    let mut frozen = patched(&before, &original.freeze(&before).unwrap());
    // Somebody puts a container in front, and another image: neither is ours.
    let containers = frozen["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap();
    containers.insert(0, json!({"name": "new", "image": "new:1"}));
    containers[2]["image"] = json!("db:2");
    let after = patched(&frozen, &original.restore(Part::Pods, &frozen).unwrap());
    let containers = &after["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0], json!({"name": "new", "image": "new:1"}));
    assert_eq!(containers[2]["image"], "db:2");
    assert_eq!(containers[2]["command"], json!(["/bin/db"]));

    frozen["spec"]["template"]["spec"]["containers"][2]["args"] = json!(["--other"]);
    let changed = original.restore(Part::Pods, &frozen).unwrap_err();
    assert_eq!(changed.at, "/spec/template/spec/containers/db/args");
    assert_eq!(changed.now, Some(json!(["--other"])));
    assert_eq!(changed.was, Some(json!(["--data", "/data"])));
    // A container that is gone takes its fields with it: not ours to make again.
    frozen["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .remove(2);
    assert_eq!(original.freeze(&frozen).unwrap_err().now, None);
}

#[test]
fn the_note_keeps_other_annotations_and_tells_nothing_about_a_copy() {
    let belongs = Belongs {
        migration: "orders".to_owned(),
        home: "shop".to_owned(),
        run: "r1".to_owned(),
    };
    let before = specs(&STATEFUL()).pop().unwrap();
    let original = Original::of(&STATEFUL(), FreezeMode::Scale, &before);
    for annotations in [Value::Null, json!({"team": "a"})] {
        let mut object = json!({"metadata": {"name": "db", "uid": "u1"}, "spec": before["spec"]});
        if !annotations.is_null() {
            object["metadata"]["annotations"] = annotations.clone();
        }
        let parse =
            |object: &Value| serde_json::from_value::<DynamicObject>(object.clone()).unwrap();
        let mark = Mark::new(&belongs, "u1", FreezeMode::Scale, original.clone());
        let noted = patched(&object, &[mark.write(&parse(&object).metadata).unwrap()]);
        let found = Mark::read(&parse(&noted).metadata, "statefulset shop/db")
            .unwrap()
            .unwrap();
        assert_eq!(found, mark);
        assert!(found.is_of(&belongs));
        assert!(!found.is_of(&Belongs {
            run: "r2".to_owned(),
            ..belongs.clone()
        }));
        let mut copy = noted.clone();
        copy["metadata"]["uid"] = json!("u2");
        assert_eq!(
            Mark::read(&parse(&copy).metadata, "statefulset shop/db").unwrap(),
            None
        );
        let clean = patched(&noted, &[Mark::remove(&parse(&noted).metadata).unwrap()]);
        let left = clean["metadata"]
            .get("annotations")
            .cloned()
            .unwrap_or_default();
        assert_eq!(
            left,
            if annotations.is_null() {
                json!({})
            } else {
                annotations
            }
        );
    }
}

#[test]
fn a_note_of_a_newer_version_or_with_unknown_fields_is_refused() {
    let meta = |text: &str| {
        serde_json::from_value(
            json!({"uid": "u1", "annotations": {"kubectl-migrate/original": text}}),
        )
        .unwrap()
    };
    let read = |text: &str| {
        Mark::read(&meta(text), "statefulset shop/db")
            .unwrap_err()
            .message
    };
    let newer = read(r#"{"version": 2, "whatever": 1}"#);
    assert!(
        newer.contains("it has version 2, and this program reads version 1"),
        "{newer}"
    );
    let odd = read(
        r#"{"version":1,"migration":"m","home":"h","run":"r","uid":"u1","mode":"scale","original":[],"more":1}"#,
    );
    assert!(odd.contains("unknown field `more`"), "{odd}");
    assert!(read("{").starts_with(
        "statefulset shop/db was frozen, and its annotation kubectl-migrate/original cannot be read"
    ));
}
