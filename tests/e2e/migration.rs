//! A StatefulSet moves while it is written to: to another namespace, to another cluster, and without root.
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    support::{Namespace, On, PlanFile, end, mover_image},
    tree, wire,
    workload::{self, Client, records},
};

/// What a migration moves, and where it went.
struct Moved<'a> {
    source: &'a Namespace,
    target: &'a Namespace,
    /// The StatefulSet at the target.
    name: &'a str,
}

impl Moved<'_> {
    /// Every acknowledged record is at the target, and all trees are equal.
    fn is_whole(&self, clients: Vec<Client>, sockets: [usize; 3]) -> Result<()> {
        for (pod, (client, sockets)) in clients.into_iter().zip(sockets).enumerate() {
            let acknowledged = client.acknowledged()?;
            for volume in ["data", "log"] {
                let source = self.source.folder(&format!("{volume}-db-{pod}"))?;
                let name = format!("{volume}-{}-{pod}", self.name);
                let target = self.target.folder(&name)?;
                let sockets = if volume == "data" { sockets } else { 0 };
                tree::assert_equal(&source, &target, sockets).context(name)?;
                if volume == "log" {
                    let there = records(&target)?;
                    // The last one may have been written and not acknowledged any more.
                    ensure!(
                        (acknowledged..=acknowledged + 1).contains(&there),
                        "{acknowledged}, and {there} there"
                    );
                }
            }
        }
        let workload = format!("statefulset/{}", self.name);
        self.target.ready(&workload)?;
        for object in ["configmap/settings", "secret/password", "service/db"] {
            self.target.get(object)?;
        }
        let replicas = &self.source.get("statefulset/db")?["spec"]["replicas"];
        ensure!(*replicas == 0, "the source stays frozen");
        Ok(())
    }
}

fn clients(namespace: &Namespace) -> Result<Vec<Client>> {
    let pods = ["db-0", "db-1", "db-2"];
    pods.iter().map(|pod| Client::of(namespace, pod)).collect()
}

/// What was found on a volume, as `what` and how often.
fn finding(report: &Value, step: &str, volume: &str, what: &str) -> Option<u64> {
    report["findings"]
        .as_array()?
        .iter()
        .find(|found| found["step"] == step && found["volume"] == volume && found["what"] == what)?
        ["count"]
        .as_u64()
}

#[test]
fn to_another_namespace_name_class_and_size_with_every_acknowledged_record() -> Result<()> {
    let source = Namespace::new(On::A, "data-here", &[])?;
    let target = Namespace::new(On::A, "data-there", &[])?;
    workload::start(&source, 3)?;
    tree::fill(&source.folder("data-db-0")?)?;
    tree::noise(&source.folder("data-db-1")?.join("large"), 1 << 30)?;
    let plan = PlanFile::new(
        &source.name,
        "here",
        json!({
            "playbook": "statefulset", "source": {"statefulset": "db"}, "objects": "copy",
            "target": {"namespace": target.name, "statefulset": "moved", "storageClass": "other",
                "volumes": {"log": {"size": "96Mi"}}},
        }),
    )?;
    let clients = clients(&source)?;
    let run = source.migrate(&["run", "-f", &plan.path(), "--yes"])?;
    let told = end(run)?
        .with_code(13)?
        .says(&["step `hand-over` waits for you"])?;
    let moved = Moved {
        source: &source,
        target: &target,
        name: "moved",
    };
    moved.is_whole(clients, [1, 0, 0])?;

    for (claim, size) in [("data-moved-0", "2Gi"), ("log-moved-2", "96Mi")] {
        let spec = &target.get(&format!("pvc/{claim}"))?["spec"];
        ensure!(spec["storageClassName"] == "other", "{spec}");
        ensure!(spec["resources"]["requests"]["storage"] == size, "{spec}");
    }
    let report = source.report("here")?;
    ensure!(
        finding(&report, "final-copy", "data-db-0", "socket") == Some(1),
        "{report:#}"
    );
    let mark = [
        "mark",
        "here",
        "hand-over",
        "--done",
        "--reason",
        "switched",
    ];
    end(source.migrate(&mark)?)?.with_code(0)?;
    end(source.migrate(&["run", "here"])?)?.with_code(0)?;
    ensure!(source.report("here")?["state"] == "done");
    let journal = source.get("configmap/migrate-here")?.to_string();
    let report = source.report("here")?.to_string();
    for text in [journal, report, told.out, told.err] {
        ensure!(!text.contains(workload::PASSWORD), "a secret in {text}");
    }
    let left = ["get", "jobs,secrets", "-o", "name"];
    for place in [&source, &target] {
        ensure!(place.kubectl(&left)?.trim() == "secret/password");
    }
    Ok(())
}

