//! Movers are lost in the middle of a copy: it goes on, and sends nothing again that was complete.
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::process::{Signal, kill_process};
use serde_json::json;
use tokio::sync::watch;

use super::{
    gate::Gate,
    processes::{self, Held},
    proxy::{Fate, Proxy, Seen},
    small::{NAME, Small},
    support::{Namespace, On, Running, mover_image, output_of, wait_for},
    tree, workload,
};

/// Files that are put in place as soon as each is complete; most of each is a hole.
const FILES: usize = 100;
const EACH: u64 = 8 << 20;
const DATA: u64 = 256 << 10;

/// Which mover is lost when so many of a hundred files are complete, and how.
#[derive(Clone, Copy)]
struct Lost {
    complete: usize,
    side: &'static str,
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
pub enum How {
    /// Its process is killed with -9.
    Killed,
    /// Somebody deletes the pod.
    Deleted,
    /// A node under pressure, or a drain, evicts it.
    Evicted,
}

const fn lost(complete: usize, side: &'static str, how: How) -> Lost {
    Lost {
        complete,
        side,
        how,
    }
}

#[test]
fn lost_movers_are_replaced_and_what_is_complete_is_not_sent_again() -> Result<()> {
    use How::{Deleted, Evicted};
    // A Job waits longer before each new try, so that each mover is lost once.
    let cases = [
        [lost(1, "source", Deleted), lost(50, "target", Deleted)],
        [lost(1, "target", Deleted), lost(99, "source", Deleted)],
        [lost(50, "source", Deleted), lost(99, "target", Deleted)],
        [lost(30, "source", Evicted), lost(70, "target", Evicted)],
    ];
    thread::scope(|scope| {
        let copies: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(number, losses)| scope.spawn(move || copy(number, losses)))
            .collect();
        copies.into_iter().try_for_each(|copy| {
            copy.join()
                .map_err(|_| anyhow!("a copy's thread panicked"))?
        })
    })
}

fn copy(number: usize, losses: &[Lost]) -> Result<()> {
    let namespace = Namespace::new(On::A, &format!("data-lost-{number}"), &[])?;
    namespace.apply(&[workload::claim("from", "1Gi"), workload::claim("to", "1Gi")])?;
    let (source, target) = (namespace.folder("from")?, namespace.folder("to")?);
    for file in 0..FILES {
        let file = source.join(format!("{file:02}"));
        tree::noise(&file, DATA)?;
        File::options().write(true).open(&file)?.set_len(EACH)?;
    }
    let gate = Gate::new(&source)?;
    let mut command = namespace.migrate(&["copy", "pvc/from", "pvc/to", "--yes"])?;
    command.args(["--mover-image", &mover_image()?]);
    let mut client = Running::start(command)?;
    client.until("warm-copy: started")?;
    let run = processes::run_of(&namespace, "copy-from-to")?;
    let mut complete = BTreeMap::<String, u64>::new();
    for lost in losses {
        gate.open_to(lost.complete, complete.keys().cloned().collect());
        wait_for(&format!("{} files", lost.complete), || {
            Ok((whole(&target)?.len() == lost.complete).then_some(()))
        })?;
        let victims = processes::movers(&run, lost.side)?;
        lose(&namespace, &run, lost.side, lost.how)?;
        wait_for("the mover's end", || {
            let alive = processes::movers(&run, lost.side)?;
            let gone = victims.iter().all(|victim| !alive.contains(victim));
            Ok(gone.then_some(()))
        })?;
        complete = whole(&target)?;
        ensure!(complete.len() == lost.complete, "{complete:?}");
    }
    drop(gate);
    let ended = client.end()?.with_code(0)?;
    let now = whole(&target)?;
    for (name, inode) in &complete {
        // What is sent again is another file, put in the place of the first.
        ensure!(now.get(name) == Some(inode), "{name} was sent again");
    }
    let told = ended.err.matches("going on with what is there").count();
    ensure!(told >= losses.len(), "{}", ended.err);
    let report = namespace.report("copy-from-to")?;
    let sent = &report["outputs"]["warm-copy"]["volumes"][0]["files_sent"];
    let sent = sent.as_u64().context("no files_sent")?;
    ensure!(
        sent <= u64::try_from(FILES - complete.len())?,
        "{sent} files were sent, and {} were there",
        complete.len()
    );
    tree::assert_equal(&source, &target, 0)
}

