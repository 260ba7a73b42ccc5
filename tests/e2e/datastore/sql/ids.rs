//! Ids: what the next row gets, and how many bits they have.
use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{super::quiet, Row, Servers, Sql, Tenant, finding, refusal};

const INSERT: &str = "INSERT INTO kine (name, prev_revision) VALUES ('/registry/new', 0)";
const NEWEST: &str = "SELECT id FROM kine WHERE name = '/registry/new'";

pub async fn a_row_after_the_copy_gets_the_next_id<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "sequence");
    let mut tenant = Tenant::new(1_000);
    servers.source.make(schema).await?;
    servers.source.write(schema, &tenant.changes(100)).await?;
    let pair = servers.pair(schema)?;
    let first = pair.copy(None, &quiet()).await?;
    servers.target.run(schema, S::LOST_IDS).await?;
    servers.source.write(schema, &tenant.changes(10)).await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    servers.target.run(schema, INSERT).await?;
    let id = servers.target.ask(schema, NEWEST).await?;
    ensure!(
        id == Some((second.revision + 1).to_string()),
        "{id:?} after {second:?}"
    );
    Ok(())
}

pub async fn an_empty_table_begins_with_one<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "empty");
    servers.source.make(schema).await?;
    let pair = servers.pair(schema)?;
    let copied = pair.copy(None, &quiet()).await?;
    ensure!((copied.read, copied.revision) == (0, 0), "{copied:?}");
    servers.target.run(schema, INSERT).await?;
    ensure!(servers.target.ask(schema, NEWEST).await?.as_deref() == Some("1"));
    Ok(())
}

pub async fn ids_beyond_32_bits_are_kept_and_a_table_without_room_is_told<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "wide");
    let rows = Tenant::new(i64::from(i32::MAX) - 20).changes(50);
    servers.source.make(schema).await?;
    servers.source.write(schema, &rows).await?;
    let pair = servers.pair(schema)?;
    pair.copy(None, &quiet()).await?;
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    pair.clear_target().await?;

    servers.target.make_with(schema, S::NARROW).await?;
    let look = pair.look().await?;
    ensure!(finding(&look, "32-bit ids")?.blocks, "{look:?}");
    let error = refusal(pair.copy(None, &quiet()).await)?.to_string();
    ensure!(
        error.contains("its table has 32-bit ids, and the source's are larger"),
        "{error}"
    );
    Ok(())
}

pub async fn a_narrow_table_is_filled_while_ids_fit<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "narrow");
    let mut tenant = Tenant::new(1);
    servers.source.make(schema).await?;
    servers.source.write(schema, &tenant.changes(200)).await?;
    servers.target.make_with(schema, S::NARROW).await?;
    let pair = servers.pair(schema)?;
    let first = pair.copy(None, &quiet()).await?;
    let more: Vec<Row> = tenant.changes(50);
    servers.source.write(schema, &more).await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(
        second.written >= 50 && pair.compare(&quiet()).await?.different == 0,
        "{second:?}"
    );
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    Ok(())
}
