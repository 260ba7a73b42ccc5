//! Who is let in, and who is believed.
use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{BasicAuth, Connection, DatastoreError, Pair as _};

use super::{
    super::{authority::Authority, free_ports, quiet},
    HOST, Servers, Sql, Tenant, refusal, user,
};

/// What a look says when the target is reached like this.
async fn look<S: Sql>(
    servers: &Servers<S>,
    change: impl FnOnce(&mut Connection),
) -> Result<DatastoreError> {
    let mut target = servers.target.connection();
    change(&mut target);
    refusal(
        S::open(&servers.source.connection(), &target, "trust")?
            .look()
            .await,
    )
}

pub async fn a_wrong_password_is_refused<S: Sql>() -> Result<()> {
    let servers = Servers::<S>::shared()?;
    let error = look(&servers, |target| {
        let password = "other".into();
        target.basic = Some(BasicAuth {
            password,
            ..user(S::USER)
        });
    });
    let error = error.await?;
    ensure!(matches!(error, DatastoreError::Refused { .. }), "{error}");
    ensure!(error.to_string().contains(S::REFUSALS[0]), "{error}");
    Ok(())
}

pub async fn only_the_servers_own_certificate_is_believed<S: Sql>() -> Result<()> {
    let servers = Servers::<S>::shared()?;
    let other = Authority::new()?;
    for (what, error) in [
        (
            "another authority",
            look(&servers, |target| {
                target.authority = Some(other.pem());
            })
            .await?,
        ),
        (
            "another host",
            look(&servers, |target| {
                "another.svc".clone_into(&mut target.endpoints[0].host);
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
    ensure!(error.to_string().contains(S::REFUSALS[1]), "{error}");
    Ok(())
}

pub async fn a_certificate_logs_in<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "certificate");
    servers
        .target
        .run(S::MAINTENANCE, &S::make_certified())
        .await?;
    servers.source.make(schema).await?;
    servers
        .source
        .write(schema, &Tenant::new(1).changes(20))
        .await?;
    let mut target = servers.target.connection();
    target.basic = Some(user("certified"));
    let source = servers.source.connection();
    let without = refusal(S::open(&source, &target, schema)?.look().await)?;
    ensure!(without.to_string().contains(S::REFUSALS[2]), "{without}");
    target.identity = Some(
        servers
            .target
            .running()
            .authority
            .certify("certified", &[])?,
    );
    let pair = S::open(&source, &target, schema)?;
    pair.copy(None, &quiet()).await?;
    ensure!(pair.compare(&quiet()).await?.different == 0);
    Ok(())
}

pub async fn nobody_at_the_port_and_no_endpoint_are_told<S: Sql>() -> Result<()> {
    let servers = Servers::<S>::shared()?;
    let [port] = free_ports()?;
    let error = look(&servers, |target| target.endpoints[0].dial.set_port(port))
        .await?
        .to_string();
    let expected = format!(
        "{} is unreachable at {HOST}:{}: Connection refused",
        S::STORE,
        S::PORT
    );
    ensure!(error.starts_with(&expected), "{error}");
    let mut nowhere = servers.target.connection();
    nowhere.endpoints.clear();
    let error = refusal(S::open(&servers.source.connection(), &nowhere, "trust"))?;
    ensure!(
        error.to_string() == format!("{}: its DataStore names no endpoint", S::STORE),
        "{error}"
    );
    Ok(())
}
