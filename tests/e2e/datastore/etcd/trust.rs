use anyhow::{Result, bail, ensure};
use kubectl_migrate::adapters::datastore::{
    Connection, DatastoreError, Endpoint, EtcdPair, Pair as _,
};

use super::{SCHEMA, Server, authority::Authority, keys, quiet, server::HOST};

/// Opens a pair whose target is this; what it says.
async fn refused(source: &Server, target: &Connection) -> Result<DatastoreError> {
    match Box::pin(EtcdPair::open(&source.connection(), target, SCHEMA)).await {
        Ok(_) => bail!("it was let in"),
        Err(error) => Ok(error),
    }
}

fn says(error: &DatastoreError, texts: &[&str]) -> Result<()> {
    let said = error.to_string();
    for text in texts {
        ensure!(said.contains(text), "`{text}` is not in `{said}`");
    }
    ensure!(!said.contains('\n'), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_credentials_is_told_apart() -> Result<()> {
    let store = Server::start("gold").await?;
    let right = store.connection();
    Box::pin(EtcdPair::open(&right, &right, SCHEMA)).await?;

    let mut wrong = right.clone();
    wrong.authority = Some(Authority::new()?.pem());
    let error = refused(&store, &wrong).await?;
    ensure!(
        matches!(error, DatastoreError::Unreachable { .. }),
        "{error}"
    );
    says(
        &error,
        &[
            "datastore gold",
            "etcd.stores.svc:2379",
            "not of the authority",
        ],
    )?;

    let mut wrong = right.clone();
    let other = store.authority.certify("root", &[])?;
    wrong.identity.as_mut().expect("it has one").key = other.key;
    let error = refused(&store, &wrong).await?;
    ensure!(
        matches!(error, DatastoreError::Credentials { .. }),
        "{error}"
    );
    says(
        &error,
        &[
            "the client's key",
            "not the key of the client's certificate",
        ],
    )?;

    let mut wrong = right.clone();
    wrong.identity = Some(store.authority.certify_until("root", &[], 2020)?);
    let error = refused(&store, &wrong).await?;
    ensure!(matches!(error, DatastoreError::Refused { .. }), "{error}");
    says(
        &error,
        &[
            "datastore gold",
            "rejects our certificate",
            "etcd.stores.svc:2379",
        ],
    )?;

    let mut wrong = right.clone();
    wrong.identity = Some(Authority::new()?.certify("root", &[])?);
    let error = refused(&store, &wrong).await?;
    ensure!(matches!(error, DatastoreError::Refused { .. }), "{error}");
    says(&error, &["rejects our certificate"])?;

    let mut wrong = right.clone();
    wrong.identity = None;
    let error = refused(&store, &wrong).await?;
    ensure!(matches!(error, DatastoreError::Refused { .. }), "{error}");

    let mut wrong = right.clone();
    wrong.identity = Some(store.authority.certify("nobody", &[])?);
    let error = refused(&store, &wrong).await?;
    ensure!(matches!(error, DatastoreError::Refused { .. }), "{error}");
    says(&error, &["datastore gold", "look at the credentials"])?;

    let mut wrong = right.clone();
    wrong.authority = Some("no certificate".to_owned());
    let error = refused(&store, &wrong).await?;
    ensure!(
        matches!(error, DatastoreError::Credentials { .. }),
        "{error}"
    );

    let mut wrong = right;
    wrong.endpoints[0].host = "silver.stores.svc".to_owned();
    let error = refused(&store, &wrong).await?;
    says(&error, &["not for silver.stores.svc"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_an_expired_certificate_is_not_trusted() -> Result<()> {
    let store = Server::start("gold").await?;
    let certify =
        |authority: &Authority| authority.certify_until("server", &[HOST, "127.0.0.1"], 2020);
    let expired = Box::pin(Server::with_certificate("silver", &[], certify)).await?;
    let error = refused(&store, &expired.connection()).await?;
    ensure!(
        matches!(error, DatastoreError::Unreachable { .. }),
        "{error}"
    );
    says(&error, &["datastore silver", "has expired"])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_is_found_behind_one_that_does_not() -> Result<()> {
    let (source, target) = super::stores().await?;
    source.fill(keys(100, 10)).await?;
    let [nobody] = super::free_ports()?;
    let dial = std::net::SocketAddr::from(([127, 0, 0, 1], nobody));
    let dead = Endpoint {
        dial,
        host: HOST.to_owned(),
        shown: "etcd-0.etcd.stores.svc:2379".to_owned(),
    };
    let mut connection = target.connection();
    connection.endpoints.insert(0, dead.clone());
    let pair = Box::pin(EtcdPair::open(&source.connection(), &connection, SCHEMA)).await?;
    pair.copy(None, &quiet()).await?;
    ensure!(target.rows("/t1/").await?.len() == 100);
    let look = pair.look().await?;
    let member = look.findings.iter().find(|at| at.check == "etcd member");
    let member = member.ok_or_else(|| anyhow::anyhow!("not said: {look:?}"))?;
    ensure!(
        !member.blocks && member.evidence.contains("etcd-0"),
        "{member:?}"
    );

    connection.endpoints = vec![dead];
    let error = refused(&source, &connection).await?;
    ensure!(
        matches!(error, DatastoreError::Unreachable { .. }),
        "{error}"
    );
    says(
        &error,
        &[
            "datastore silver is unreachable at etcd-0.etcd.stores.svc:2379",
            "refused",
        ],
    )
}
