//! Movers that cannot run: what keeps them from it is named, and the migration goes on when it is mended.
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{check, nothing_is_left, run, to, told, workload};
use crate::support::{Namespace, On, end, wait_for};

#[test]
fn what_keeps_a_mover_from_running_is_named() -> Result<()> {
    let source = Namespace::new(On::A, "bad-movers", &[])?;
    let target = Namespace::new(On::A, "bad-movers-target", &[])?;
    source.apply(&[workload("db"), workload("far")])?;
    source.ready("statefulset/db")?;
    source.ready("statefulset/far")?;

    let mut image = to("db", &target.name);
    image["mover"] = json!({"image": "localhost/none:1"});
    let mut unplaced = to("far", &target.name);
    // Nobody makes volumes of this class by themselves.
    unplaced["target"]["storageClass"] = json!("prepared");
    // Long enough for the other mover to run on a slow machine: it is this one that is waited for in vain.
    unplaced["mover"] = json!({"startWithin": "45s"});
    let cases: [(&str, &str, Value); 2] = [
        ("an image that cannot be pulled", "image", image),
        ("no node where it may run", "far", unplaced),
    ];
    let told_all = std::thread::scope(|scope| -> Result<Vec<String>> {
        let running: Vec<_> = cases
            .into_iter()
            .map(|(what, name, spec)| {
                let (source, target) = (&source, &target);
                scope.spawn(move || -> Result<String> {
                    let told = told(what, &run(source, name, spec)?)?;
                    nothing_is_left(source, name, target)?;
                    Ok(told)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|one| one.join().ok().context("a case panicked")?)
            .collect()
    })?;
    check("movers", &told_all);
    Ok(())
}

#[test]
fn what_a_namespace_forbids_is_named_and_forgotten_when_it_is_allowed() -> Result<()> {
    let source = Namespace::new(On::A, "bad-quota", &[])?;
    let target = Namespace::new(On::A, "bad-quota-target", &[])?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    let strict = Namespace::new(On::A, "bad-strict", &[label])?;
    source.apply(&[workload("db")])?;
    source.ready("statefulset/db")?;
    target.kubectl(&["create", "quota", "few", "--hard=pods=0"])?;
    // The API server hears of it a moment later, and of its figures after that.
    let made = || target.kubectl(&["run", "probe", "--image=none", "--dry-run=server"]);
    wait_for("the quota to be in force", || {
        let said = made().err().map(|error| format!("{error:#}"));
        Ok(said.filter(|said| said.contains("exceeded quota")))
    })?;

    let mut root = to("db", &strict.name);
    root["mover"] = json!({"runAs": "root"});
    let strict = run(&source, "strict", root)?;
    let quota = run(&source, "quota", to("db", &target.name))?;
    check(
        "forbidden",
        &[
            told("a quota without room for a pod", &quota)?,
            told("Pod Security that forbids root", &strict)?,
        ],
    );

    target.kubectl(&["delete", "quota", "few"])?;
    wait_for("the quota to be forgotten", || Ok(made().ok()))?;
    end(source.migrate(&["run", "quota", "-q"])?)?.with_code(13)?;
    let undo = ["rollback", "quota", "-q", "--confirm", "quota"];
    end(source.migrate(&undo)?)?.with_code(0)?;
    nothing_is_left(&source, "quota", &target)?;
    source.ready("statefulset/db")
}
