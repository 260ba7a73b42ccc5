//! What only MySQL has: a largest packet.
use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{
    super::{
        quiet,
        sql::{Servers, Sql as _, Tenant, finding, refusal},
    },
    server::Server,
};

#[tokio::test]
async fn a_row_that_is_larger_than_a_packet_is_found_and_refused() -> Result<()> {
    let (servers, schema) = (Servers::<Server>::start()?, "packet");
    servers.source.make(schema).await?;
    servers
        .source
        .write(schema, &Tenant::new(1).changes(100))
        .await?;
    let packet = "SET GLOBAL max_allowed_packet = 1048576";
    servers.target.run("mysql", packet).await?;
    let pair = servers.pair(schema)?;
    let look = pair.look().await?;
    let found = finding(&look, "max_allowed_packet")?;
    ensure!(
        found.blocks && found.evidence.ends_with("takes 1048576 in a packet"),
        "{found:?}"
    );
    let error = refusal(pair.copy(None, &quiet()).await)?.to_string();
    ensure!(error.contains("raise max_allowed_packet there"), "{error}");
    let packet = "SET GLOBAL max_allowed_packet = 16777216";
    servers.target.run("mysql", packet).await?;
    ensure!(pair.look().await?.findings.is_empty());
    pair.copy(None, &quiet()).await?;
    ensure!(pair.compare(&quiet()).await?.different == 0);
    Ok(())
}
