//! A StatefulSet gets other volumes and keeps its name, its claims' names, and every record.
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};

use super::{
    kills::{Cuts, Kills},
    proxy::{Fate, Proxy, Seen},
    small::{NAME, Small},
    support::{Namespace, On, PlanFile, end, wait_for},
    workload::{self, Client, records},
};

const CLAIMS: [&str; 4] = ["data-db-0", "log-db-0", "data-db-1", "log-db-1"];

/// The volume of a claim.
fn volume(place: &Namespace, claim: &str) -> Result<String> {
    let claim = place.get(&format!("pvc/{claim}"))?;
    let name = claim["spec"]["volumeName"].as_str();
    Ok(name.context("a bound claim")?.to_owned())
}

fn volumes(place: &Namespace) -> Result<Vec<String>> {
    CLAIMS.iter().map(|claim| volume(place, claim)).collect()
}

/// Waits until these are gone: their provisioner deletes them after their claims.
fn are_gone(place: &Namespace, volumes: &[String]) -> Result<()> {
    for name in volumes {
        wait_for(&format!("volume {name} to be deleted"), || {
            let found = place.kubectl(&["get", "pv", name, "--ignore-not-found", "-o", "name"])?;
            Ok(found.is_empty().then_some(()))
        })?;
    }
    Ok(())
}

/// All claims are bound in this class, and the templates ask for it; the pods are ready.
fn is_of_class(place: &Namespace, class: &Value, size: &str) -> Result<()> {
    for claim in CLAIMS {
        let claim = place.get(&format!("pvc/{claim}"))?;
        ensure!(
            claim["spec"]["storageClassName"] == *class && claim["status"]["phase"] == "Bound",
            "{claim}"
        );
        ensure!(
            claim["metadata"]["labels"] == json!({"app": "db"}),
            "{claim}"
        );
    }
    let set = place.get("statefulset/db")?;
    let template = &set["spec"]["volumeClaimTemplates"][1]["spec"];
    ensure!(
        template["resources"]["requests"]["storage"] == size,
        "{template}"
    );
    let left = place.kubectl(&["get", "pvc,jobs,secrets", "-o", "name"])?;
    ensure!(left.lines().count() == CLAIMS.len() + 1, "{left}");
    place.ready("statefulset/db")
}

/// The records of each pod: none is missing, and there are as many as were acknowledged, at least.
fn have(folders: &[PathBuf], least: &[u64]) -> Result<Vec<u64>> {
    let mut there = Vec::new();
    for (folder, least) in folders.iter().zip(least) {
        let last = records(folder)?;
        ensure!(
            last >= *least,
            "{least} were acknowledged, and {last} are there"
        );
        there.push(last);
    }
    Ok(there)
}

fn logs(place: &Namespace) -> Result<Vec<PathBuf>> {
    ["log-db-0", "log-db-1"]
        .iter()
        .map(|claim| place.folder(claim))
        .collect()
}

