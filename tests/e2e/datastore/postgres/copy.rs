//! Copies: whole, of changes, given up in the middle, over what was there.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{DatastoreError, Meter, Pair as _, Reading};
use sqlx::Executor as _;
use tokio::sync::Notify;

use super::{
    super::sql::{Row, Tenant, quiet, refusal},
    server::Servers,
};

/// Rows that are many enough to be in the middle of.
const MANY: &str =
    "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value)
    SELECT '/registry/configmaps/shop/' || n, 1, 0, 0, 0, 0, decode(repeat(md5(n::text), 64), 'hex')
    FROM generate_series(1, 40000) n";

#[tokio::test]
async fn a_table_is_copied_with_its_changes_and_compactions() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "copy-1.shop");
    let mut tenant = Tenant::new(1);
    let begin = tenant.begin();
    servers.source.make(schema).await?;
    servers.source.write(schema, &[begin]).await?;
    servers.source.write(schema, &tenant.changes(800)).await?;
    let pair = servers.pair(schema)?;
    let first = pair.copy(None, &quiet()).await?;
    ensure!(
        first.removed == 0 && first.read == first.written,
        "{first:?}"
    );
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    let definition = "SELECT string_agg(d, ';' ORDER BY d) FROM (
        SELECT indexdef d FROM pg_indexes WHERE tablename = 'kine' UNION ALL
        SELECT column_name || data_type || coalesce(column_default, '') FROM information_schema.columns
        WHERE table_name = 'kine') all_of_it";
    let made = servers.target.ask(schema, definition).await?;
    ensure!(
        made == servers.source.ask(schema, definition).await?,
        "{made:?}"
    );

    let nothing = pair.copy(None, &quiet()).await?;
    ensure!(
        (nothing.read, nothing.written, nothing.removed) == (first.read, 0, 0),
        "{nothing:?}"
    );

    servers.source.write(schema, &tenant.changes(300)).await?;
    let compacted = servers.source.compact(schema, 600).await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    // The changes with their filled gaps, and the compaction's own row.
    ensure!(
        (300..320).contains(&second.read) && second.written == second.read + 1,
        "{second:?}"
    );
    ensure!(
        second.removed == compacted && compacted > 100,
        "{second:?} {compacted}"
    );
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    let third = pair.copy(Some(&second.position), &quiet()).await?;
    ensure!(
        (third.read, third.written, third.removed) == (0, 0, 0),
        "{third:?}"
    );
    ensure!(
        third.position == second.position && !third.anew,
        "{third:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_row_that_is_committed_late_is_not_lost() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "late");
    servers.source.make(schema).await?;
    let insert = "INSERT INTO kine (name, prev_revision, value) VALUES ('/registry/a', nextval('kine_id_seq'), 'x')";
    let mut slow = servers.source.database(schema).await?;
    slow.execute("BEGIN").await?;
    slow.execute(insert).await?;
    servers.source.run(schema, insert).await?;
    let pair = servers.pair(schema)?;
    let first = pair.copy(None, &quiet()).await?;
    ensure!(first.written == 1, "{first:?}");
    slow.execute("COMMIT").await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(
        second.written == 1 && second.revision == first.revision,
        "{second:?}"
    );
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    Ok(())
}

#[tokio::test]
async fn a_copy_that_is_given_up_goes_on_where_it_was() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "dropped");
    servers.source.make(schema).await?;
    servers.source.run(schema, MANY).await?;
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
            copied = pair.copy(None, &meter) => ensure!(copied?.written < 40_000, "it wrote all again"),
            () = middle.notified() => {}
        }
    }
    let last = pair.copy(None, &quiet()).await?;
    ensure!(last.read == 40_000 && last.written < 40_000, "{last:?}");
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    Ok(())
}

#[tokio::test]
async fn what_the_target_had_makes_room() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "stale");
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

#[tokio::test]
async fn a_source_that_went_back_is_told() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "went-back");
    servers.source.make(schema).await?;
    servers
        .source
        .write(schema, &Tenant::new(1).changes(20))
        .await?;
    let pair = servers.pair(schema)?;
    let copied = pair.copy(None, &quiet()).await?;
    servers
        .source
        .run(schema, "DELETE FROM kine WHERE id > 10")
        .await?;
    let error = refusal(pair.copy(Some(&copied.position), &quiet()).await)?;
    ensure!(
        matches!(error, DatastoreError::Unexpected { .. }),
        "{error}"
    );
    ensure!(
        error
            .to_string()
            .contains("its revision went back from 22 to 10"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_target_that_lost_its_table_gets_all_of_it() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "lost table");
    servers.source.make(schema).await?;
    servers
        .source
        .write(schema, &Tenant::new(1).changes(20))
        .await?;
    let pair = servers.pair(schema)?;
    let first = pair.copy(None, &quiet()).await?;
    servers.target.run(schema, "DROP TABLE kine").await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(second.anew && second.written == first.written, "{second:?}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_is_named() -> Result<()> {
    let (servers, schema) = (Arc::new(Servers::start()?), "stops");
    servers.source.make(schema).await?;
    servers.source.run(schema, MANY).await?;
    let pair = servers.pair(schema)?;
    let (stopped, seen) = (servers.clone(), Arc::new(AtomicU64::new(0)));
    let shown = seen.clone();
    let meter = Meter::new(move |reading: Reading| {
        if reading.keys > 8_000 && shown.swap(reading.keys, Ordering::SeqCst) == 0 {
            stopped.target.stop();
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
        told && error.to_string().starts_with("datastore silver "),
        "{error}"
    );
    let after = refusal(pair.compare(&quiet()).await)?.to_string();
    ensure!(
        after.contains("datastore silver is unreachable at"),
        "{after}"
    );
    Ok(())
}

#[tokio::test]
async fn strange_names_are_names() -> Result<()> {
    let servers = Servers::shared()?;
    for schema in ["50%_of \"it\"; DROP TABLE kine", "it's\\n", "größe-1.eu"] {
        servers.source.make(schema).await?;
        servers
            .source
            .write(schema, &Tenant::new(1).changes(5))
            .await?;
        let pair = servers.pair(schema)?;
        pair.copy(None, &quiet()).await?;
        ensure!(pair.compare(&quiet()).await?.different == 0, "{schema}");
        let count = servers
            .target
            .ask("postgres", "SELECT count(*) FROM pg_database")
            .await?;
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
