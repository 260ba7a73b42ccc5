//! No registry has the movers' image: the program puts its own executable into pods of the workload's image.
use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::sync::watch;

use super::{
    processes,
    proxy::{Fate, Proxy, Seen},
    small::{NAME, Small},
    support::{On, end, output_of, wait_for},
};

/// Told for each pod that becomes a mover.
const STARTED: &str =
    "was put into image localhost/busybox:1, checked there by the image's sha256sum, and started";

fn with_put(name: &str) -> Result<Small> {
    Small::with(name, |plan, _| {
        plan["mover"] = json!({"executable": "put"});
    })
}

/// Whether a request is one that carries a piece of the executable.
fn is_piece(seen: &Seen) -> bool {
    seen.target.contains("/exec?") && seen.target.contains("command=append")
}

#[test]
fn without_a_registry_the_executable_is_put_into_the_workloads_image() -> Result<()> {
    let small = with_put("put")?;
    let pieces = Arc::new(AtomicUsize::new(0));
    let (gate, opens) = watch::channel(false);
    let proxy = Proxy::new(On::A, {
        let pieces = Arc::clone(&pieces);
        move |seen| {
            if is_piece(seen) {
                return match pieces.fetch_add(1, Ordering::Relaxed) {
                    // The client is killed while the executable is on its way; the next one meets a stream that breaks
                    // in the middle of a piece, and one of which a byte is changed.
                    4 => Fate::KillBefore,
                    7 => Fate::Break(1 << 20),
                    10 => Fate::Change(1000),
                    _ => Fate::Pass,
                };
            }
            match seen.journal_write(NAME).as_deref() {
                Some("final-copy started") => Fate::Hold(opens.clone()),
                _ => Fate::Pass,
            }
        }
    })?;
    let killed = proxy.end(small.run()?)?;
    ensure!(killed.code.is_none(), "{killed:?}");
    ensure!(!killed.err.contains(STARTED), "{}", killed.err);

    // While it is frozen, a mover is lost, and the one in its place needs the executable as well.
    let mut client = proxy.start(small.run()?)?;
    client.until("freeze: done")?;
    let run = processes::run_of(&small.source, NAME)?;
    let victims = processes::movers(&run, "target")?;
    ensure!(victims.len() == 1, "{victims:?}");
    let selector = format!("kubectl-migrate/run={run},kubectl-migrate/role=mover-target");
    let delete = [
        "delete",
        "pod",
        "-l",
        &selector,
        "--grace-period=1",
        "--wait=false",
    ];
    small.target.kubectl(&delete)?;
    wait_for("the mover's end", || {
        let alive = processes::movers(&run, "target")?;
        let gone = victims.iter().all(|victim| !alive.contains(victim));
        Ok(gone.then_some(()))
    })?;
    gate.send_replace(true);
    let ended = client.end()?.with_code(13)?;
    let started = ended.err.matches(STARTED).count();
    ensure!(started == 3, "{started} were started\n{}", ended.err);
    ensure!(pieces.load(Ordering::Relaxed) > 10, "too few pieces");
    small.is_moved()?;

    // The report names the very executable.
    let binary = std::env::var("MIGRATE_BIN").context("MIGRATE_BIN is not set")?;
    let sum = output_of(Command::new("sha256sum").arg(&binary))?;
    let digest = sum.split_whitespace().next().context("a digest")?;
    let told = output_of(Command::new(&binary).args(["version", "--digest"]))?;
    ensure!(
        told.contains(&format!("executable sha256:{digest}, ")),
        "{told}"
    );
    let report = small.source.report(NAME)?;
    let verified = &report["outputs"]["verify"]["volumes"][0];
    for image in ["source_image", "target_image"] {
        let image = verified[image].as_str().context("no image")?;
        ensure!(
            image.ends_with(&format!(" with executable sha256:{digest}")),
            "{image}"
        );
    }
    end(small.migrate(&["rollback", NAME, "-q", "--confirm", NAME])?)?.with_code(0)?;
    small.is_back()?;
    Ok(())
}

#[test]
fn an_executable_that_arrives_changed_is_not_run() -> Result<()> {
    let small = with_put("put-changed")?;
    let proxy = Proxy::new(On::A, |seen| {
        if is_piece(seen) {
            Fate::Change(1000)
        } else {
            Fate::Pass
        }
    })?;
    // A small one, as it is never run.
    let mut command = small.run()?;
    command.args(["--mover-executable", "/usr/bin/busybox"]);
    proxy
        .end(command)?
        .with_code(1)?
        .says(&["it arrived 3 times with another digest than it was sent with"])?;
    nothing_is_frozen(&small)
}

#[test]
fn what_cannot_be_a_mover_is_declined_with_its_reason_before_anything_is_frozen() -> Result<()> {
    let small = with_put("put-declined")?;
    let plan = small.plan();
    let run = |more: &[&str]| {
        let words = [&["run", "-f", plan.as_str()], more].concat();
        end(small.migrate(&words)?)
    };
    let back = || {
        let words = ["rollback", NAME, "-q", "--confirm", NAME];
        end(small.migrate(&words)?)?.with_code(0)
    };
    run(&["--mover-image", "localhost/none:1"])?
        .with_code(10)?
        .says(&[
            "where claim data-db-0 is used, and will not be pulled",
            "--mover-image",
        ])?;
    run(&["--mover-executable", &plan])?
        .with_code(10)?
        .says(&["is no executable for Linux: something else"])?;
    nothing_is_frozen(&small)?;

    // No shell: only its pod tells.
    run(&["--mover-image", "localhost/etcd:3.6"])?
        .with_code(10)?
        .says(&["the image needs a shell (`sh`)", "--mover-image"])?;
    nothing_is_frozen(&small)?;
    back()?;

    // A whole executable of Linux, and another program.
    run(&["--mover-executable", "/usr/bin/busybox"])?
        .with_code(10)?
        .says(&["it does not run there as what it is: it said `"])?;
    nothing_is_frozen(&small)?;
    // The plan is kept, and the executable is no part of it.
    end(small.migrate(&["run", NAME, "-q"])?)?.with_code(13)?;
    small.is_moved()?;
    Ok(())
}

/// Its pods run on, and nothing was copied.
fn nothing_is_frozen(small: &Small) -> Result<()> {
    let now = small.source.get("statefulset/db")?;
    ensure!(now["spec"] == small.spec, "{now}");
    let folder = small.source.folder("data-db-0")?;
    ensure!(fs::read_dir(folder)?.count() == 3, "its files are others");
    Ok(())
}
