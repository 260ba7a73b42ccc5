//! What only PostgreSQL has: rights to databases and roles, and a database's encoding.
use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{Pair as _, PostgresPair};

use super::{
    super::{
        quiet,
        sql::{PASSWORD, Servers, Sql as _, finding, refusal, user},
    },
    server::Server,
};

#[tokio::test]
async fn a_user_without_rights_is_found_and_refused() -> Result<()> {
    let (servers, schema) = (Servers::<Server>::shared()?, "weakly");
    // A name that does not end where it says.
    let make = format!(
        "CREATE ROLE \"we\"\"ak\" LOGIN PASSWORD '{}'",
        PASSWORD.replace('\'', "''")
    );
    servers.target.run("postgres", &make).await?;
    let mut weak = servers.target.connection();
    weak.basic = Some(user("we\"ak"));
    servers.source.make(schema).await?;
    let pair = PostgresPair::open(&servers.source.connection(), &weak, schema)?;
    let look = pair.look().await?;
    ensure!(
        finding(&look, "right to create databases")?.blocks,
        "{look:?}"
    );
    ensure!(
        finding(&look, "right to create roles")?
            .cure
            .ends_with("ALTER ROLE \"we\"\"ak\" CREATEROLE"),
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
async fn a_database_of_another_encoding_is_found() -> Result<()> {
    let (servers, schema) = (Servers::<Server>::shared()?, "latin");
    servers.source.make(schema).await?;
    let make =
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
    servers.target.run("postgres", make).await?;
    servers.target.run(schema, Server::KINE).await?;
    let look = servers.pair(schema)?.look().await?;
    let found = finding(&look, "encoding")?;
    ensure!(
        found.blocks
            && found
                .evidence
                .ends_with("is in LATIN1, the source's in UTF8"),
        "{found:?}"
    );
    Ok(())
}
