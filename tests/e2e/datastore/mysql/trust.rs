//! Who is let in, and who is believed.
use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{
    BasicAuth, Connection, DatastoreError, MySqlPair, Pair as _,
};

use super::{
    super::sql::{Authority, PASSWORD, Tenant, free_port, quiet, refusal},
    server::Servers,
};

/// What a look says when the target is reached like this.
async fn look(servers: &Servers, change: impl FnOnce(&mut Connection)) -> Result<DatastoreError> {
    let mut target = servers.target.connection();
    change(&mut target);
    refusal(
        MySqlPair::open(&servers.source.connection(), &target, "trust")?
            .look()
            .await,
    )
}

#[tokio::test]
async fn a_wrong_password_is_refused() -> Result<()> {
    let servers = Servers::shared()?;
    let error = look(&servers, |target| {
        target.basic = Some(BasicAuth {
            user: "admin".to_owned(),
            password: "other".into(),
        });
    });
    let error = error.await?;
    ensure!(matches!(error, DatastoreError::Refused { .. }), "{error}");
    ensure!(
        error
            .to_string()
            .contains("Access denied for user 'admin'@"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn only_the_servers_own_certificate_is_believed() -> Result<()> {
    let servers = Servers::shared()?;
    let other = Authority::new()?;
    for (what, error) in [
        (
            "another authority",
            look(&servers, |target| {
                target.authority = Some(other.certificate);
            })
            .await?,
        ),
        (
            "another host",
            look(&servers, |target| {
                target.endpoints[0].host = "another.svc".to_owned();
            })
            .await?,
        ),
    ] {
        ensure!(
            matches!(error, DatastoreError::Unreachable { .. }),
            "{what}: {error}"
        );
        ensure!(
            error.to_string().contains("invalid peer certificate"),
            "{what}: {error}"
        );
    }
    // The server takes nobody without TLS.
    let error = look(&servers, |target| target.authority = None).await?;
    ensure!(matches!(error, DatastoreError::Refused { .. }), "{error}");
    ensure!(error.to_string().contains("Access denied"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_logs_in() -> Result<()> {
    let (servers, schema) = (Servers::shared()?, "certificate");
    servers.source.make(schema).await?;
    servers
        .source
        .write(schema, &Tenant::new(1).changes(20))
        .await?;
    let mut target = servers.target.connection();
    target.basic = Some(BasicAuth {
        user: "certified".to_owned(),
        password: PASSWORD.into(),
    });
    let source = servers.source.connection();
    let without = refusal(MySqlPair::open(&source, &target, schema)?.look().await)?;
    ensure!(
        without
            .to_string()
            .contains("Access denied for user 'certified'@"),
        "{without}"
    );
    target.identity = Some(servers.target.authority.client("certified")?);
    let pair = MySqlPair::open(&source, &target, schema)?;
    pair.copy(None, &quiet()).await?;
    ensure!(pair.compare(&quiet()).await?.different == 0);
    Ok(())
}

#[tokio::test]
async fn nobody_at_the_port_and_no_endpoint_are_told() -> Result<()> {
    let servers = Servers::shared()?;
    let port = free_port()?;
    let error = look(&servers, |target| target.endpoints[0].dial.set_port(port))
        .await?
        .to_string();
    let expected =
        "datastore gold is unreachable at datastore.kamaji-system.svc:3306: Connection refused";
    ensure!(error.starts_with(expected), "{error}");
    let mut nowhere = servers.target.connection();
    nowhere.endpoints.clear();
    let error = refusal(MySqlPair::open(
        &servers.source.connection(),
        &nowhere,
        "trust",
    ))?;
    ensure!(
        error.to_string() == "datastore gold: its DataStore names no endpoint",
        "{error}"
    );
    Ok(())
}
