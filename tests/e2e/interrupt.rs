//! Ctrl-C and the end of a session: a run stops where it is safe, says how it goes on, and lets go of its lock.
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::{
    proxy::{Fate, Proxy},
    small::{NAME, Small},
    support::{Ended, On, end},
};

/// What a run says to the first signal.
const HEARD: &str = "stopping at the next safe point";

/// Sends signals to a run that is just about to write `at` to its journal; with `more` than one it never can.
fn interrupted(small: &Small, at: &str, signal: Signal, more: bool) -> Result<Ended> {
    let (gate, opens) = watch::channel(false);
    let (reached, mut arrival) = watch::channel(false);
    let held = at.to_owned();
    let proxy = Proxy::new(On::A, move |seen| {
        if seen.journal_write(NAME).as_ref() == Some(&held) {
            reached.send_replace(true);
            Fate::Hold(opens.clone())
        } else {
            Fate::Pass
        }
    })?;
    let mut running = proxy.start(small.run()?)?;
    super::support::wait_for(&format!("the run to write `{at}`"), || {
        let there = *arrival.borrow_and_update();
        Ok(there.then_some(()))
    })?;
    let pid = Pid::from_raw(i32::try_from(running.id())?).context("a process number")?;
    kill_process(pid, signal)?;
    running.until(HEARD)?;
    if more {
        kill_process(pid, signal)?;
    } else {
        gate.send_replace(true);
    }
    let ended = running.end()?;
    let lease = small.source.get(&format!("lease/migrate-{NAME}"))?;
    ensure!(lease["spec"]["holderIdentity"].is_null(), "{lease}");
    Ok(ended)
}

#[test]
fn an_interrupted_run_says_how_it_goes_on_and_lets_go_of_its_lock() -> Result<()> {
    let small = Small::new("interrupt")?;
    interrupted(&small, "warm-copy done", Signal::INT, false)?
        .with_code(130)?
        .says(&["interrupted before step `freeze`", "goes on from there"])?;
    interrupted(&small, "freeze started", Signal::INT, true)?
        .with_code(130)?
        .says(&[
            "error: interrupted",
            "the source is not frozen",
            "goes on from there",
        ])?;
    interrupted(&small, "freeze done", Signal::TERM, false)?
        .with_code(14)?
        .says(&[
            "interrupted before step `final-copy`",
            "the source has been frozen for",
            "goes on from there",
            "wakes the source",
        ])?;
    interrupted(&small, "final-copy started", Signal::INT, false)?
        .with_code(14)?
        .says(&["interrupted before step `final-copy`", "goes on from there"])?;
    // Whoever deletes the Lease does not make the journal unreadable.
    let lease = format!("lease/migrate-{NAME}");
    small.source.kubectl(&["delete", &lease])?;
    interrupted(&small, "verify done", Signal::TERM, true)?
        .with_code(14)?
        .says(&["error: interrupted", "goes on from there"])?;
    end(small.run()?)?.with_code(13)?;
    small.is_moved()?;
    let report = small.source.report(NAME)?;
    let fences: Vec<_> = report["runners"]
        .as_array()
        .context("runners")?
        .iter()
        .filter_map(|runner| runner["fence"].as_u64())
        .collect();
    // The second run was cut off before it wrote anything.
    ensure!(fences == [1, 3, 4, 5, 6], "{fences:?}");
    // A second rollback finds nothing to do.
    let undo = |more: &[&str]| {
        let words = [&["rollback", NAME, "--confirm", NAME], more].concat();
        end(small.migrate(&words)?)
    };
    undo(&["--dry-run=client"])?.with_code(0)?;
    small.is_moved()?;
    undo(&["--dry-run=server"])?.with_code(2)?;
    undo(&["--to", "nosuch"])?.with_code(2)?;
    undo(&[])?.with_code(0)?;
    undo(&[])?.with_code(0)?.says(&["unchanged"])?;
    undo(&["--error-unchanged"])?.with_code(3)?;
    small.is_back()?;
    Ok(())
}
