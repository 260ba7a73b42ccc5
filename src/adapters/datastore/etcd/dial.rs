//! Connections to a store's servers: dialled, encrypted, and made again when they break.
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint as ChannelSettings};

use super::super::{
    Connection, DatastoreError, Endpoint,
    tls::{self, Reason},
};

/// From the first packet to the end of the handshake.
const CONNECT_BOUND: Duration = Duration::from_secs(30);
/// A server that accepts our certificate speaks first, at once; one that does not closes.
const GREETING_BOUND: Duration = Duration::from_secs(3);
/// For one request; etcd itself gives up after some seconds.
const REQUEST_BOUND: Duration = Duration::from_mins(1);
/// etcd takes more pings than one in 5 s, or any while nothing is asked, for an attack.
const PING_EACH: Duration = Duration::from_secs(10);
const PING_BOUND: Duration = Duration::from_secs(30);
/// What may be on its way at once: more than a page, so that a distant server is not waited for.
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Dials the servers of one store. Clones are the same dialler.
#[derive(Clone)]
pub(super) struct Dialler {
    store: Arc<str>,
    endpoints: Arc<[Endpoint]>,
    tls: Option<TlsConnector>,
    /// Which is tried first: the one that was reached last.
    first: Arc<AtomicUsize>,
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

impl Dialler {
    pub(super) fn new(connection: &Connection) -> Result<Self, DatastoreError> {
        if connection.endpoints.is_empty() {
            return Err(DatastoreError::Unexpected {
                store: connection.name.clone(),
                what: "its DataStore names no endpoint".to_owned(),
            });
        }
        Ok(Self {
            store: connection.name.as_str().into(),
            endpoints: connection.endpoints.as_slice().into(),
            tls: connector(connection)?,
            first: Arc::default(),
        })
    }

    /// The store's name.
    pub(super) fn store(&self) -> Arc<str> {
        Arc::clone(&self.store)
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint that was reached last, or is tried first.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.first.load(Ordering::Relaxed) % self.endpoints.len()]
    }

    /// The next connection begins with this endpoint.
    pub(super) fn begin_with(&self, index: usize) {
        self.first.store(index, Ordering::Relaxed);
    }

    /// The same for one of the endpoints only.
    pub(super) fn only(&self, index: usize) -> Self {
        Self {
            endpoints: self.endpoints[index..=index].into(),
            first: Arc::default(),
            ..self.clone()
        }
    }

    /// Reaches one server and hears its greeting: only then has it accepted our certificate.
    pub(super) async fn probe(&self) -> Result<(), DatastoreError> {
        let mut stream = self.dial().await?;
        if self.tls.is_none() {
            return Ok(());
        }
        let endpoint = self.endpoint();
        match timeout(GREETING_BOUND, stream.read_u8()).await {
            Ok(Err(error)) => Err(self.failed(endpoint, &error)),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    /// A channel that connects on first use, and again after each loss, to whichever endpoint answers.
    pub(super) fn channel(&self) -> Channel {
        let mut settings = ChannelSettings::from_static("http://etcd")
            .timeout(REQUEST_BOUND)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_EACH)
            .keep_alive_timeout(PING_BOUND)
            .keep_alive_while_idle(false);
        if self.tls.is_some() {
            // etcd looks at a client's certificate only in requests that call themselves https.
            settings = settings.origin(Uri::from_static("https://etcd"));
        }
        let dialler = self.clone();
        settings.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let dialler = dialler.clone();
            async move { dialler.dial().await.map(TokioIo::new) }
        }))
    }

    async fn dial(&self) -> Result<Box<dyn Bytes>, DatastoreError> {
        let (first, count) = (self.first.load(Ordering::Relaxed), self.endpoints.len());
        let mut failure = None;
        for index in (first..first + count).map(|index| index % count) {
            let endpoint = &self.endpoints[index];
            let failed = match timeout(CONNECT_BOUND, self.reach(endpoint)).await {
                Ok(Ok(stream)) => {
                    self.begin_with(index);
                    return Ok(stream);
                }
                Ok(Err(error)) => self.failed(endpoint, &error),
                Err(_) => {
                    let late = format!("no answer in {}s", CONNECT_BOUND.as_secs());
                    self.failed(endpoint, &io::Error::new(io::ErrorKind::TimedOut, late))
                }
            };
            failure.get_or_insert(failed);
        }
        Err(failure.unwrap_or_else(|| DatastoreError::Unexpected {
            store: self.store.to_string(),
            what: "its DataStore names no endpoint".to_owned(),
        }))
    }

    async fn reach(&self, endpoint: &Endpoint) -> io::Result<Box<dyn Bytes>> {
        let stream = TcpStream::connect(endpoint.dial).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = tls::server_name(&endpoint.host)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }

    fn failed(&self, endpoint: &Endpoint, error: &io::Error) -> DatastoreError {
        let store = self.store.to_string();
        let cause = match tls::reason(error, &endpoint.host) {
            Some(Reason::Ours(cause)) => {
                let cause = format!("{cause} at {}", endpoint.shown);
                return DatastoreError::Refused { store, cause };
            }
            Some(Reason::Theirs(cause)) => cause,
            None => error.to_string(),
        };
        DatastoreError::Unreachable {
            store,
            endpoint: endpoint.shown.clone(),
            cause,
        }
    }
}

/// What makes TLS connections, for what gRPC is spoken over.
fn connector(connection: &Connection) -> Result<Option<TlsConnector>, DatastoreError> {
    let config = tls::client_config(connection)?;
    Ok(config.map(|mut config| {
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }))
}
