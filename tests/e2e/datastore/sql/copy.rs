//! Copies of all: given up in the middle, over what was there, to where nobody answers.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{DatastoreError, Meter, Pair as _, Reading};
use tokio::sync::Notify;

use super::{super::quiet, Row, Servers, Sql, Tenant, refusal};

/// Rows that are many enough to be in the middle of.
const MANY: u32 = 40_000;

pub async fn a_copy_that_is_given_up_goes_on_where_it_was<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "dropped");
    servers.source.make(schema).await?;
    servers.source.run(schema, &S::many(MANY)).await?;
    let pair = servers.pair(schema)?;
    for _ in 0..3 {
        let middle = Arc::new(Notify::new());
        let reached = middle.clone();
        let meter = Meter::new(move |reading: Reading| {
            if reading.keys > 20_000 {
                reached.notify_one();
            }
        });
        tokio::select! {
            copied = pair.copy(None, &meter) => ensure!(copied?.written < u64::from(MANY), "it wrote all again"),
            () = middle.notified() => {}
        }
    }
    let last = pair.copy(None, &quiet()).await?;
    ensure!(
        last.read == 40_000 && last.written < u64::from(MANY),
        "{last:?}"
    );
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    Ok(())
}

pub async fn what_the_target_had_makes_room<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "stale");
    let rows = Tenant::new(2).changes(500);
    servers.source.make(schema).await?;
    servers.source.write(schema, &rows).await?;
    // The same names and revisions under other ids, other values under the same, and rows that nobody has.
    let stale: Vec<Row> = rows
        .iter()
        .enumerate()
        .map(|(number, row)| match number % 3 {
            0 => Row {
                id: row.id + 50_000,
                ..row.clone()
            },
            1 => Row {
                value: Some(b"other".to_vec()),
                ..row.clone()
            },
            _ => Row {
                name: format!("{}-of-another", row.name),
                ..row.clone()
            },
        })
        .collect();
    servers.target.make(schema).await?;
    servers.target.write(schema, &stale).await?;
    let copied = servers.pair(schema)?.copy(None, &quiet()).await?;
    ensure!(copied.removed > 100, "{copied:?}");
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    Ok(())
}

pub async fn a_server_that_stops_in_the_middle_is_named<S: Sql>() -> Result<()> {
    let (servers, schema) = (Arc::new(Servers::<S>::start()?), "stops");
    servers.source.make(schema).await?;
    servers.source.run(schema, &S::many(MANY)).await?;
    let pair = servers.pair(schema)?;
    let (stopped, seen) = (servers.clone(), Arc::new(AtomicU64::new(0)));
    let shown = seen.clone();
    let meter = Meter::new(move |reading: Reading| {
        if reading.keys > 8_000 && shown.swap(reading.keys, Ordering::SeqCst) == 0 {
            stopped.target.running().stop();
        }
    });
    let error = refusal(pair.copy(None, &meter).await)?;
    ensure!(seen.load(Ordering::SeqCst) > 0, "it failed before: {error}");
    // A connection that was at work is lost; one that was to be made does not come about.
    let told = matches!(
        error,
        DatastoreError::Lost { .. } | DatastoreError::Unreachable { .. }
    );
    ensure!(
        told && error.to_string().starts_with(&format!("{} ", S::STORE)),
        "{error}"
    );
    let after = refusal(pair.compare(&quiet()).await)?.to_string();
    ensure!(
        after.contains(&format!("{} is unreachable at", S::STORE)),
        "{after}"
    );
    Ok(())
}

pub async fn strange_names_are_names<S: Sql>() -> Result<()> {
    let servers = Servers::<S>::shared()?;
    for schema in S::STRANGE {
        servers.source.make(schema).await?;
        servers
            .source
            .write(schema, &Tenant::new(1).changes(5))
            .await?;
        let pair = servers.pair(schema)?;
        pair.copy(None, &quiet()).await?;
        ensure!(pair.compare(&quiet()).await?.different == 0, "{schema}");
        let count = servers.target.ask(S::MAINTENANCE, S::DATABASES).await?;
        let count: u32 = count.context("a figure")?.parse()?;
        pair.clear_target().await?;
        ensure!(
            servers.target.database(schema).await.is_err(),
            "{schema} is still there"
        );
        ensure!(count > 3, "{count}");
    }
    Ok(())
}
