//! Several runners at one migration.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use rustix::{
    process::{Pid, Signal, kill_process},
    system::uname,
};
use serde_json::Value;
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

/// Everything that a run could change by its name, without what controllers write when they like.
fn versions(small: &Small) -> Result<BTreeMap<String, Value>> {
    let kinds = "configmaps,leases,statefulsets,persistentvolumeclaims,jobs,secrets";
    let mut all = BTreeMap::new();
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
    Ok(all)
}

/// The objects that are not the same, each as it was and as it is.
fn changes(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let of = |all: &BTreeMap<String, Value>, name: &String| {
        all.get(name).map_or("absent".to_owned(), Value::to_string)
    };
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            format!(
                "{name} was {}\nand is {}",
                of(before, name),
                of(after, name)
            )
        })
        .collect()
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
    let changed = changes(&before, &versions(&small)?);
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
