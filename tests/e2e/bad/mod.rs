//! What bad input gets on a real cluster: exit code and everything on standard error, whole; and after a
//! rollback nothing of it is left.
mod journal;
mod movers;
mod preflight;
mod target;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::{Ended, Namespace, PlanFile, end};

/// A StatefulSet of one pod with one volume that holds one file.
fn workload(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "replicas": 1, "serviceName": name, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "db", "image": "localhost/busybox:1",
                    "command": ["sh", "-c", "trap 'exit 0' TERM; echo 1 >/data/one; while :; do sleep 1 & wait; done"],
                    "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 60},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
            }},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Mi"}},
            }}],
        },
    })
}

/// The plan that moves a StatefulSet to another namespace.
fn to(statefulset: &str, namespace: &str) -> Value {
    json!({
        "playbook": "statefulset",
        "source": {"statefulset": statefulset},
        "target": {"namespace": namespace},
        "objects": "copy",
    })
}

/// Begins a migration, and tells how that ended.
fn run(source: &Namespace, name: &str, spec: Value) -> Result<Ended> {
    let plan = PlanFile::new(&source.name, name, spec)?;
    end(source.migrate(&["run", "-q", "-f", &plan.path()])?)
}

/// As a snapshot shows it.
fn told(what: &str, ended: &Ended) -> Result<String> {
    let code = ended.code.context("it was killed")?;
    ensure!(ended.out.is_empty(), "{}", ended.out);
    Ok(format!("# {what}\nexit {code}\n{}", ended.err))
}

/// What differs from one run of the tests to the next.
fn check(snapshot: &str, told: &[String]) {
    insta::with_settings!({filters => vec![
        // A namespace's name ends with the id of the tests' process.
        (r"(bad-[a-z]+(?:-[a-z]+)*)-\d+", "$1"),
        (r"-(source|target)-[a-z0-9]{5}\b", "-$1-[pod]"),
        // Either mover may be the first that cannot be pulled.
        (r"bad-movers(?:-target)?/migrate-image-0-(?:source|target)", "[side]/migrate-image-0-[side]"),
        (r"migrate-image-0-(?:source|target)", "migrate-image-0-[side]"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[uid]"),
        (r"kubectl-migrate:\S+", "[mover image]"),
        // Which events have come by then is a matter of luck, and none is needed to understand.
        (r"(?m)^ +event .*\n", ""),
        (r" after \d+(\.\d+)?s", " after [time]"),
    ]}, {
        insta::assert_snapshot!(snapshot, told.join("\n"));
    });
}

/// Rolls a migration back, and looks that nothing of it is left but its journal.
fn nothing_is_left(source: &Namespace, name: &str, target: &Namespace) -> Result<()> {
    end(source.migrate(&["rollback", name, "-q"])?)?.with_code(0)?;
    let marks = format!("kubectl-migrate/migration={name}");
    for place in [source, target] {
        let left = place.kubectl(&[
            "get",
            "jobs,pods,secrets,persistentvolumeclaims,statefulsets,services",
            "-l",
            &marks,
            "-o",
            "name",
        ])?;
        ensure!(left.is_empty(), "{name} left {left} in {}", place.name);
    }
    Ok(())
}
