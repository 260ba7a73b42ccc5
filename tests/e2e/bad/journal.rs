//! Journals in a cluster that do not fit: changed plans, other clusters, damage.
use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::engine::{FORMAT, Header, encode_header};
use serde_json::{Value, json};

use super::{check, to, told, workload};
use crate::support::{Namespace, On, PlanFile, end};

/// The journal's object, with its data changed.
fn with_data(
    journal: &Value,
    change: impl FnOnce(&mut Vec<String>),
    lines: Option<usize>,
) -> Result<Value> {
    let text = journal["data"]["journal"].as_str().context("lines")?;
    let mut kept: Vec<_> = text.lines().map(str::to_owned).collect();
    change(&mut kept);
    let lines = lines.unwrap_or(kept.len());
    let mut changed = journal.clone();
    changed["data"] = json!({"journal": kept.join("\n") + "\n", "lines": lines.to_string()});
    let meta = changed["metadata"].as_object_mut().context("metadata")?;
    meta.retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "labels"));
    Ok(changed)
}

fn replace(place: &Namespace, object: &Value) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("journal.json");
    std::fs::write(&file, object.to_string())?;
    place.kubectl(&["replace", "--force", "-f", &file.to_string_lossy()])?;
    Ok(())
}

#[test]
fn a_journal_that_does_not_fit_is_refused() -> Result<()> {
    let source = Namespace::new(On::A, "bad-journal", &[])?;
    let target = Namespace::new(On::A, "bad-journal-target", &[])?;
    source.apply(&[workload("db")])?;
    source.ready("statefulset/db")?;
    // A class that is not there: it is begun, stops in preflight, and has changed nothing.
    let mut spec = to("db", &target.name);
    spec["target"]["storageClass"] = json!("gold");
    let first = PlanFile::new(&source.name, "m", spec.clone())?;
    end(source.migrate(&["run", "-q", "-f", &first.path()])?)?.with_code(10)?;
    let journal = source.get("configmap/migrate-m")?;

    let mut told_all = Vec::new();
    spec["target"]["storageClass"] = json!("standard");
    spec["freeze"] = json!({"max": "5m"});
    let changed = PlanFile::new(&source.name, "m", spec)?;
    let ended = end(source.migrate(&["run", "-q", "-f", &changed.path()])?)?;
    told_all.push(told(
        "a plan that was changed before anything else was",
        &ended,
    )?);

    // The same name, another cluster.
    let elsewhere = Namespace {
        on: On::B,
        name: source.name.clone(),
    };
    elsewhere.kubectl(&["create", "namespace", &elsewhere.name])?;
    elsewhere.apply(&[with_data(&journal, |_| (), None)?])?;
    let ended = end(elsewhere.migrate(&["run", "m", "-q"])?)?;
    told_all.push(told("the journal of another cluster", &ended)?);

    let text = journal["data"]["journal"].as_str().context("lines")?;
    let header = text.lines().next().context("a header")?;
    let (_, header) = header.split_once(' ').context("a seal")?;
    let newer = Header {
        format: FORMAT + 1,
        ..serde_json::from_str(header)?
    };
    let cases = [
        (
            "a line that was changed",
            with_data(
                &journal,
                |lines| lines[1] = lines[1].replace("started", "skipped"),
                None,
            )?,
        ),
        (
            "a journal that was cut",
            with_data(&journal, |lines| lines.truncate(2), Some(3))?,
        ),
        (
            "a journal without its header",
            with_data(&journal, |lines| drop(lines.remove(0)), None)?,
        ),
        (
            "a newer version's journal",
            with_data(&journal, |lines| *lines = vec![encode_header(&newer)], None)?,
        ),
    ];
    for (what, object) in cases {
        replace(&source, &object)?;
        for verb in ["run", "status"] {
            let ended = end(source.migrate(&[verb, "m", "-q"])?)?;
            told_all.push(told(&format!("{what}: {verb}"), &ended)?);
        }
    }
    // One that cannot be read does not hide the others.
    let listed = end(source.migrate(&["status"])?)?.with_code(1)?;
    ensure!(listed.out.contains("unreadable"), "{}", listed.out);
    told_all.push(format!("# status of all\nexit 1\n{}", listed.err));
    check("journal", &told_all);
    Ok(())
}

#[test]
fn a_plan_changed_since_it_began_is_refused() -> Result<()> {
    let source = Namespace::new(On::A, "bad-changed", &[])?;
    let target = Namespace::new(On::A, "bad-changed-target", &[])?;
    source.apply(&[workload("db")])?;
    source.ready("statefulset/db")?;
    let mut spec = to("db", &target.name);
    let first = PlanFile::new(&source.name, "m", spec.clone())?;
    end(source.migrate(&["run", "-q", "-f", &first.path()])?)?.with_code(13)?;
    let version = |what: &str| -> Result<Value> {
        Ok(source.get(what)?["metadata"]["resourceVersion"].clone())
    };
    let before = (version("configmap/migrate-m")?, version("statefulset/db")?);
    spec["target"]["size"] = json!("16Mi");
    spec["freeze"] = json!({"max": "5m"});
    let changed = PlanFile::new(&source.name, "m", spec)?;
    let mut told_all = Vec::new();
    let ended = end(source.migrate(&["run", "-q", "-f", &changed.path()])?)?;
    told_all.push(told("another size and another bound", &ended)?);
    for flags in [
        &["--to-namespace", "other"][..],
        &["--mover-image", "other", "--max-freeze", "1m"],
    ] {
        let ended = end(source.migrate(&[&["run", "m", "-q"], flags].concat())?)?;
        told_all.push(told(&format!("run m {}", flags.join(" ")), &ended)?);
    }
    let elsewhere = PlanFile::new("bad-elsewhere", "m", to("db", &target.name))?;
    let ended = end(source.migrate(&["run", "-q", "-f", &elsewhere.path()])?)?;
    told_all.push(told("a plan for another namespace than -n", &ended)?);
    check("changed_plan", &told_all);
    let after = (version("configmap/migrate-m")?, version("statefulset/db")?);
    anyhow::ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}