#[test]
fn to_another_class_and_size_with_every_acknowledged_record_and_back() -> Result<()> {
    let place = Namespace::new(On::A, "data-place", &[])?;
    workload::start(&place, 2)?;
    let before = place.get("statefulset/db")?;
    let plan = |name: &str| {
        let spec = json!({
            "playbook": "statefulset", "source": {"statefulset": "db"},
            "target": {"storageClass": "other", "volumes": {"log": {"size": "128Mi"}}},
        });
        PlanFile::new(&place.name, name, spec)
    };
    let file = plan("grow")?;
    let run = || end(place.migrate(&["run", "-f", &file.path(), "--yes"])?);
    let shown = end(place.migrate(&["plan", "-f", &file.path()])?)?.with_code(0)?;
    for text in [
        "in place: 2 pods, 4 volumes",
        "swap",
        "give them back to the old volumes",
    ] {
        ensure!(shown.out.contains(text), "{}", shown.out);
    }
    let clients = ["db-0", "db-1"].map(|pod| Client::of(&place, pod));
    let (old, old_logs) = (volumes(&place)?, logs(&place)?);
    run()?.with_code(0)?;
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.push(client?.acknowledged()?);
    }
    is_of_class(&place, &json!("other"), "128Mi")?;
    have(&logs(&place)?, &acknowledged)?;
    let (new, kept) = (volumes(&place)?, have(&old_logs, &acknowledged)?);
    ensure!(
        new.iter().all(|name| !old.contains(name)),
        "{old:?} {new:?}"
    );
    for name in &old {
        let held = place.get(&format!("pv/{name}"))?;
        ensure!(held["status"]["phase"] == "Released", "{held}");
        ensure!(
            held["spec"]["persistentVolumeReclaimPolicy"] == "Retain",
            "{held}"
        );
    }
    // What is as it is wanted is left alone, also by another migration.
    run()?.with_code(0)?.says(&["every step is done"])?;
    let again = plan("again")?;
    let words = ["run", "-f", &again.path(), "--yes", "--error-unchanged"];
    end(place.migrate(&words)?)?
        .with_code(3)?
        .says(&["have that class and size"])?;

    let back = ["rollback", "grow", "--confirm", "grow"];
    end(place.migrate(&back)?)?.with_code(0)?;
    is_of_class(&place, &json!("standard"), "64Mi")?;
    ensure!(volumes(&place)? == old);
    ensure!(place.get("statefulset/db")?["spec"] == before["spec"]);
    have(&old_logs, &kept)?;
    are_gone(&place, &new)?;
    for name in &old {
        let held = place.get(&format!("pv/{name}"))?;
        ensure!(
            held["spec"]["persistentVolumeReclaimPolicy"] == "Delete",
            "{held}"
        );
        ensure!(
            !held["metadata"].to_string().contains("kubectl-migrate/"),
            "{held}"
        );
    }
    Ok(())
}

/// A small StatefulSet that gets volumes of another class.
fn small(name: &str, class: &str) -> Result<Small> {
    Small::with(name, |plan, _| {
        plan["target"] = json!({"storageClass": class, "size": "16Mi"});
        plan["objects"] = json!("require");
    })
}

/// Its pod runs on a volume of this class, with all its files.
fn is_there(small: &Small, class: &str) -> Result<Value> {
    small.source.ready("statefulset/db")?;
    let claim = small.source.get("pvc/data-db-0")?;
    ensure!(claim["spec"]["storageClassName"] == class, "{claim}");
    let rows = small.source.folder("data-db-0")?.join("rows");
    ensure!(std::fs::read_to_string(rows.join("20"))? == "row 20\n");
    let names = small
        .source
        .kubectl(&["get", "sts,pods,pvc,jobs,secrets", "-o", "name"])?;
    let spec = small.source.get("statefulset/db")?["spec"].clone();
    Ok(json!({"names": names, "spec": spec}))
}

/// What a request changes of claims, volumes or the StatefulSet from `retain` on; the same change of the same object has
/// the same name.
fn change(seen: &Seen) -> Option<String> {
    if !matches!(seen.method, Method::POST | Method::PATCH | Method::DELETE) {
        return None;
    }
    let path = seen.target.split('?').next().unwrap_or_default();
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let what = if path.contains("/persistentvolumes/") {
        let spec = &body["spec"];
        let part = if spec["claimRef"].is_object() {
            &spec["claimRef"]["name"]
        } else {
            &spec["persistentVolumeReclaimPolicy"]
        };
        // Its name is not known, and there are two.
        let role = if body["metadata"]["labels"]["kubectl-migrate/role"].is_string() {
            &body["metadata"]["labels"]["kubectl-migrate/role"]
        } else {
            &Value::Null
        };
        return Some(format!("{} persistentvolume {part} {role}", seen.method));
    } else if path.contains("/persistentvolumeclaims") || path.contains("/statefulsets") {
        path.rsplit('/').next().unwrap_or_default()
    } else {
        return None;
    };
    // The claims' marks, and the freeze, are other steps'.
    let of = match seen.method {
        Method::POST => body["metadata"]["name"].to_string(),
        Method::PATCH if path.contains("/persistentvolumeclaims") => return None,
        Method::PATCH => {
            let number = body[1]["value"].as_u64();
            format!("{} {number:?}", body[1]["path"])
        }
        _ => String::new(),
    };
    Some(format!("{} {what} {of}", seen.method))
}

struct Chain {
    small: Small,
    kills: Kills,
}

impl Chain {
    fn new(name: &str, kill: Option<Fate>) -> Result<Self> {
        Ok(Self {
            small: small(name, "other")?,
            kills: Kills::new(kill, change)?,
        })
    }

