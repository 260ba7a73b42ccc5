//! Several runners at one migration.
use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use rustix::{
    process::{Pid, Signal, kill_process},
    system::uname,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    proxy::{Fate, Proxy},
    small::{NAME, Small},
    support::{On, Running, end, wait_for},
};

/// A run that has got to the end of `step` and cannot write it down until the gate opens.
pub fn held(small: &Small, step: &str) -> Result<(Proxy, watch::Sender<bool>, Running)> {
    let (gate, opens) = watch::channel(false);
    let last = format!("{step} done");
    let proxy = Proxy::new(On::A, move |seen| {
        if seen.journal_write(NAME).as_ref() == Some(&last) {
            Fate::Hold(opens.clone())
        } else {
            Fate::Pass
        }
    })?;
    let mut running = proxy.start(small.run()?)?;
    running.until(&format!("{step}: started"))?;
    wait_for("the run to tell its step", || {
        let lease = small.source.get(&format!("lease/migrate-{NAME}"))?;
        let told = lease["metadata"]["annotations"]["kubectl-migrate/progress"].as_str();
        Ok(told.filter(|told| told.contains(step)).map(|_| ()))
    })?;
    Ok((proxy, gate, running))
}

/// Everything that a run could change, by its name, without what controllers write when they like.
fn versions(small: &Small) -> Result<Value> {
    let kinds = "configmaps,leases,statefulsets,persistentvolumeclaims,jobs,secrets";
    let mut all = serde_json::Map::new();
    for namespace in [&small.source, &small.target] {
        for item in namespace.get(kinds)?["items"].as_array().context("items")? {
            let mut item = item.clone();
            item["status"].take();
            for field in ["resourceVersion", "managedFields"] {
                item["metadata"][field].take();
            }
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let name = word(&item["metadata"]["name"]);
            all.insert(
                format!("{} {}/{name}", word(&item["kind"]), namespace.name),
                item,
            );
        }
    }
    Ok(Value::Object(all))
}

/// Each field that is not the same, by its path, as it was and as it is: whole objects are too long to be read.
fn changes(path: &str, before: &Value, after: &Value) -> Vec<String> {
    match (before, after) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
            let each =
                |name: &String| changes(&format!("{path}.{name}"), &before[name], &after[name]);
            names.into_iter().flat_map(each).collect()
        }
        _ if before == after => Vec::new(),
        _ => vec![format!("{path} was {before} and is {after}")],
    }
}

#[test]
fn a_change_is_named_by_its_field() {
    let before = json!({"Lease a/m": {"spec": {"holder": "one", "fence": 1}}, "Secret a/s": {}});
    let after = json!({"Lease a/m": {"spec": {"holder": "two", "fence": 1}}, "Job a/j": {}});
    assert_eq!(
        changes("", &before, &after),
        [
            ".Job a/j was null and is {}",
            ".Lease a/m.spec.holder was \"one\" and is \"two\"",
            ".Secret a/s was {} and is null",
        ]
    );
    assert!(changes("", &before, &before).is_empty());
}

#[test]
fn the_second_runner_names_the_first_and_takes_over_only_from_silence() -> Result<()> {
    let small = Small::new("runners")?;
    let (_proxy, gate, first) = held(&small, "warm-copy")?;
    let holder = format!(
        "held by process {} on {}",
        first.id(),
        uname().nodename().to_string_lossy()
    );
    let run = |more: &[&str]| small.migrate(&[&["run", NAME], more].concat());
    end(run(&[])?)?.with_code(11)?.says(&[
        &holder,
        "at step warm-copy",
        "status m -w",
        "run m --take-over",
    ])?;
    // It renews its Lease, so it is alive.
    end(run(&["--take-over"])?)?
        .with_code(11)?
        .says(&[&holder])?;

    let pid = Pid::from_raw(i32::try_from(first.id())?).context("a process number")?;
    kill_process(pid, Signal::STOP)?;
    end(run(&["--take-over"])?)?.with_code(13)?;
    small.is_moved()?;
    let before = versions(&small)?;
    // What it had sent before it was stopped arrives now, and after that it wakes.
    gate.send_replace(true);
    kill_process(pid, Signal::CONT)?;
    first.end()?.with_code(11)?.says(&[
        "this run lost its lock",
        "changed nothing since",
        "next:",
    ])?;
    let changed = changes("", &before, &versions(&small)?);
    ensure!(changed.is_empty(), "{}", changed.join("\n"));
    Ok(())
}

#[test]
fn two_runners_with_one_journal_file_do_not_meet() -> Result<()> {
    let small = Small::new("file")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("journal");
    let with = |file: &Path, args: &[&str]| -> Result<Command> {
        let mut command = small.migrate(args)?;
        command.arg("--journal").arg(file);
        Ok(command)
    };
    // It does not come to its end before the second one has come: it cannot freeze.
    let (gate, opens) = watch::channel(false);
    let proxy = Proxy::new(On::A, move |seen| {
        if seen.method == Method::PATCH && seen.target.contains("/statefulsets/") {
            Fate::Hold(opens.clone())
        } else {
            Fate::Pass
        }
    })?;
    let mut first = proxy.start(with(&file, &["run", "-f", &small.plan()])?)?;
    first.until("warm-copy: started")?;
    end(with(&file, &["run", NAME])?)?
        .with_code(11)?
        .says(&["held by another process", "next:"])?;
    gate.send_replace(true);
    first.end()?.with_code(13)?;
    end(with(&file, &["rollback", NAME, "--confirm", NAME])?)?.with_code(0)?;
    ensure!(small.source.get("statefulset/db")?["spec"] == small.spec);
    Ok(())
}
