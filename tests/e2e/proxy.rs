//! A proxy before an API server, with a script that decides what becomes of each request.
use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsConnector, rustls};

use super::support::{BOUND, Ended, On, Running, free_port};

/// What the script is asked about.
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub body: Bytes,
}

impl Seen {
    pub fn is_watch(&self) -> bool {
        self.target.contains("watch=true") || self.target.contains("watch=1")
    }

    /// The step and the record that this request writes to the journal of migration `name`; `header` for
    /// its first line.
    pub fn journal_write(&self, name: &str) -> Option<String> {
        let path = self.target.split('?').next().unwrap_or_default();
        let object: Value = serde_json::from_slice(&self.body).ok()?;
        let wanted = format!("migrate-{name}");
        let writes = (self.method == Method::POST && path.ends_with("/configmaps"))
            || (self.method == Method::PUT && path.ends_with(&format!("/configmaps/{wanted}")));
        if !writes || object["metadata"]["name"] != wanted.as_str() {
            return None;
        }
        let line = object["data"]["journal"].as_str()?.lines().last()?;
        let entry: Value = serde_json::from_str(line.split_once(' ')?.1).ok()?;
        let record = match &entry["record"] {
            Value::Object(record) => record.keys().next()?.clone(),
            record => record.as_str().unwrap_or("header").to_owned(),
        };
        Some(format!(
            "{} {record}",
            entry["step"].as_str().unwrap_or("journal")
        ))
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fate {
    Pass,
    /// The client is killed with -9, and the server never sees the request.
    KillBefore,
    /// The client is killed with -9 after the server has done it, and before it knows.
    KillAfter,
    /// The proxy answers in the server's place.
    Answer(u16),
    /// The server's history does not go back so far: 410, in a watch as an event.
    Expired,
    /// The connection is reset, and the server never sees the request.
    Reset,
    /// The connection is reset after the server has done it.
    ResetAfter,
    /// There is never an answer.
    Hang,
    /// Somebody else changes the object a moment before the server does it.
    Conflict,
    /// It goes on when this becomes true.
    Hold(watch::Receiver<bool>),
    /// It becomes a stream, of which a byte is changed on its way to the server.
    Change(usize),
    /// It becomes a stream that breaks when so many bytes have gone to the server.
    Break(usize),
    /// It becomes a command of whose output no more bytes come than these, while all else does, as if it ended well.
    Truncate(usize),
}

type Script = Box<dyn FnMut(&Seen) -> Fate + Send>;
type Body = BoxBody<Bytes, hyper::Error>;

struct Shared {
    script: Mutex<Script>,
    server: String,
    tls: TlsConnector,
    /// The client that is killed.
    victim: watch::Sender<Option<Pid>>,
}

/// A proxy that listens until it is closed or dropped.
pub struct Proxy {
    runtime: Runtime,
    shared: Arc<Shared>,
    address: SocketAddr,
    serving: Mutex<Option<JoinHandle<()>>>,
    folder: tempfile::TempDir,
}

impl Proxy {
    /// Before one of the clusters, for the user of its kubeconfig.
    pub fn new(on: On, script: impl FnMut(&Seen) -> Fate + Send + 'static) -> Result<Self> {
        let text = std::fs::read_to_string(on.kubeconfig()?)?;
        let mut kubeconfig: Value = serde_yaml::from_str(&text)?;
        let server = kubeconfig["clusters"][0]["cluster"]["server"]
            .as_str()
            .and_then(|server| server.strip_prefix("https://"))
            .context("a kubeconfig with an https server")?
            .to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        // It is closed and opened again: nobody else may have it meanwhile.
        let here = (Ipv4Addr::LOCALHOST, free_port()?);
        let listener = runtime.block_on(TcpListener::bind(here))?;
        let address = listener.local_addr()?;
        kubeconfig["clusters"][0]["cluster"] = json!({"server": format!("http://{address}")});
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
        let this = Self {
            shared: Arc::new(Shared {
                script: Mutex::new(Box::new(script)),
                server,
                tls: insecure()?,
                victim: watch::Sender::new(None),
            }),
            runtime,
            address,
            serving: Mutex::new(None),
            folder,
        };
        this.serve(listener);
        Ok(this)
    }

    /// A kubeconfig that leads to the proxy.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The server as the client knows it.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets its kubeconfig be that of another user.
    pub fn log_in(&self, token: &str) -> Result<()> {
        let mut kubeconfig: Value = serde_json::from_slice(&std::fs::read(self.kubeconfig())?)?;
        kubeconfig["users"][0]["user"] = json!({"token": token});
        std::fs::write(self.kubeconfig(), kubeconfig.to_string())?;
        Ok(())
    }

    /// Starts the program with the proxy as its server and as the victim of kills.
    pub fn start(&self, mut command: Command) -> Result<Running> {
        command.env("KUBECONFIG", self.kubeconfig());
        self.shared.victim.send_replace(None);
        let running = Running::start(command)?;
        let pid = i32::try_from(running.id())?;
        self.shared.victim.send_replace(Pid::from_raw(pid));
        Ok(running)
    }

    /// One that kills its client with -9 as soon as this write to the journal of migration `name` is done.
    pub fn that_kills_after(on: On, name: &'static str, write: &'static str) -> Result<Self> {
        Self::new(on, move |seen| {
            if seen.journal_write(name).as_deref() == Some(write) {
                Fate::KillAfter
            } else {
                Fate::Pass
            }
        })
    }

    /// One that holds this write to the journal of migration `name` until the gate is opened.
    pub fn that_holds(
        on: On,
        name: &'static str,
        write: &'static str,
    ) -> Result<(Self, watch::Sender<bool>)> {
        let (gate, opens) = watch::channel(false);
        let proxy = Self::new(on, move |seen| {
            if seen.journal_write(name).as_deref() == Some(write) {
                Fate::Hold(opens.clone())
            } else {
                Fate::Pass
            }
        })?;
        Ok((proxy, gate))
    }

    /// Runs the program to its end, which may be that it is killed.
    pub fn end(&self, command: Command) -> Result<Ended> {
        self.start(command)?.end()
    }

    /// Nothing listens any more, and every connection is cut.
    pub fn close(&self) {
        let serving = self
            .serving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(serving) = serving {
            serving.abort();
            self.runtime.block_on(serving).ok();
        }
    }

    /// Listens again, at the same address.
    pub fn open(&self) -> Result<()> {
        let listener = self.runtime.block_on(TcpListener::bind(self.address))?;
        self.serve(listener);
        Ok(())
    }

    fn serve(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let serving = self.runtime.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(Arc::clone(&shared), stream));
                while connections.try_join_next().is_some() {}
            }
        });
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(serving);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let Ok(own) = stream.as_fd().try_clone_to_owned() else {
        return;
    };
    let own = Arc::new(own);
    let service = service_fn(|request| {
        let (shared, own) = (Arc::clone(&shared), Arc::clone(&own));
        async move { shared.decide(request, &own).await }
    });
    // An error is what a reset is made of.
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
        .ok();
}

