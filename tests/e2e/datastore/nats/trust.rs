//! Who is let in, and who is believed.
use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{Connection, DatastoreError, NatsPair, Pair as _};

use super::{
    super::{authority::Authority, free_ports, quiet, sql::refusal},
    SCHEMA, Server, pair, stores,
    tenants::changes,
};

/// What a look says when the target is reached like this.
async fn look(
    source: &Server,
    target: &Server,
    change: impl FnOnce(&mut Connection),
) -> Result<DatastoreError> {
    let mut to = target.connection();
    change(&mut to);
    refusal(
        NatsPair::open(&source.connection(), &to, SCHEMA)?
            .look()
            .await,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused() -> Result<()> {
    let (source, target) = stores().await?;
    let error = look(&source, &target, |target| {
        if let Some(basic) = &mut target.basic {
            basic.password = "other".into();
        }
    })
    .await?;
    ensure!(
        error.to_string()
            == "datastore silver refuses us: authorization violation; look at the credentials that its \
            DataStore names",
        "{error}"
    );
    let error = look(&source, &target, |target| target.basic = None).await?;
    ensure!(matches!(error, DatastoreError::Refused { .. }), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_servers_own_certificate_is_believed() -> Result<()> {
    let (source, target) = stores().await?;
    let other = Authority::new()?;
    let error = look(&source, &target, |target| {
        target.authority = Some(other.pem());
    })
    .await?;
    ensure!(
        error.to_string()
            == "datastore silver is unreachable at nats.stores.svc:4222: the server's certificate is not \
            of the authority that the DataStore names",
        "{error}"
    );
    let error = look(&source, &target, |target| {
        target.endpoints[0].host = "another.svc".to_owned();
    })
    .await?;
    ensure!(
        error.to_string()
            == "datastore silver is unreachable at nats.stores.svc:4222: the server's certificate is not \
            for another.svc",
        "{error}"
    );
    // The server takes nobody without TLS.
    let error = look(&source, &target, |target| target.authority = None).await?;
    ensure!(
        matches!(error, DatastoreError::Unreachable { .. }),
        "{error}"
    );
    let mut broken = target.connection();
    broken.authority = Some("no certificate".to_owned());
    let error = refusal(NatsPair::open(&source.connection(), &broken, SCHEMA))?;
    ensure!(
        matches!(error, DatastoreError::Credentials { .. }),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(20, 20, 100)).await?;
    let mut with = target.connection();
    with.identity = Some(target.authority.certify("kine", &[])?);
    let pair = NatsPair::open(&source.connection(), &with, SCHEMA)?;
    pair.copy(None, &quiet()).await?;
    ensure!(pair.compare(&quiet()).await?.different == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_endpoint_is_dialled_and_those_that_servers_tell_of_are_not() -> Result<()> {
    let (source, target) = stores().await?;
    let [port] = free_ports()?;
    let error = look(&source, &target, |target| {
        target.endpoints[0].dial.set_port(port);
    })
    .await?
    .to_string();
    let expected = "datastore silver is unreachable at nats.stores.svc:4222: Connection refused";
    ensure!(error.starts_with(expected), "{error}");

    let mut two = target.connection();
    let mut dead = two.endpoints[0].clone();
    dead.dial.set_port(port);
    two.endpoints.insert(0, dead);
    let look = NatsPair::open(&source.connection(), &two, SCHEMA)?
        .look()
        .await?;
    ensure!(look.target.version.starts_with("2."), "{look:?}");

    two.endpoints.clear();
    let error = refusal(NatsPair::open(&source.connection(), &two, SCHEMA))?;
    ensure!(
        error.to_string() == "datastore silver: its DataStore names no endpoint",
        "{error}"
    );
    let look = pair(&source, &target)?.look().await?;
    ensure!(look.target.keys == 0);
    Ok(())
}
