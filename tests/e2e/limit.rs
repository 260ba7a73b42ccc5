//! A copy that is slowed down, and let go again while it runs.
use std::{fs, os::unix::fs::FileExt as _, time::Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    support::{Namespace, On, Running, end, mover_image, wait_for},
    tree, workload,
};

const NAME: &str = "copy-from-to";
const FILES: u32 = 16;
/// Each is put in place, and counted, as soon as it is there.
const FILE: u64 = 8 << 20;
const FIRST: u64 = 4 << 20;
const SECOND: u64 = 16 << 20;
/// What goes out at once: a piece, and what was saved up.
const AT_ONCE: u64 = 3 << 20;

/// What `status` says of the migration.
fn status(namespace: &Namespace) -> Result<Value> {
    let told = end(namespace.migrate(&["status", NAME, "-o", "json"])?)?.with_code(0)?;
    let status: Value = serde_json::from_str(&told.out)?;
    Ok(status["items"][0].clone())
}

/// Waits until so many bytes are in place as the run tells it, and gives how many.
fn copied(namespace: &Namespace, least: u64) -> Result<u64> {
    wait_for(&format!("{least} bytes"), || {
        let now = status(namespace)?;
        let done = now["progress"]["done"].as_u64().unwrap_or(0);
        let here = now["current"]["step"] == "warm-copy" && done >= least;
        Ok(here.then_some(done))
    })
}

fn keeps_to(limit: u64, bytes: u64, since: Instant) -> Result<()> {
    let seconds = since.elapsed().as_secs_f64();
    let most = limit as f64 * seconds + AT_ONCE as f64;
    ensure!(
        bytes as f64 <= most,
        "{bytes} bytes in {seconds} s at {limit} a second"
    );
    Ok(())
}

#[test]
fn a_copy_is_limited_sped_up_while_it_runs_and_let_go() -> Result<()> {
    let namespace = Namespace::new(On::A, "data-limit", &[])?;
    namespace.apply(&[workload::claim("from", "512Mi")])?;
    let from = namespace.folder("from")?;
    for number in 0..FILES {
        tree::noise(&from.join(number.to_string()), FILE)?;
    }
    let image = mover_image()?;
    let words = ["copy", "pvc/from", "pvc/to", "--limit", "4MiB/s", "--yes"];
    let words = [&words[..], &["--mover-image", &image]].concat();
    let mut client = Running::start(namespace.migrate(&words)?)?;
    client.until("warm-copy: started")?;
    let began = Instant::now();
    let limit = |rate: &str| end(namespace.migrate(&["limit", NAME, rate])?);
    // Nobody has said anything else yet than the copy's own flag.
    limit("4Mi")?.with_code(0)?.says(&["unchanged"])?;
    let first = copied(&namespace, 2 * FILE)?;
    keeps_to(FIRST, first, began)?;
    let now = status(&namespace)?;
    ensure!(now["limitBytesPerSecond"] == FIRST, "{now}");
    ensure!(now["progress"]["limited"]["by"] == "limit", "{now}");

    limit("16MiB/s")?
        .with_code(0)?
        .says(&["limited to 16MiB/s", "within seconds"])?;
    client.until("copying is limited to 16MiB/s now")?;
    let now = status(&namespace)?;
    ensure!(now["limitBytesPerSecond"] == SECOND, "{now}");
    let then = now["progress"]["done"].as_u64().unwrap_or(0);
    keeps_to(SECOND, then, began)?;

    limit("none")?.with_code(0)?.says(&["not limited"])?;
    client.until("copying is not limited any more")?;
    client.end()?.with_code(0)?;
    let to = namespace.folder("to")?;
    tree::assert_equal(&from, &to, 0)?;
    let report = namespace.report(NAME)?;
    let volume = &report["outputs"]["warm-copy"]["volumes"][0];
    let seconds = volume["seconds"].as_f64().context("no seconds")?;
    // What was there when the first limit was raised had come at its rate.
    let least = (first - AT_ONCE) as f64 / FIRST as f64;
    ensure!(seconds >= least, "{seconds} s, and {least} s at least");
    ensure!(volume["bytes_sent"] == u64::from(FILES) * FILE, "{volume}");
    ensure!(report["outputs"]["warm-copy"]["limit"].is_null());
    // It was let go before half of the bytes had come: until then it took by far the most of the time.
    ensure!(volume["limited"]["by"] == "limit", "{volume}");
    reads_both_sides_again(&namespace, &report)?;
    println!("{first} bytes within {seconds:.1} s of the round, {least:.1} s at least");

    let after = ["limit", NAME, "1MiB/s", "--error-unchanged"];
    end(namespace.migrate(&after)?)?
        .with_code(3)?
        .says(&["it is done"])?;
    Ok(())
}

