//! The verb `limit`, whole, where the journal is a file: no cluster is asked.
use anyhow::{Result, ensure};
use kubectl_migrate::engine::{Header, Record};

use crate::{
    bad_input::{header, journal_of},
    world::{NAME, World},
};

fn begun() -> Vec<(&'static str, Record)> {
    vec![
        ("preflight", Record::Started),
        ("preflight", Record::Skipped("all well".to_owned())),
        ("warm-copy", Record::Started),
    ]
}

fn world(header: &Header, records: Vec<(&str, Record)>) -> Result<World> {
    let world = World::new()?;
    let lines = journal_of(header, records)?;
    world.write("journal", &(lines.join("\n") + "\n"))?;
    Ok(world)
}

fn told(world: &World, words: &[&str]) -> Result<String> {
    world.told(NAME, &[words, &["--journal", "journal"]].concat())
}

fn limit_of(world: &World) -> Result<serde_json::Value> {
    let words = ["status", "--journal", "journal", "-o", "json"];
    let status: serde_json::Value = serde_json::from_slice(&world.call(NAME, &words)?.stdout)?;
    Ok(status["items"][0]["limitBytesPerSecond"].clone())
}

#[test]
fn a_limit_is_set_changed_lifted_and_shown() -> Result<()> {
    let mut header = header()?;
    header.plan = serde_json::json!({"spec": {"mover": {"limit": "8MiB/s"}}});
    let world = world(&header, begun())?;
    ensure!(limit_of(&world)? == 8 << 20);
    let mut all = vec![
        told(&world, &["limit", "orders-db", "8Mi"])?,
        told(&world, &["limit", "orders-db", "50MiB/s"])?,
    ];
    ensure!(limit_of(&world)? == 50 << 20);
    all.push(told(
        &world,
        &["limit", "orders-db", "50MiB", "--error-unchanged"],
    )?);
    all.push(told(&world, &["limit", "orders-db", "none"])?);
    ensure!(limit_of(&world)?.is_null());
    all.push(told(&world, &["limit", "orders-db", "none"])?);
    all.push(told(&world, &["limit", "orders", "1GB/s"])?);
    all.push(world.told(
        NAME,
        &["limit", "orders-db", "1GB/s", "--journal", "missing"],
    )?);
    insta::assert_snapshot!("limit", all.join("\n"));
    Ok(())
}

#[test]
fn what_has_ended_or_copies_nothing_has_no_limit() -> Result<()> {
    let ended = [
        begun(),
        vec![("warm-copy", Record::Done(serde_json::Value::Null))],
    ];
    let ended = world(&header()?, ended.concat())?;
    let mut frozen = header()?;
    frozen.playbook = "freeze".to_owned();
    let frozen = world(&frozen, begun())?;
    let all = [
        told(&ended, &["limit", "orders-db", "50MiB/s"])?,
        told(&ended, &["limit", "orders-db", "none", "--error-unchanged"])?,
        told(&frozen, &["limit", "orders-db", "50MiB/s"])?,
    ];
    for world in [&ended, &frozen] {
        ensure!(!world.path().join("journal.limit").exists());
    }
    insta::assert_snapshot!("limit_of_nothing", all.join("\n"));
    Ok(())
}
