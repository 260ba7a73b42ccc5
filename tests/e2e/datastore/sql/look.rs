//! What is found beforehand, and what may be removed afterwards.
use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{Look, Pair as _};

use super::{super::quiet, Servers, Sql, Tenant, finding, refusal};

pub async fn both_sides_are_described<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "look");
    servers.source.make(schema).await?;
    servers
        .source
        .write(schema, &Tenant::new(1).changes(100))
        .await?;
    let pair = servers.pair(schema)?;
    let look = pair.look().await?;
    ensure!(look.findings.is_empty(), "{look:?}");
    ensure!(
        look.source
            .version
            .split('.')
            .next()
            .is_some_and(|major| major.parse::<u32>().is_ok())
    );
    ensure!(
        look.source.revision > 100 && look.source.keys > 100,
        "{look:?}"
    );
    // With one value of a mebibyte at least.
    ensure!(look.source.bytes > 1 << 20, "{look:?}");
    ensure!(
        (look.target.revision, look.target.keys, look.target.bytes) == (0, 0, 0),
        "{look:?}"
    );
    pair.copy(None, &quiet()).await?;
    let after = pair.look().await?;
    let figures = |look: &Look| (look.source.revision, look.source.keys);
    ensure!(
        (after.target.revision, after.target.keys) == figures(&look),
        "{after:?}"
    );
    Ok(())
}

pub async fn what_stands_in_the_way_is_found<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "findings");
    let pair = servers.pair(schema)?;
    let look = pair.look().await?;
    let none = finding(&look, "kine table")?;
    ensure!(
        none.blocks && none.evidence.contains(S::NO_SCHEMA),
        "{none:?}"
    );
    servers.source.make(schema).await?;
    servers
        .source
        .run(schema, "CREATE TABLE notes (text text)")
        .await?;
    servers
        .target
        .make_with(
            schema,
            "CREATE TABLE kine (id bigint, name text, deleted int, prev_revision int)",
        )
        .await?;
    let look = pair.look().await?;
    let other = finding(&look, "other tables")?;
    ensure!(
        !other.blocks && other.evidence.ends_with("also holds notes"),
        "{other:?}"
    );
    let columns = finding(&look, "table columns")?;
    ensure!(
        columns.blocks && columns.evidence.contains("create_revision"),
        "{columns:?}"
    );
    let error = refusal(pair.copy(None, &quiet()).await)?.to_string();
    ensure!(error.contains("do not both have"), "{error}");
    let missing = refusal(servers.pair("nowhere")?.copy(None, &quiet()).await)?.to_string();
    ensure!(
        missing == format!("{}: database nowhere has no table kine", S::STORE),
        "{missing}"
    );
    Ok(())
}

pub async fn only_a_copy_is_removed<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "clear.1");
    let mut tenant = Tenant::new(1);
    let begin = tenant.begin();
    servers.source.make(schema).await?;
    servers.source.write(schema, &[begin]).await?;
    servers.source.write(schema, &tenant.changes(400)).await?;
    let neighbour = "clear.1-neighbour";
    servers.target.make(neighbour).await?;
    servers
        .target
        .write(neighbour, &Tenant::new(1).changes(20))
        .await?;
    let before = servers.target.digest(neighbour).await?;
    let pair = servers.pair(schema)?;
    pair.clear_target().await?;
    let copied = pair.copy(None, &quiet()).await?;

    let last = format!(
        "UPDATE kine SET name = '/registry/pods/of-another' WHERE id = {}",
        copied.revision
    );
    servers.target.run(schema, &last).await?;
    let error = refusal(pair.clear_target().await)?.to_string();
    ensure!(
        error.contains(&format!(
            "(/registry/pods/of-another) is not at {}",
            S::STORE
        )),
        "{error}"
    );
    pair.copy(None, &quiet()).await?;
    servers
        .target
        .run(schema, "CREATE VIEW mine AS SELECT 1")
        .await?;
    let error = refusal(pair.clear_target().await)?.to_string();
    ensure!(
        error.contains("database clear.1 also holds mine: nothing is removed"),
        "{error}"
    );
    servers.target.run(schema, "DROP VIEW mine").await?;

    // The source went on: it was compacted, and wrote more. And somebody looks at the target.
    servers.source.write(schema, &tenant.changes(50)).await?;
    servers.source.compact(schema, 380).await?;
    let onlooker = servers.target.database(schema).await?;
    pair.clear_target().await?;
    drop(onlooker);
    ensure!(
        servers.target.database(schema).await.is_err(),
        "it is still there"
    );
    pair.clear_target().await?;
    ensure!(servers.target.digest(neighbour).await? == before);
    Ok(())
}

/// Ids below the compaction's revision are no proof: a store where few things happened has no others.
pub async fn rows_of_another_below_the_compaction_are_kept<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "low ids");
    let mut tenant = Tenant::new(1_000);
    let begin = tenant.begin();
    servers.source.make(schema).await?;
    servers.source.write(schema, &[begin]).await?;
    servers.source.write(schema, &tenant.changes(400)).await?;
    servers.source.compact(schema, 1_300).await?;
    let another = Tenant::new(1).changes(50);
    servers.target.make(schema).await?;
    servers.target.write(schema, &another).await?;
    let pair = servers.pair(schema)?;
    let error = refusal(pair.clear_target().await)?.to_string();
    ensure!(error.contains("it was not copied from there"), "{error}");

    // A copy in which one row is another's, where the source has its own.
    pair.copy(None, &quiet()).await?;
    let lowest = "SELECT min(id) FROM kine WHERE name LIKE '/registry/pods/%'";
    let lowest = servers.target.ask(schema, lowest).await?;
    let lowest = lowest.context("a row")?;
    ensure!(lowest.parse::<u32>()? < 1_300, "{lowest}");
    let change = format!("UPDATE kine SET name = '/registry/pods/of-another' WHERE id = {lowest}");
    servers.target.run(schema, &change).await?;
    let error = refusal(pair.clear_target().await)?.to_string();
    ensure!(
        error.contains(&format!(
            "row {lowest} (/registry/pods/of-another) is not at"
        )),
        "{error}"
    );
    Ok(())
}

pub async fn a_copy_whose_source_is_gone_is_kept<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "orphan");
    servers.source.make(schema).await?;
    servers
        .source
        .write(schema, &Tenant::new(1).changes(50))
        .await?;
    let pair = servers.pair(schema)?;
    pair.copy(None, &quiet()).await?;
    servers.source.run(schema, "DROP TABLE kine").await?;
    let error = refusal(pair.clear_target().await)?.to_string();
    ensure!(
        error.contains("is not at the source, which has nothing of the schema"),
        "{error}"
    );
    // What any API server writes by itself is worth nothing.
    let left = "DELETE FROM kine WHERE name NOT LIKE '/registry/events/%'";
    servers.target.run(schema, left).await?;
    pair.clear_target().await?;
    ensure!(
        servers.target.database(schema).await.is_err(),
        "it is still there"
    );
    Ok(())
}
