//! A target that begins behind the source.
use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{
    super::{
        kine::PROGRAMS,
        lead::{MARGIN, Place, begins_behind_the_source, leads},
        quiet,
    },
    Servers, Sql, Tenant,
};

pub async fn a_target_begins_behind_all_that_the_source_gave<S: Sql>() -> Result<()> {
    let servers = Servers::<S>::shared()?;
    for (number, program) in PROGRAMS.into_iter().enumerate() {
        let schema = format!("lead{number}");
        let (source, target) = (servers.source.connection(), servers.target.connection());
        let place = Place {
            source: servers.source.arguments(&schema),
            target: servers.target.arguments(&schema),
            pair: &S::open(&source, &target, &schema)?,
            back: &S::open(&target, &source, &schema)?,
        };
        Box::pin(begins_behind_the_source(program, &place)).await?;
    }
    Ok(())
}

pub async fn a_copy_leaves_the_lead_and_brings_what_comes_below_it<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "led");
    servers.source.make(schema).await?;
    let mut tenant = Tenant::new(1);
    servers.source.write(schema, &[tenant.begin()]).await?;
    servers.source.write(schema, &tenant.changes(500)).await?;
    let pair = servers.pair(schema)?;
    let first = pair.copy(None, &quiet()).await?;
    let led = pair.lead(MARGIN).await?;
    let last = tenant.next.unsigned_abs() - 1;
    ensure!(
        (led.source, led.before, led.now) == (last, last, last + MARGIN),
        "{led:?}"
    );
    let ends = format!(
        "SELECT COUNT(*) FROM kine WHERE id > {last} AND name = 'gap-{}'",
        led.now
    );
    for since in [Some(&first.position), None] {
        let copied = pair.copy(since, &quiet()).await?;
        ensure!((copied.written, copied.removed) == (0, 0), "{copied:?}");
        ensure!(copied.position == first.position, "{copied:?}");
    }
    ensure!(servers.target.ask(schema, &ends).await?.as_deref() == Some("1"));

    let more = tenant.changes(100);
    servers.source.write(schema, &more).await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(
        second.written == more.len() as u64 && second.removed == 0,
        "{second:?}"
    );
    ensure!(servers.target.ask(schema, &ends).await?.as_deref() == Some("1"));
    let compared = pair.compare(&quiet()).await?;
    ensure!(
        compared.different == 0 && leads(&compared) == Some((1, 1)),
        "{compared:?}"
    );

    let last = tenant.next.unsigned_abs() - 1;
    let led = pair.lead(MARGIN).await?;
    ensure!(led.now == last + MARGIN, "{led:?}");
    let above = format!("SELECT COUNT(*) FROM kine WHERE id > {last}");
    ensure!(servers.target.ask(schema, &above).await?.as_deref() == Some("1"));
    // The next row's id, and whatever else is not in the source.
    let next = "INSERT INTO kine (name, prev_revision) VALUES ('/registry/a', 1)";
    servers.target.run(schema, next).await?;
    let largest = servers
        .target
        .ask(schema, "SELECT MAX(id) FROM kine")
        .await?;
    ensure!(
        largest == Some((led.now + 1).to_string()),
        "{largest:?} after {led:?}"
    );
    let error = super::refusal(pair.clear_target().await)?.to_string();
    ensure!(error.contains("/registry/a"), "{error}");
    servers
        .target
        .run(schema, "DELETE FROM kine WHERE name = '/registry/a'")
        .await?;
    pair.clear_target().await?;
    Ok(())
}