    fn there_and_back(&self) -> Result<[(Cuts, Value); 2]> {
        let there = self.kills.until_code(0, || self.small.run())?;
        let moved = is_there(&self.small, "other")?;
        let words = ["rollback", NAME, "--confirm", NAME];
        let back = self.kills.until_code(0, || self.small.migrate(&words))?;
        Ok([(there, moved), (back, self.small.is_back()?)])
    }
}

#[test]
fn killed_around_every_change_of_a_swap_it_comes_to_the_same_end() -> Result<()> {
    let chain = |name, kill| std::thread::spawn(move || Chain::new(name, kill)?.there_and_back());
    let uncut = chain("in-uncut", None);
    let before = chain("in-before", Some(Fate::KillBefore));
    let after = chain("in-after", Some(Fate::KillAfter));
    let join = |thread: std::thread::JoinHandle<Result<_>>| {
        thread.join().map_err(|_| anyhow::anyhow!("a panic"))?
    };
    let (uncut, before, after) = (join(uncut), join(before), join(after));
    let (uncut, before, after) = (uncut?, before?, after?);
    for (way, expected) in uncut.iter().enumerate() {
        for (when, killed) in [("before", &before[way]), ("after", &after[way])] {
            ensure!(
                killed.0 == expected.0,
                "killed {when} {:#?}, and a whole one asks for {:#?}",
                killed.0,
                expected.0
            );
            ensure!(
                killed.1 == expected.1,
                "killed {when} each change it ends with {:#}, and uncut with {:#}",
                killed.1,
                expected.1
            );
        }
    }
    let (there, back) = (uncut[0].0.len(), uncut[1].0.len());
    println!("before and after each of {there} changes of a run and {back} of a rollback");
    Ok(())
}

#[test]
fn rolled_back_after_a_step_it_has_its_old_volume_until_a_cleanup() -> Result<()> {
    // A class that binds when a pod comes: the mover is its first.
    let small = small("in-steps", "late")?;
    let old = volume(&small.source, "data-db-0")?;
    for step in ["retain done", "swap done"] {
        let proxy = Proxy::that_kills_after(On::A, NAME, step)?;
        let cut = proxy.end(small.run()?)?;
        ensure!(cut.code.is_none(), "{step}: {cut:?}");
        end(small.migrate(&["rollback", NAME, "--confirm", NAME])?)?.with_code(0)?;
        small.is_back()?;
        ensure!(volume(&small.source, "data-db-0")? == old, "after {step}");
    }
    // Down to a step, and on again.
    end(small.run()?)?.with_code(0)?;
    is_there(&small, "late")?;
    let to = ["rollback", NAME, "--to", "retain", "--confirm", NAME];
    end(small.migrate(&to)?)?.with_code(0)?;
    ensure!(volume(&small.source, "data-db-0")? == old);
    end(small.run()?)?.with_code(0)?;
    is_there(&small, "late")?;
    is_for_good(&small, &old)
}

/// A cleanup deletes the old volume, takes every note off, and ends the way back.
fn is_for_good(small: &Small, old: &str) -> Result<()> {
    let cleanup = |more: &[&str]| {
        let words = [&["cleanup", NAME, "--old-data"], more].concat();
        end(small.migrate(&words)?)
    };
    cleanup(&["-y"])?
        .with_code(2)?
        .says(&["persistentvolume", old, "add `--confirm m`"])?;
    cleanup(&["--confirm", NAME])?.with_code(0)?;
    are_gone(&small.source, &[old.to_owned()])?;
    is_there(small, "late")?;
    let name = volume(&small.source, "data-db-0")?;
    let held = small.source.get(&format!("pv/{name}"))?;
    ensure!(
        held["spec"]["persistentVolumeReclaimPolicy"] == "Delete",
        "{held}"
    );
    let set = small.source.get("statefulset/db")?["metadata"].to_string();
    ensure!(!set.contains("kubectl-migrate/"), "{set}");
    end(small.migrate(&["rollback", NAME, "--confirm", NAME])?)?
        .with_code(10)?
        .says(&[
            "cannot be rolled back",
            "was deleted by `cleanup --old-data`",
        ])?;
    cleanup(&["--confirm", NAME])?
        .with_code(0)?
        .says(&["left nothing behind"])?;
    Ok(())
}
