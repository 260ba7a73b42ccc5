//! The verbs `freeze` and `thaw`, and a thaw without the journal.
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    proxy::Proxy,
    small::{NAME, Small},
    support::{Ended, Namespace, On, end},
};

const DB: &str = "statefulset/db";

/// The spec as the server prints it, to the byte, and whether a note is on the object.
fn seen(place: &Namespace) -> Result<(String, bool)> {
    let object = place.get(DB)?;
    let note = &object["metadata"]["annotations"]["kubectl-migrate/original"];
    Ok((object["spec"].to_string(), note.is_string()))
}

fn verb(place: &Namespace, words: &[&str]) -> Result<Ended> {
    end(place.migrate(words)?)
}

#[test]
fn the_verbs_freeze_and_thaw_put_back_every_byte_and_say_when_nothing_is_to_do() -> Result<()> {
    let small = Small::new("verbs")?;
    let place = &small.source;
    let (before, _) = seen(place)?;
    for mode in ["scale", "sleep"] {
        let freeze = ["freeze", DB, "--mode", mode];
        verb(place, &freeze)?.with_code(0)?;
        let (frozen, noted) = seen(place)?;
        ensure!(noted && frozen != before, "{mode}: {frozen}");
        verb(place, &freeze)?.with_code(0)?;
        let unchanged = [&freeze[..], &["--error-unchanged"]].concat();
        verb(place, &unchanged)?.with_code(3)?;
        ensure!(seen(place)?.0 == frozen, "{mode}: it was changed again");

        verb(place, &["thaw", DB])?.with_code(0)?;
        ensure!(seen(place)? == (before.clone(), false), "{mode}");
        place.ready(DB)?;
        verb(place, &["thaw", DB, "--error-unchanged"])?.with_code(3)?;
    }
    Ok(())
}

/// A migration that is killed as soon as its workload is frozen.
fn killed_while_frozen(small: &Small) -> Result<()> {
    let proxy = Proxy::that_kills_after(On::A, NAME, "freeze done")?;
    let ended = proxy.end(small.run()?)?;
    ensure!(ended.code.is_none(), "{ended:?}");
    ensure!(seen(&small.source)?.1, "it is not frozen");
    Ok(())
}

/// Plain `thaw` leaves another migration's freeze alone, `thaw --force` does not.
fn only_force_thaws(small: &Small, before: &str) -> Result<()> {
    let place = &small.source;
    let frozen = seen(place)?;
    let refused = verb(place, &["thaw", DB])?;
    ensure!(refused.code != Some(0), "{refused:?}");
    let named = format!("migration {}/{NAME}", place.name);
    refused.says(&[&named])?;
    ensure!(seen(place)? == frozen, "a refused thaw changed something");
    verb(place, &["thaw", DB, "--force"])?.with_code(0)?;
    ensure!(seen(place)? == (before.to_owned(), false));
    place.ready(DB)
}

#[test]
fn a_workload_wakes_by_its_note_when_the_journal_is_damaged_or_gone() -> Result<()> {
    let small = Small::new("lost")?;
    let (before, _) = seen(&small.source)?;
    killed_while_frozen(&small)?;
    let journal = small.journal()?;
    let text = journal["data"]["journal"].as_str().context("lines")?;
    let damaged: Value = json!({"data": {"journal": text.replacen("prepare", "prepair", 1)}});
    let name = format!("configmap/migrate-{NAME}");
    let place = &small.source;
    place.kubectl(&["patch", &name, "--type=merge", "-p", &damaged.to_string()])?;
    let refused = verb(place, &["status", NAME])?;
    ensure!(refused.err.contains("is damaged"), "{refused:?}");
    only_force_thaws(&small, &before)?;

    let small = Small::new("gone")?;
    let (before, _) = seen(&small.source)?;
    killed_while_frozen(&small)?;
    small.source.kubectl(&["delete", &name])?;
    only_force_thaws(&small, &before)
}