/// A gate before a write to the journal.
fn gated(wanted: &'static str) -> (watch::Sender<bool>, impl Fn(&Seen) -> Option<Fate>) {
    let (gate, opens) = watch::channel(false);
    let fate = move |seen: &Seen| {
        let here = seen.journal_write(NAME).as_deref() == Some(wanted);
        here.then(|| Fate::Hold(opens.clone()))
    };
    (gate, fate)
}

#[test]
fn a_mover_lost_while_frozen_is_replaced_in_copying_and_in_comparing() -> Result<()> {
    let small = Small::new("lost")?;
    let (copying, first) = gated("final-copy started");
    let (comparing, second) = gated("verify started");
    let proxy = Proxy::new(On::A, move |seen| {
        first(seen).or_else(|| second(seen)).unwrap_or(Fate::Pass)
    })?;
    let mut client = proxy.start(small.run()?)?;
    let mut run = None;
    for (before, gate, now, side) in [
        ("freeze: done", copying, "final-copy: started", "target"),
        ("final-copy: done", comparing, "verify: started", "source"),
    ] {
        client.until(before)?;
        let run = match &mut run {
            Some(run) => run,
            none => none.insert(processes::run_of(&small.source, NAME)?),
        };
        let victims = processes::movers(run, side)?;
        ensure!(victims.len() == 1, "{victims:?}");
        let held = Held::new(&victims);
        gate.send_replace(true);
        client.until(now)?;
        let namespace = if side == "source" {
            &small.source
        } else {
            &small.target
        };
        lose(namespace, run, side, How::Deleted)?;
        wait_for("the mover's end", || {
            let alive = processes::movers(run, side)?;
            let gone = victims.iter().all(|victim| !alive.contains(victim));
            Ok(gone.then_some(()))
        })?;
        drop(held);
    }
    client.end()?.with_code(13)?;
    small.is_moved()?;
    Ok(())
}

/// The complete files of a target, and which files they are.
pub fn whole(target: &Path) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.insert(name, entry.metadata()?.ino());
        }
    }
    Ok(found)
}

/// Loses the movers of a run on one side.
pub fn lose(namespace: &Namespace, run: &str, side: &str, how: How) -> Result<()> {
    if how == How::Killed {
        for mover in processes::movers(run, side)? {
            kill_process(mover, Signal::KILL)?;
        }
        return Ok(());
    }
    let selector = format!("kubectl-migrate/run={run},kubectl-migrate/role=mover-{side}");
    let text = namespace.kubectl(&["get", "pods", "-l", &selector, "-o", "json"])?;
    let pods: serde_json::Value = serde_json::from_str(&text)?;
    let pod = pods["items"].as_array().into_iter().flatten().find(|pod| {
        pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"] == "Running"
    });
    let pod = pod.and_then(|pod| pod["metadata"]["name"].as_str());
    let pod = pod.with_context(|| format!("no mover runs: {text}"))?;
    if how == How::Deleted {
        namespace.kubectl(&["delete", "pod", pod, "--grace-period=1", "--wait=false"])?;
        return Ok(());
    }
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace.name},
        "deleteOptions": {"gracePeriodSeconds": 1},
    });
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("eviction.json");
    fs::write(&file, eviction.to_string())?;
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", namespace.name);
    let command: &mut Command =
        &mut namespace.command(&["create", "--raw", &path, "-f", &file.to_string_lossy()])?;
    output_of(command.stdin(Stdio::null()))?;
    Ok(())
}
