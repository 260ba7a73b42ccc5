//! A real etcd on this machine, with TLS and users as Kamaji wants them.
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use etcd_client::{Client, ConnectOptions, GetOptions, KeyValue, PutOptions, Txn, TxnOp};
use kubectl_migrate::adapters::datastore::{Connection, Driver, Endpoint, Identity};
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{authority::Authority, free_ports};
use crate::support::{output_of, wait_for};

/// The host that its certificate is for, as Kamaji's stores are named.
pub const HOST: &str = "etcd.stores.svc";
/// By which the tests log in beside the plugin, without TLS.
const PASSWORD: &str = "of-the-test";

/// The server, killed at the end.
pub struct Server {
    name: String,
    child: Mutex<Child>,
    /// TLS with certificates of users, and none.
    ports: [u16; 2],
    pub authority: Authority,
    root: Identity,
    _folder: tempfile::TempDir,
}

impl Server {
    pub async fn start(name: &str) -> Result<Self> {
        Self::with(name, &[]).await
    }

    /// With more flags.
    pub async fn with(name: &str, flags: &[&str]) -> Result<Self> {
        let certify = |authority: &Authority| authority.certify("server", &[HOST, "127.0.0.1"]);
        Box::pin(Self::with_certificate(name, flags, certify)).await
    }

    /// With a certificate of its own.
    pub async fn with_certificate(
        name: &str,
        flags: &[&str],
        certify: impl FnOnce(&Authority) -> Result<Identity>,
    ) -> Result<Self> {
        let authority = Authority::new()?;
        let folder = tempfile::tempdir()?;
        let write = |file: &str, text: &str| -> Result<PathBuf> {
            let path = folder.path().join(file);
            fs::write(&path, text)?;
            Ok(path)
        };
        let own = certify(&authority)?;
        let certificate = write("server.crt", &own.certificate)?;
        let key = write("server.key", own.key.expose_secret())?;
        let trusted = write("ca.crt", &authority.pem())?;
        let [secure, plain, peers] = free_ports()?;
        let clients = format!("https://127.0.0.1:{secure},http://127.0.0.1:{plain}");
        let peers = format!("http://127.0.0.1:{peers}");
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args([
                "--name",
                "only",
                "--log-level",
                "error",
                "--unsafe-no-fsync",
            ])
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("only={peers}")])
            .arg("--cert-file")
            .arg(certificate)
            .arg("--key-file")
            .arg(key)
            .arg("--client-cert-auth")
            .arg("--trusted-ca-file")
            .arg(trusted)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start etcd: put `tests/cluster/cluster path` on PATH")?;
        let server = Self {
            name: name.to_owned(),
            child: Mutex::new(child),
            ports: [secure, plain],
            root: authority.certify("root", &[])?,
            authority,
            _folder: folder,
        };
        server.ready()?;
        server.enable_users().await?;
        Ok(server)
    }

    fn ready(&self) -> Result<()> {
        wait_for("etcd", || {
            let ended = self.child().try_wait()?;
            ensure!(ended.is_none(), "etcd ended with {ended:?}");
            let endpoint = format!("http://127.0.0.1:{}", self.ports[1]);
            let health = ["--endpoints", &endpoint, "endpoint", "health"];
            Ok(output_of(Command::new("etcdctl").args(health)).ok())
        })?;
        Ok(())
    }

    async fn enable_users(&self) -> Result<()> {
        let client = Client::connect([self.plain()], None).await?;
        let mut users = client.auth_client();
        users.user_add("root", PASSWORD, None).await?;
        users.user_grant_role("root", "root").await?;
        users.auth_enable().await?;
        Ok(())
    }

    fn plain(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills it.
    pub fn stop(&self) -> Result<()> {
        let mut child = self.child();
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// How Kamaji's DataStore would name it.
    pub fn connection(&self) -> Connection {
        Connection {
            name: format!("datastore {}", self.name),
            driver: Driver::Etcd,
            endpoints: vec![Endpoint {
                dial: SocketAddr::from(([127, 0, 0, 1], self.ports[0])),
                host: HOST.to_owned(),
                shown: format!("{HOST}:2379"),
            }],
            authority: Some(self.authority.pem()),
            identity: Some(self.root.clone()),
            basic: None,
        }
    }

    /// How etcdctl logs in, without TLS.
    pub fn login(&self) -> Login {
        Login {
            endpoint: self.plain(),
            user: "root".to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    /// A way to it beside the plugin.
    pub async fn client(&self) -> Result<Client> {
        let options = ConnectOptions::new().with_user("root", PASSWORD);
        Ok(Client::connect([self.plain()], Some(options)).await?)
    }

    /// Writes keys, many at once.
    pub async fn fill(&self, entries: impl IntoIterator<Item = Row>) -> Result<()> {
        let mut kv = self.client().await?.kv_client();
        let (mut operations, mut bytes) = (Vec::new(), 0);
        for Row { key, value, lease } in entries {
            let more = key.len() + value.len();
            if operations.len() == 128 || (bytes + more > 1 << 20 && !operations.is_empty()) {
                kv.txn(Txn::new().and_then(std::mem::take(&mut operations)))
                    .await?;
                bytes = 0;
            }
            bytes += more;
            let options = PutOptions::new().with_lease(lease);
            operations.push(TxnOp::put(key, value, Some(options)));
        }
        kv.txn(Txn::new().and_then(operations)).await?;
        Ok(())
    }

    /// A lease of so many seconds.
    pub async fn lease(&self, seconds: i64) -> Result<i64> {
        let mut leases = self.client().await?.lease_client();
        Ok(leases.grant(seconds, None).await?.id())
    }

    /// All keys that begin so, in order.
    pub async fn rows(&self, prefix: &str) -> Result<Vec<Row>> {
        let mut kv = self
            .client()
            .await?
            .kv_client()
            .max_decoding_message_size(1 << 30);
        let options = GetOptions::new().with_prefix();
        let mut found = kv.get(prefix, Some(options)).await?;
        Ok(found.take_kvs().into_iter().map(Row::from).collect())
    }

    /// How many requests about keys it has had, by its own account.
    pub async fn requests(&self) -> Result<f64> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports[1])).await?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut told = String::new();
        stream.read_to_string(&mut told).await?;
        let mut all = 0.0;
        for line in told.lines() {
            if line.starts_with("grpc_server_started_total{")
                && line.contains("grpc_service=\"etcdserverpb.KV\"")
            {
                let figure = line.rsplit(' ').next().context("no figure")?;
                all += figure.parse::<f64>()?;
            }
        }
        Ok(all)
    }

    /// Its revision.
    pub async fn revision(&self) -> Result<i64> {
        let found = self.client().await?.kv_client().get("/", None).await?;
        Ok(found.header().context("no header")?.revision())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop().ok();
    }
}

/// Who comes to a server, and where.
pub struct Login {
    pub endpoint: String,
    pub user: String,
    pub password: String,
}

/// A key with all that has to arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub lease: i64,
}

/// A key without a lease.
pub fn row(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Row {
    Row {
        key: key.into(),
        value: value.into(),
        lease: 0,
    }
}

impl From<KeyValue> for Row {
    fn from(found: KeyValue) -> Self {
        let lease = found.lease();
        let (key, value) = found.into_key_value();
        Self { key, value, lease }
    }
}
