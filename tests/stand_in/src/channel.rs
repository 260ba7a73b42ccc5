//! The way to a store's servers.
use std::{io, sync::Arc, time::Duration};

use anyhow::Result;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use crate::store::Store;

/// For one server; the next one is tried then.
const PATIENCE: Duration = Duration::from_secs(3);

/// A channel that connects when it is first used, to whichever server answers.
pub fn to(store: &Store) -> Result<Channel> {
    let mut tls = tls(store)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(tls));
    let servers = store.endpoints.clone();
    // etcd looks at a client's certificate only in requests that call themselves https.
    let settings = Endpoint::from_static("http://etcd").origin(Uri::from_static("https://etcd"));
    Ok(
        settings.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let (tls, servers) = (tls.clone(), servers.clone());
            async move { dial(&tls, &servers).await.map(TokioIo::new) }
        })),
    )
}

/// How a store's servers prove who they are, and we prove it to them.
pub fn tls(store: &Store) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if let Some(authority) = &store.authority {
        roots.add(CertificateDer::from_pem_slice(
            authority.certificate.as_bytes(),
        )?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let Some(identity) = &store.identity else {
        return Ok(config.with_no_client_auth());
    };
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    Ok(config.with_client_auth_cert(vec![certificate], key)?)
}

async fn dial(tls: &TlsConnector, servers: &[String]) -> io::Result<TlsStream<TcpStream>> {
    let mut failure = io::Error::other("a datastore without endpoints");
    for server in servers {
        match tokio::time::timeout(PATIENCE, reach(tls, server)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(late) => failure = late.into(),
        }
    }
    Err(failure)
}

async fn reach(tls: &TlsConnector, server: &str) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    tls.connect(name, stream).await
}
