use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{
    super::{carry::carry, quiet},
    Servers, Sql, Tenant,
};

const NEXT: &str = "INSERT INTO kine (name, prev_revision) VALUES ('/registry/new', 0)";
const NEWEST: &str = "SELECT id FROM kine WHERE name = '/registry/new'";

pub async fn a_table_passes_through_a_file_and_goes_on_behind_its_rows<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "carried");
    let mut tenant = Tenant::new(1_000);
    servers.source.make(schema).await?;
    servers.source.write(schema, &[tenant.begin()]).await?;
    servers.source.write(schema, &tenant.changes(500)).await?;
    let pair = servers.pair(schema)?;
    let end = carry(&pair, S::DRIVER).await?;
    let count = "SELECT COUNT(*) FROM kine";
    let rows = servers.source.ask(schema, count).await?;
    ensure!(
        rows == Some(end.records.to_string()) && end.revision == tenant.next.unsigned_abs() - 1,
        "{end:?} of {rows:?}"
    );
    ensure!(servers.target.digest(schema).await? == servers.source.digest(schema).await?);
    let definition = [
        servers.source.ask(schema, S::DEFINITION).await?,
        servers.target.ask(schema, S::DEFINITION).await?,
    ];
    ensure!(definition[0] == definition[1], "{definition:?}");
    ensure!(pair.compare(&quiet()).await?.different == 0);
    servers.target.run(schema, NEXT).await?;
    let id = servers.target.ask(schema, NEWEST).await?;
    ensure!(id == Some((end.revision + 1).to_string()), "{id:?}");
    Ok(())
}
