//! A target that lacks what the pods refer to, or that is too small for the data.
use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{check, nothing_is_left, run, to, told, workload};
use crate::{
    support::{Namespace, On, end},
    tree,
};

#[test]
fn what_the_pods_refer_to_has_to_be_there_when_it_is_not_to_be_copied() -> Result<()> {
    let source = Namespace::new(On::A, "bad-objects", &[])?;
    let target = Namespace::new(On::A, "bad-objects-target", &[])?;
    let mut db = workload("db");
    let pod = &mut db["spec"]["template"]["spec"];
    pod["serviceAccountName"] = json!("db");
    pod["containers"][0]["envFrom"] = json!([
        {"configMapRef": {"name": "settings"}},
        {"secretRef": {"name": "password"}},
        {"secretRef": {"name": "perhaps", "optional": true}},
    ]);
    source.apply(&[
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "password"}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "db"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
            "spec": {"clusterIP": "None", "selector": {"app": "db"}}}),
        db,
    ])?;
    source.ready("statefulset/db")?;
    let mut required = to("db", &target.name);
    required["objects"] = json!("require");
    let ended = run(&source, "required", required)?;
    check(
        "objects",
        &[told("a target without what the pods refer to", &ended)?],
    );
    nothing_is_left(&source, "required", &target)
}

#[test]
fn a_smaller_target_is_taken_when_the_data_fits_and_refused_when_not() -> Result<()> {
    let source = Namespace::new(On::A, "bad-size", &[])?;
    let target = Namespace::new(On::A, "bad-size-target", &[])?;
    let mut db = workload("db");
    db["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] =
        json!("64Mi");
    source.apply(&[db])?;
    source.ready("statefulset/db")?;
    tree::noise(&source.folder("data-db-0")?.join("large"), 20 << 20)?;

    let mut small = to("db", &target.name);
    small["target"]["size"] = json!("8Mi");
    let ended = run(&source, "small", small)?;
    check("size", &[told("a target that is too small", &ended)?]);
    nothing_is_left(&source, "small", &target)?;

    let mut enough = to("db", &target.name);
    enough["target"]["size"] = json!("32Mi");
    run(&source, "enough", enough)?.with_code(13)?;
    // The pod that has been started there writes to another file.
    let large =
        |place: &Namespace| Ok::<_, anyhow::Error>(place.folder("data-db-0")?.join("large"));
    ensure!(fs::read(large(&source)?)? == fs::read(large(&target)?)?);
    let undo = ["rollback", "enough", "-q", "--confirm", "enough"];
    end(source.migrate(&undo)?)?.with_code(0)?;
    Ok(())
}
