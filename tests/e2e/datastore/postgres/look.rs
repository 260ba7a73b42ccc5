//! What is found beforehand, and what may be removed afterwards.
use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{BasicAuth, Finding, Look, Pair as _, PostgresPair};

use super::{
    super::sql::{PASSWORD, Tenant, quiet, refusal},
    server::Servers,
};

fn finding<'a>(look: &'a Look, check: &str) -> Result<&'a Finding> {
    let found = look.findings.iter().find(|finding| finding.check == check);
    found.with_context(|| format!("no finding {check} in {look:?}"))
}

#[tokio::test]
async fn both_sides_are_described() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "look");
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

#[tokio::test]
async fn what_stands_in_the_way_is_found() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "findings");
    let pair = servers.pair(schema)?;
    let look = pair.look().await?;
    let none = finding(&look, "kine table")?;
    ensure!(
        none.blocks && none.evidence.contains("has no database findings"),
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
        missing == "datastore silver: database nowhere has no table kine",
        "{missing}"
    );

    let make = format!(
        "CREATE ROLE weak LOGIN PASSWORD '{}'",
        PASSWORD.replace('\'', "''")
    );
    servers.target.run("postgres", &make).await?;
    let mut weak = servers.target.connection();
    weak.basic = Some(BasicAuth {
        user: "weak".to_owned(),
        password: PASSWORD.into(),
    });
    let (source, schema) = (servers.source.connection(), "weakly");
    servers.source.make(schema).await?;
    let pair = PostgresPair::open(&source, &weak, schema)?;
    let look = pair.look().await?;
    ensure!(
        finding(&look, "right to create databases")?.blocks,
        "{look:?}"
    );
    ensure!(
        finding(&look, "right to create roles")?
            .cure
            .ends_with("ALTER ROLE \"weak\" CREATEROLE"),
        "{look:?}"
    );
    let error = refusal(pair.copy(None, &quiet()).await)?.to_string();
    ensure!(
        error.contains("refuses us: permission denied to create database"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn only_a_copy_is_removed() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "clear.1");
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
        error.contains("(/registry/pods/of-another) is not at datastore silver"),
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
