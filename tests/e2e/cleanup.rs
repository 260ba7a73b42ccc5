//! What is deleted for good: only what was moved and proved, and never the last copy.
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    proxy::{Fate, Proxy},
    small::{NAME, Small},
    support::{Ended, Namespace, On, end, mover_image, wait_for},
    workload,
};

const OLD: [&str; 3] = ["cleanup", NAME, "--old-data"];

fn old_data(small: &Small, more: &[&str]) -> Result<Ended> {
    end(small.migrate(&[&OLD[..], more].concat())?)
}

/// The uids of a StatefulSet and its claim, as far as they are there.
fn uids(place: &Namespace) -> Result<Vec<Value>> {
    let kinds = "statefulsets,persistentvolumeclaims";
    let list = place.get(kinds)?;
    let items = list["items"].as_array().context("items")?;
    let there = items
        .iter()
        .filter(|item| item["metadata"]["deletionTimestamp"].is_null());
    Ok(there.map(|item| item["metadata"]["uid"].clone()).collect())
}

fn mark(small: &Small) -> Result<()> {
    let words = ["mark", NAME, "hand-over", "--done", "--reason", "a test"];
    end(small.migrate(&words)?)?.with_code(0)?;
    Ok(())
}

#[test]
fn cleanup_refuses_while_needed_and_deletes_only_what_was_moved() -> Result<()> {
    let small = Small::new("cleanup")?;
    let (proxy, gate) = Proxy::that_holds(On::A, NAME, "hand-over waiting")?;
    let mut running = proxy.start(small.run()?)?;
    running.until("hand-over: started")?;
    old_data(&small, &["--confirm", NAME])?
        .with_code(11)?
        .says(&["is held by process", "status m -w"])?;
    gate.send_replace(true);
    running.end()?.with_code(13)?;
    let (source, target) = (uids(&small.source)?, uids(&small.target)?);
    ensure!(source.len() == 2 && target.len() == 2);
    let untouched = || -> Result<()> {
        ensure!(uids(&small.source)? == source && uids(&small.target)? == target);
        Ok(())
    };
    for words in [
        &["cleanup", NAME, "-y"][..],
        &[&OLD[..], &["--confirm", NAME]].concat(),
    ] {
        end(small.migrate(words)?)?
            .with_code(10)?
            .says(&["is waiting: what it made is still needed", "next:"])?;
    }
    end(small.migrate(&["mark", NAME, "nosuch", "--done", "--reason", "x"])?)?.with_code(2)?;
    mark(&small)?;
    untouched()?;

    old_data(&small, &["-q", "-y"])?.with_code(2)?.says(&[
        "KIND",
        "statefulset",
        "data-db-0",
        "add `--confirm m`",
    ])?;
    old_data(&small, &["--confirm", "other"])?.with_code(2)?;
    old_data(&small, &["--dry-run=client"])?
        .with_code(0)?
        .says(&["data-db-0"])?;
    let checked = old_data(&small, &["--dry-run=server"])?.with_code(0)?;
    ensure!(
        checked
            .out
            .contains("statefulset/db deleted (server dry run)"),
        "{checked:?}"
    );
    untouched()?;
    old_data(&small, &["--confirm", NAME])?.with_code(0)?;
    ensure!(uids(&small.source)?.is_empty() && uids(&small.target)? == target);
    let undo = ["rollback", NAME, "--confirm", NAME];
    end(small.migrate(&undo)?)?.with_code(10)?.says(&[
        "the target is the only copy",
        "statefulset",
        "is gone",
        "was deleted by `cleanup --old-data` at",
        "next:",
    ])?;
    ensure!(uids(&small.target)? == target);
    small.target.ready("statefulset/db")?;
    old_data(&small, &["--confirm", NAME])?
        .with_code(0)?
        .says(&["left nothing behind"])?;
    end(small.migrate(&["cleanup", NAME, "--forget", "--confirm", NAME])?)?.with_code(0)?;
    ensure!(small.journal().is_err());
    Ok(())
}

#[test]
fn a_source_that_may_hold_more_or_is_another_one_is_kept() -> Result<()> {
    let small = Small::new("keep")?;
    end(small.run()?)?.with_code(13)?;
    let undo = ["rollback", NAME, "--confirm", NAME];
    end(small.migrate(&undo)?)?.with_code(0)?;
    old_data(&small, &["--confirm", NAME])?
        .with_code(10)?
        .says(&["is rolled-back: its source is the only copy"])?;
    small.source.ready("statefulset/db")?;

    end(small.run()?)?.with_code(13)?;
    mark(&small)?;
    small
        .source
        .kubectl(&["scale", "statefulset/db", "--replicas=1"])?;
    old_data(&small, &["--confirm", NAME])?
        .with_code(10)?
        .says(&["is not frozen any more"])?;
    let mut again = small.source.get("statefulset/db")?;
    let kept = ["name", "namespace", "labels"];
    let meta = again["metadata"].as_object_mut().context("metadata")?;
    meta.retain(|key, _| kept.contains(&key.as_str()));
    again["spec"]["replicas"] = json!(0);
    small
        .source
        .kubectl(&["delete", "statefulset/db", "--wait=true"])?;
    small.source.apply(&[again])?;
    wait_for("the source's pod to be gone", || {
        let pods = small.source.get("pods")?;
        Ok(pods["items"]
            .as_array()
            .is_some_and(Vec::is_empty)
            .then_some(()))
    })?;
    let (source, target) = (uids(&small.source)?, uids(&small.target)?);
    old_data(&small, &["--confirm", NAME])?
        .with_code(10)?
        .says(&["statefulset", "is another one of the same name"])?;
    end(small.migrate(&undo)?)?
        .with_code(10)?
        .says(&["is another one of the same name"])?;
    ensure!(uids(&small.source)? == source && uids(&small.target)? == target);
    Ok(())
}

#[test]
fn a_copy_goes_on_where_it_was_cut_off_and_its_complete_copy_is_kept() -> Result<()> {
    let namespace = Namespace::new(On::A, "copy-again", &[])?;
    namespace.apply(&[workload::claim("from", "8Mi")])?;
    std::fs::write(namespace.folder("from")?.join("row"), "1")?;
    let image = mover_image()?;
    let words = ["copy", "pvc/from", "pvc/to", "--mover-image", &image];
    let name = "copy-from-to";
    let proxy = Proxy::new(On::A, move |seen| {
        if seen.journal_write(name).as_deref() == Some("prepare done") {
            Fate::KillAfter
        } else {
            Fate::Pass
        }
    })?;
    let cut = proxy.end(namespace.migrate(&words)?)?;
    ensure!(cut.code.is_none(), "{cut:?}");
    let before = namespace.report(name)?;
    end(namespace.migrate(&words)?)?.with_code(0)?;
    let after = namespace.report(name)?;
    ensure!(before["run"] == after["run"], "{before}\n{after}");
    ensure!(
        after["runners"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    );
    let copied =
        || std::fs::read_to_string(namespace.folder("to")?.join("row")).map_err(Into::into);
    let rollback = |more: &[&str]| {
        let words = [&["rollback", name], more].concat();
        end(namespace.migrate(&words)?)
    };
    rollback(&["-y"])?
        .with_code(2)?
        .says(&["add `--confirm copy-from-to`"])?;
    rollback(&["--confirm", "other"])?.with_code(2)?;
    namespace.kubectl(&["delete", "pvc/from", "--wait=true"])?;
    rollback(&["--confirm", name])?
        .with_code(10)?
        .says(&["the target is the only copy", "/from is gone"])?;
    let left: Result<String> = copied();
    ensure!(left? == "1");
    Ok(())
}