/// The receipt holds until somebody writes to the target, and says where.
fn reads_both_sides_again(namespace: &Namespace, report: &Value) -> Result<()> {
    let receipt = &report["outputs"]["verify"]["volumes"][0];
    let counts = ["files", "directories", "links", "bytes"].map(|count| receipt[count].as_u64());
    let files = u64::from(FILES);
    ensure!(
        counts == [Some(files), Some(1), Some(0), Some(files * FILE)],
        "{receipt}"
    );
    let image = receipt["source_image"].as_str().unwrap_or_default();
    ensure!(image.contains("sha256:"), "{receipt}");

    let verify = ["report", NAME, "--verify"];
    let told = end(namespace.migrate(&verify)?)?
        .with_code(0)?
        .says(&["is on both sides what was verified"])?;
    ensure!(told.out.contains("Read again"), "{told:?}");
    let file = fs::File::options()
        .write(true)
        .open(namespace.folder("to")?.join("3"))?;
    file.write_all_at(b"flipped", FILE / 2)?;
    drop(file);
    let told = end(namespace.migrate(&verify)?)?.with_code(12)?.says(&[
        "the target of 1 of 1 volumes is not what was verified; the source still is, whole",
        "changed since it was verified, and no pod uses it now",
        "from: 3: content: source ",
    ])?;
    ensure!(told.out.contains("changed"), "{told:?}");
    let checked = &namespace.report(NAME)?["checked"];
    ensure!(
        checked["equal"] == false && checked["ageSeconds"].is_number(),
        "{checked}"
    );
    let jobs = namespace.get("jobs,secrets")?;
    ensure!(
        jobs["items"].as_array().is_some_and(Vec::is_empty),
        "{jobs}"
    );
    Ok(())
}

#[test]
fn a_limit_that_was_said_counts_for_the_run_that_goes_on() -> Result<()> {
    let namespace = Namespace::new(On::A, "data-limited", &[])?;
    namespace.apply(&[workload::claim("from", "512Mi")])?;
    let from = namespace.folder("from")?;
    for number in 0..4 {
        tree::noise(&from.join(number.to_string()), FILE)?;
    }
    let image = mover_image()?;
    let words = ["copy", "pvc/from", "pvc/to", "--limit", "256KiB/s", "--yes"];
    let words = [&words[..], &["--mover-image", &image]].concat();
    let mut client = Running::start(namespace.migrate(&words)?)?;
    client.until("warm-copy: started")?;
    client.kill()?;
    let limit = ["limit", NAME, "8MiB/s"];
    end(namespace.migrate(&limit)?)?.with_code(0)?;
    // With the copy's own limit this would take two minutes.
    end(namespace.migrate(&["run", NAME])?)?
        .with_code(0)?
        .says(&["copying is limited to 8MiB/s now"])?;
    tree::assert_equal(&from, &namespace.folder("to")?, 0)?;
    let report = namespace.report(NAME)?;
    ensure!(report["outputs"]["warm-copy"]["limit"] == 8 << 20);

    // Interrupted, it takes its movers away itself; killed, it leaves them to `cleanup`.
    for killed in [false, true] {
        let mut client = Running::start(namespace.migrate(&["report", NAME, "--verify"])?)?;
        client.until("receipt: started")?;
        wait_for("a mover", || {
            let jobs = namespace.get("jobs")?;
            let there = jobs["items"]
                .as_array()
                .is_some_and(|jobs| !jobs.is_empty());
            Ok(there.then_some(()))
        })?;
        if killed {
            client.kill()?;
            break;
        }
        let pid = Pid::from_raw(i32::try_from(client.id())?).context("a process number")?;
        kill_process(pid, Signal::INT)?;
        client.end()?.with_code(130)?;
        let left = namespace.get("jobs,secrets")?;
        ensure!(
            left["items"].as_array().is_some_and(Vec::is_empty),
            "{left}"
        );
    }
    let words = ["cleanup", NAME, "-y"];
    end(namespace.migrate(&words)?)?
        .with_code(0)?
        .says(&["a mover", "keys of the movers"])?;
    let left = namespace.get("jobs,secrets")?;
    ensure!(
        left["items"].as_array().is_some_and(Vec::is_empty),
        "{left}"
    );
    Ok(())
}