impl Shared {
    async fn decide(&self, request: Request<Incoming>, own: &OwnedFd) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let seen = Seen {
            method: parts.method.clone(),
            target: parts.uri.to_string(),
            body: body.clone(),
        };
        let fate = (self.script.lock().unwrap_or_else(PoisonError::into_inner))(&seen);
        let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let request = Request::from_parts(parts, Full::new(body));
        match fate {
            Fate::Pass | Fate::Change(_) | Fate::Break(_) | Fate::Truncate(_) => {
                self.forward_with(request, upgrade, &fate).await
            }
            Fate::KillBefore => {
                self.kill().await?;
                std::future::pending().await
            }
            Fate::KillAfter => {
                let answer = self.forward(request, upgrade).await?.into_body();
                answer.collect().await?;
                self.kill().await?;
                std::future::pending().await
            }
            Fate::Answer(code) => Ok(refusal(code)?),
            Fate::Expired if seen.is_watch() => {
                let event = json!({"type": "ERROR", "object": status(410)});
                Ok(answer(200, format!("{event}\n"))?)
            }
            Fate::Expired => Ok(refusal(410)?),
            Fate::Reset => reset(own),
            Fate::ResetAfter => {
                let answer = self.forward(request, upgrade).await?.into_body();
                answer.collect().await?;
                reset(own)
            }
            Fate::Hang => std::future::pending().await,
            Fate::Conflict => {
                self.touch(&request).await?;
                self.forward(request, upgrade).await
            }
            Fate::Hold(mut gate) => {
                gate.wait_for(|open| *open).await?;
                self.forward(request, upgrade).await
            }
        }
    }

    /// Changes the object that a request is about, so that it is another version.
    async fn touch(&self, request: &Request<Full<Bytes>>) -> Result<()> {
        let path = request.uri().path().trim_end_matches("/scale");
        let note = json!({"test/touched": fastrand::u64(..).to_string()});
        let change = json!({"metadata": {"annotations": note}}).to_string();
        let mut touch =
            Request::patch(path).header(header::CONTENT_TYPE, "application/merge-patch+json");
        if let Some(who) = request.headers().get(header::AUTHORIZATION) {
            touch = touch.header(header::AUTHORIZATION, who);
        }
        let answer = self.forward(touch.body(Full::new(change.into()))?, None);
        let status = answer.await?.status();
        ensure!(status.is_success(), "{path} cannot be touched: {status}");
        Ok(())
    }

    async fn forward(
        &self,
        request: Request<Full<Bytes>>,
        upgrade: Option<hyper::upgrade::OnUpgrade>,
    ) -> Result<Response<Body>> {
        self.forward_with(request, upgrade, &Fate::Pass).await
    }

    /// Sends a request to the server, over a connection of its own.
    async fn forward_with(
        &self,
        mut request: Request<Full<Bytes>>,
        upgrade: Option<hyper::upgrade::OnUpgrade>,
        fate: &Fate,
    ) -> Result<Response<Body>> {
        let stream = TcpStream::connect(&self.server).await?;
        let name = rustls::pki_types::ServerName::try_from("kubernetes")?;
        let stream = self.tls.connect(name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        request
            .headers_mut()
            .insert(header::HOST, self.server.parse()?);
        let mut answer = sender.send_request(request).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(client) = upgrade
        {
            let server = hyper::upgrade::on(&mut answer);
            let fate = fate.clone();
            tokio::spawn(async move {
                let (client, server) = tokio::try_join!(client, server)?;
                carry(TokioIo::new(client), TokioIo::new(server), &fate).await
            });
        }
        Ok(answer.map(http_body_util::BodyExt::boxed))
    }

    /// Kills the client, and waits until the kernel has done it.
    async fn kill(&self) -> Result<()> {
        let victim = self
            .victim
            .subscribe()
            .wait_for(Option::is_some)
            .await?
            .context("a victim")?;
        kill_process(victim, Signal::KILL)?;
        let begun = Instant::now();
        while begun.elapsed() < BOUND {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", victim.as_raw_nonzero()));
            if stat.map_or(true, |stat| stat.contains(") Z ")) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("process {victim:?} does not die")
    }
}

/// Carries a stream both ways, and meddles with what goes to the server.
async fn carry(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    mut server: impl AsyncRead + AsyncWrite + Unpin,
    fate: &Fate,
) -> Result<()> {
    let (at, breaks) = match fate {
        Fate::Change(at) => (*at, false),
        Fate::Break(at) => (*at, true),
        Fate::Truncate(most) => {
            let (mut from_client, to_client) = tokio::io::split(client);
            let (from_server, mut to_server) = tokio::io::split(server);
            return tokio::select! {
                there = tokio::io::copy(&mut from_client, &mut to_server) => there.map(drop).map_err(Into::into),
                back = super::exec::truncated(from_server, to_client, *most) => back,
            };
        }
        _ => {
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
            return Ok(());
        }
    };
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let there = async {
        let (mut gone, mut piece) = (0, vec![0; 16 << 10]);
        loop {
            let count = from_client.read(&mut piece).await?;
            if count == 0 {
                to_server.shutdown().await?;
                return std::future::pending().await;
            }
            if (gone..gone + count).contains(&at) {
                if breaks {
                    to_server.write_all(&piece[..at - gone]).await?;
                    return Ok(());
                }
                piece[at - gone] ^= 1;
            }
            to_server.write_all(&piece[..count]).await?;
            gone += count;
        }
    };
    let back = async {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await?;
        Ok::<_, anyhow::Error>(())
    };
    tokio::select! {
        broken = there => broken,
        ended = back => ended,
    }
}

/// Ends the connection with a reset: the error makes the server drop it, and there is nothing to linger for.
fn reset(own: &OwnedFd) -> Result<Response<Body>> {
    rustix::net::sockopt::set_socket_linger(own, Some(Duration::ZERO))?;
    bail!("reset")
}

fn status(code: u16) -> Value {
    let reason = match code {
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
        "message": format!("the test's proxy answers {code}"), "code": code})
}

fn refusal(code: u16) -> Result<Response<Body>, http::Error> {
    answer(code, status(code).to_string())
}

fn answer(code: u16, text: String) -> Result<Response<Body>, http::Error> {
    let body = Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {});
    let mut response = Response::builder().status(code);
    if code == 429 {
        response = response.header(header::RETRY_AFTER, "1");
    }
    response
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.boxed())
}

/// The test cluster's certificate is nobody's business here.
fn insecure() -> Result<TlsConnector> {
    #[derive(Debug)]
    struct Any(Arc<rustls::crypto::CryptoProvider>);
    impl rustls::client::danger::ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &rustls::pki_types::ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
