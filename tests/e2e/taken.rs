//! Target claims that somebody else uses, or has used since: what others wrote is never deleted.
use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    gate::Gate,
    small::{NAME, Small},
    support::{Namespace, On, Running, end, mover_image, wait_for},
    tree, workload,
};

/// A pod that mounts a claim, writes one file to it and stays.
fn guest(claim: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "guest"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "guest", "image": "localhost/busybox:1",
                "command": ["sh", "-c", "echo mine >/data/mine; sleep 100000 & wait $!"],
                "readinessProbe": {"exec": {"command": ["test", "-e", "/data/mine"]}, "periodSeconds": 1, "timeoutSeconds": 60},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        },
    })
}

fn come(namespace: &Namespace, claim: &str) -> Result<()> {
    namespace.apply(&[guest(claim)])?;
    let ready = [
        "wait",
        "--for=condition=Ready",
        "--timeout=900s",
        "pod/guest",
    ];
    namespace.kubectl(&ready)?;
    Ok(())
}

/// The size of each of two files.
const LARGE: u64 = 16 << 20;

/// Of a source's two files one is let through: the copy is in the middle until this is dropped.
fn one_of_two(source: &Path) -> Result<Gate> {
    let gate = Gate::new(source)?;
    gate.open_to(1, BTreeSet::new());
    Ok(gate)
}

/// Waits until a target has a complete file.
fn until_one_is_there(target: &Path) -> Result<()> {
    wait_for("the first file", || {
        let there: Vec<_> = fs::read_dir(target)?.collect::<Result<_, _>>()?;
        let complete = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
        Ok(there.iter().any(complete).then_some(()))
    })
}

fn leave(namespace: &Namespace) -> Result<()> {
    namespace.kubectl(&["delete", "pod", "guest", "--timeout=900s"])?;
    Ok(())
}

#[test]
fn a_target_that_a_pod_uses_is_left_alone_and_what_was_released_is_never_emptied() -> Result<()> {
    let namespace = Namespace::new(On::A, "data-taken", &[])?;
    namespace.apply(&[workload::claim("from", "1Gi"), workload::claim("to", "1Gi")])?;
    let (source, target) = (namespace.folder("from")?, namespace.folder("to")?);
    tree::noise(&source.join("large"), LARGE)?;
    tree::noise(&source.join("other"), LARGE)?;
    let image = mover_image()?;
    let words = [
        "copy",
        "pvc/from",
        "pvc/to",
        "--yes",
        "--mover-image",
        &image,
    ];
    let named = format!("pod {}/guest uses", namespace.name);

    // An idle pod, which has not written yet, of an empty claim.
    come(&namespace, "to")?;
    fs::remove_file(target.join("mine"))?;
    end(namespace.migrate(&words)?)?
        .with_code(10)?
        .says(&[&named])?;
    leave(&namespace)?;

    // One that comes while the copy is under way.
    let gate = one_of_two(&source)?;
    let mut client = Running::start(namespace.migrate(&words)?)?;
    client.until("warm-copy: started")?;
    until_one_is_there(&target)?;
    come(&namespace, "to")?;
    drop(gate);
    let refused = client.end()?.with_code(10)?.says(&[&named])?;
    ensure!(!refused.err.contains("final-copy: done"), "{}", refused.err);
    // Nor does a rollback delete anything under it.
    let undo = ["rollback", "copy-from-to", "--yes"];
    end(namespace.migrate(&undo)?)?
        .with_code(10)?
        .says(&[&named])?;
    leave(&namespace)?;
    end(namespace.migrate(&undo)?)?.with_code(0)?;
    ensure!(fs::read_dir(&target)?.next().is_none(), "it is empty again");

    // After the end nobody can tell any more who wrote what.
    end(namespace.migrate(&words)?)?.with_code(0)?;
    tree::assert_equal(&source, &target, 0)?;
    come(&namespace, "to")?;
    end(namespace.migrate(&undo)?)?
        .with_code(0)?
        .says(&["the data on persistentvolumeclaim", "stays"])?;
    ensure!(fs::read(target.join("mine"))? == b"mine\n");
    ensure!(fs::metadata(target.join("large"))?.len() == LARGE);
    let labels = &namespace.get("pvc/to")?["metadata"]["labels"];
    ensure!(labels.is_null(), "{labels}");
    let left = namespace.kubectl(&["get", "jobs,secrets", "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}

#[test]
fn a_claim_for_one_pod_alone_is_taken_like_any_other_and_emptied_by_rollback() -> Result<()> {
    let namespace = Namespace::new(On::A, "data-alone", &[])?;
    let mut from = workload::claim("from", "1Gi");
    from["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    namespace.apply(&[from, workload::claim("to", "1Gi")])?;
    let (source, target) = (namespace.folder("from")?, namespace.folder("to")?);
    tree::noise(&source.join("large"), LARGE)?;
    tree::noise(&source.join("other"), LARGE)?;
    let image = mover_image()?;
    let words = [
        "copy",
        "pvc/from",
        "pvc/to",
        "--yes",
        "--mover-image",
        &image,
    ];
    let undo = ["rollback", "copy-from-to", "--yes"];

    fs::write(target.join("foreign"), "foreign")?;
    end(namespace.migrate(&words)?)?
        .with_code(10)?
        .says(&["it holds 1 entries, such as foreign"])?;
    end(namespace.migrate(&undo)?)?.with_code(0)?;
    ensure!(fs::read(target.join("foreign"))? == b"foreign");
    fs::remove_file(target.join("foreign"))?;

    let gate = one_of_two(&source)?;
    let mut client = Running::start(namespace.migrate(&words)?)?;
    client.until("final-copy: started")?;
    until_one_is_there(&target)?;
    client.kill()?;
    drop(gate);
    end(namespace.migrate(&undo)?)?.with_code(0)?;
    let left: Vec<_> = fs::read_dir(&target)?.collect::<Result<_, _>>()?;
    ensure!(left.is_empty(), "{left:?}");

    end(namespace.migrate(&words)?)?.with_code(0)?;
    tree::assert_equal(&source, &target, 0)
}

#[test]
fn a_claim_under_a_workload_that_became_somebody_s_is_not_deleted() -> Result<()> {
    let small = Small::new("theirs")?;
    end(small.run()?)?.with_code(13)?;
    let labels = ["kubectl-migrate/run-", "kubectl-migrate/migration-"];
    let unlabel = [&["label", "statefulset/db"][..], &labels].concat();
    small.target.kubectl(&unlabel)?;
    let back = || end(small.migrate(&["rollback", NAME, "--yes", "--confirm", NAME])?);
    back()?
        .with_code(10)?
        .says(&["db-0 uses persistentvolumeclaim", "stop that pod"])?;
    small.source.ready("statefulset/db")?;
    let claim = small.target.get("pvc/data-db-0")?;
    ensure!(claim["metadata"]["deletionTimestamp"].is_null(), "{claim}");
    small.target.ready("statefulset/db")?;
    for gone in ["statefulset/db", "pod/db-0"] {
        let delete = ["delete", gone, "--ignore-not-found", "--timeout=900s"];
        small.target.kubectl(&delete)?;
    }
    back()?.with_code(0)?;
    small.is_back()?;
    Ok(())
}