#[test]
fn to_another_cluster_with_every_acknowledged_record() -> Result<()> {
    let _joined = wire::joined();
    let source = Namespace::new(On::A, "data-from", &[])?;
    let target = Namespace::new(On::B, "data-to", &[])?;
    workload::start(&source, 3)?;
    tree::fill(&source.folder("data-db-1")?)?;
    tree::noise(&source.folder("data-db-2")?.join("large"), 1 << 30)?;
    let plan = PlanFile::new(
        &source.name,
        "far",
        json!({
            "playbook": "statefulset", "source": {"statefulset": "db"}, "objects": "copy",
            "target": {"namespace": target.name},
        }),
    )?;
    let clients = clients(&source)?;
    let mut run = source.migrate(&["run", "-f", &plan.path(), "--yes"])?;
    run.args(["--to-kubeconfig", &On::B.kubeconfig()?]);
    end(run)?
        .with_code(13)?
        .says(&["step `hand-over` waits for you"])?;
    // Without that flag another cluster than the target's would be looked at.
    let undo = ["rollback", "far", "--confirm", "far"];
    end(source.migrate(&undo)?)?
        .with_code(1)?
        .says(&["no context \"test-b\""])?;
    // A kubeconfig that was edited since: its context of that name leads to another cluster.
    let text = fs::read_to_string(On::A.kubeconfig()?)?;
    let mut edited: serde_json::Value = serde_yaml::from_str(&text)?;
    edited["contexts"][0]["name"] = json!("test-b");
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), edited.to_string())?;
    for words in [&undo[..], &["run", "far"], &["cleanup", "far", "-y"]] {
        let mut command = source.migrate(words)?;
        command.arg("--to-kubeconfig").arg(file.path());
        end(command)?
            .with_code(10)?
            .says(&["is the journal of a migration to another cluster", "next:"])?;
    }
    let moved = Moved {
        source: &source,
        target: &target,
        name: "db",
    };
    moved.is_whole(clients, [0, 1, 0])?;

    // The two files as one, as many have them.
    let mut undo = source.migrate(&undo)?;
    let both = [On::A.kubeconfig()?, On::B.kubeconfig()?].join(":");
    undo.env("KUBECONFIG", both);
    end(undo)?.with_code(0)?;
    source.ready("statefulset/db")?;
    let left = ["get", "statefulsets,persistentvolumeclaims", "-o", "name"];
    ensure!(target.kubectl(&left)?.is_empty());
    Ok(())
}

/// A claim as fsGroup 999 would leave it: the cluster's host paths know no fsGroup.
fn shared_claim(place: &Namespace, claim: &str) -> Result<()> {
    place.apply(&[workload::claim(claim, "2Gi")])?;
    let folder = place.folder(claim)?;
    chown(&folder, Some(0), Some(999))?;
    Ok(fs::set_permissions(
        &folder,
        fs::Permissions::from_mode(0o2775),
    )?)
}

#[test]
fn where_root_is_forbidden_movers_run_as_the_workload_and_foreign_owners_are_findings() -> Result<()>
{
    let restricted = ["pod-security.kubernetes.io/enforce=restricted"];
    let source = Namespace::new(On::A, "data-strict", &restricted)?;
    let target = Namespace::new(On::A, "data-stricter", &restricted)?;
    let mut objects = workload::database(&source, 1);
    let pod = &mut objects[4]["spec"]["template"]["spec"];
    pod["securityContext"] = json!({
        "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999, "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    pod["containers"][0]["securityContext"] =
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    for place in [&source, &target] {
        for claim in ["data-db-0", "log-db-0"] {
            shared_claim(place, claim)?;
        }
    }
    source.apply(&objects)?;
    source.ready("statefulset/db")?;
    let folder = source.folder("data-db-0")?;
    fs::write(folder.join("own"), "own")?;
    chown(folder.join("own"), Some(999), Some(999))?;
    // It goes by blocks, into a file that its own owner may not write to.
    let sealed = folder.join("sealed");
    tree::noise(&sealed, 17 << 20)?;
    chown(&sealed, Some(999), Some(999))?;
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o400))?;
    fs::write(folder.join("foreign"), "foreign")?;
    chown(folder.join("foreign"), Some(1000), Some(1000))?;
    let plan = PlanFile::new(
        &source.name,
        "strict",
        json!({
            "playbook": "statefulset", "source": {"statefulset": "db"}, "objects": "copy",
            "target": {"namespace": target.name},
        }),
    )?;
    let run = source.migrate(&["run", "-f", &plan.path(), "--yes"])?;
    end(run)?.with_code(13)?;
    let there = target.folder("data-db-0")?;
    ensure!(fs::read(there.join("own"))? == b"own");
    ensure!(fs::read(&sealed)? == fs::read(there.join("sealed"))?);
    let mode = fs::metadata(there.join("sealed"))?.permissions().mode();
    ensure!(mode & 0o7777 == 0o400, "{mode:o}");
    ensure!(fs::read(there.join("foreign"))? == b"foreign");
    ensure!(
        records(&source.folder("log-db-0")?)? == records(&target.folder("log-db-0")?)?,
        "records were lost"
    );
    let report = source.report("strict")?;
    ensure!(
        finding(&report, "final-copy", "data-db-0", "owner") == Some(1),
        "{:#}",
        report["findings"]
    );

    // A single volume belongs to no workload: the user is named.
    shared_claim(&target, "again")?;
    let image = mover_image()?;
    let user = ["--run-as", "999:999", "--mover-image", &image, "--yes"];
    let words = [&["copy", "pvc/log-db-0", "pvc/again"], &user[..]].concat();
    end(target.migrate(&words)?)?.with_code(0)?;
    records(&target.folder("again")?)?;
    Ok(())
}
