//! Copies that go on from an earlier one.
use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{Copied, DatastoreError, Pair as _};

use super::{
    super::{differences, quiet},
    Servers, Sql, Tenant, refusal,
};

pub async fn a_table_is_copied_with_its_changes_and_compactions<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "copy-1.shop");
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
    let made = servers.target.ask(schema, S::DEFINITION).await?;
    ensure!(
        made == servers.source.ask(schema, S::DEFINITION).await?,
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

pub async fn a_row_that_is_committed_late_is_not_lost<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "late");
    servers.source.make(schema).await?;
    let [first, second] = S::LATE;
    let mut slow = servers.source.database(schema).await?;
    S::execute(&mut slow, format!("BEGIN; {first}")).await?;
    servers.source.run(schema, second).await?;
    let pair = servers.pair(schema)?;
    let first = pair.copy(None, &quiet()).await?;
    ensure!(first.written == 1, "{first:?}");
    S::execute(&mut slow, "COMMIT".to_owned()).await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(
        second.written == 1 && second.revision == first.revision,
        "{second:?}"
    );
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    Ok(())
}

pub async fn a_source_that_went_back_is_told<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "went-back");
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

pub async fn a_target_that_lost_its_table_gets_all_of_it<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "lost table");
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

/// Ids between an old part of a tenant's life and a new one: more than there may be late rows.
const AGES: i64 = 50_000;

/// A tenant of two ages in the source's table, and a copy of it.
async fn aged<S: Sql>(servers: &Servers<S>, schema: &str) -> Result<(Tenant, Copied)> {
    let mut tenant = Tenant::new(1);
    let begin = tenant.begin();
    servers.source.make(schema).await?;
    servers.source.write(schema, &[begin]).await?;
    servers.source.write(schema, &tenant.changes(400)).await?;
    tenant.next += AGES;
    servers.source.write(schema, &tenant.changes(200)).await?;
    let copied = servers.pair(schema)?.copy(None, &quiet()).await?;
    Ok((tenant, copied))
}

pub async fn a_compaction_is_done_again_at_the_target<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "compacts again");
    let (mut tenant, first) = aged(&servers, schema).await?;
    let revision = tenant.next - 50;
    servers.source.write(schema, &tenant.changes(200)).await?;
    let compacted = servers.source.compact(schema, revision).await?;
    let pair = servers.pair(schema)?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(
        second.removed == compacted && compacted > 100,
        "{second:?} {compacted}"
    );
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    // Once more, with nothing else.
    let compacted = servers.source.compact(schema, revision + 40).await?;
    let third = pair.copy(Some(&second.position), &quiet()).await?;
    ensure!(
        (third.read, third.written, third.removed) == (0, 1, compacted),
        "{third:?} {compacted}"
    );
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    Ok(())
}

/// An object that is deleted behind the position, and whose end is compacted before it is copied, leaves nothing that
/// would tell of it.
pub async fn a_key_whose_end_was_compacted_before_its_copy_stays_gone<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "ends");
    let (mut tenant, first) = aged(&servers, schema).await?;
    servers.source.write(schema, &tenant.changes(300)).await?;
    servers.source.compact(schema, tenant.next - 50).await?;
    let pair = servers.pair(schema)?;
    let stale = pair.compare(&quiet()).await?;
    let alive = differences(&stale);
    ensure!(
        alive
            .iter()
            .any(|told| told.ends_with("only at the target")),
        "{stale:?}"
    );
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(!second.anew && second.removed > 100, "{second:?}");
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    Ok(())
}

pub async fn a_row_that_only_the_target_has_goes<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "surplus");
    let (_, first) = aged(&servers, schema).await?;
    let surplus = format!(
        "INSERT INTO kine (id, name, deleted, prev_revision) VALUES ({}, '/registry/pods/of-another', 0, 0)",
        first.revision + 5
    );
    servers.target.run(schema, &surplus).await?;
    let pair = servers.pair(schema)?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!((second.written, second.removed) == (0, 1), "{second:?}");
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    Ok(())
}
