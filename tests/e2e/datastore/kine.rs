//! Real kine before a server, and what a tenant does with it.
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
    WatchOptions, WatchStream,
};
use rustix::process::Signal;

use super::{free_ports, sql::Process};
use crate::support::BOUND;

/// The newest, and the one that Kamaji brings.
pub const PROGRAMS: [&str; 2] = ["kine", "kine-0.11"];
/// Longer than any test: it does not end by itself.
const LEASE: i64 = 3_600;

/// A running kine.
pub struct Kine {
    client: Client,
    _process: Process,
    _folder: tempfile::TempDir,
}

/// A key as the API server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub created: i64,
    pub changed: i64,
}

impl Kine {
    /// Starts it and waits until it has so many keys.
    pub async fn start(program: &str, arguments: &[String], keys: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [port] = free_ports()?;
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["--listen-address", &address, "--metrics-bind-address", "0"]);
        command.current_dir(folder.path());
        let log = folder.path().join("log");
        let mut process = Process::start(command, &log, Signal::KILL)
            .context("put `tests/cluster/cluster path` on PATH")?;
        let ready = async {
            loop {
                let log = || std::fs::read_to_string(&log);
                ensure!(!process.has_ended()?, "{program} ended: {}", log()?);
                if let Ok(client) = Client::connect([&address], None).await {
                    let mut kv = client.kv_client();
                    let all = GetOptions::new().with_prefix();
                    if let Ok(found) = kv.get("/registry/", Some(all)).await
                        && found.kvs().len() >= keys
                    {
                        return Ok(client);
                    }
                }
                tokio::task::yield_now().await;
            }
        };
        let client = tokio::time::timeout(BOUND, ready)
            .await
            .with_context(|| format!("{program} did not come with {keys} keys"))??;
        Ok(Self {
            client,
            _process: process,
            _folder: folder,
        })
    }

    /// Makes a key as the API server does; its revision.
    pub async fn create(&self, key: &[u8], value: &[u8], lease: i64) -> Result<i64> {
        let options = (lease != 0).then(|| PutOptions::new().with_lease(lease));
        let made = self
            .client
            .kv_client()
            .txn(
                Txn::new()
                    .when([Compare::mod_revision(key, CompareOp::Equal, 0)])
                    .and_then([TxnOp::put(key, value, options)]),
            )
            .await?;
        ensure!(made.succeeded(), "{} is there", key.escape_ascii());
        Ok(made.header().context("no header")?.revision())
    }

    /// Changes a key from this revision on; its new one.
    pub async fn update(&self, key: &[u8], value: &[u8], from: i64) -> Result<i64> {
        let changed = self
            .client
            .kv_client()
            .txn(
                Txn::new()
                    .when([Compare::mod_revision(key, CompareOp::Equal, from)])
                    .and_then([TxnOp::put(key, value, None)])
                    .or_else([TxnOp::get(key, None)]),
            )
            .await?;
        ensure!(
            changed.succeeded(),
            "{} is not at {from}",
            key.escape_ascii()
        );
        Ok(changed.header().context("no header")?.revision())
    }

    /// Ends a key.
    pub async fn delete(&self, key: &[u8], from: i64) -> Result<()> {
        let gone = self
            .client
            .kv_client()
            .txn(
                Txn::new()
                    .when([Compare::mod_revision(key, CompareOp::Equal, from)])
                    .and_then([TxnOp::delete(key, None)])
                    .or_else([TxnOp::get(key, None)]),
            )
            .await?;
        let left = gone.op_responses();
        let range = left
            .iter()
            .any(|one| matches!(one, TxnOpResponse::Get(get) if !get.kvs().is_empty()));
        ensure!(gone.succeeded() || !range, "{} is left", key.escape_ascii());
        Ok(())
    }

    /// Every key.
    pub async fn keys(&self) -> Result<Vec<Seen>> {
        let all = GetOptions::new().with_prefix();
        let found = self.client.kv_client().get("/registry/", Some(all)).await?;
        let mut keys: Vec<_> = found
            .kvs()
            .iter()
            .map(|one| Seen {
                key: one.key().to_vec(),
                value: one.value().to_vec(),
                created: one.create_revision(),
                changed: one.mod_revision(),
            })
            // Newer versions write it at each start.
            .filter(|seen| seen.key != b"/registry/health")
            .collect();
        keys.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(keys)
    }

    /// Compacts, as the API server does, until the first revision is gone.
    pub async fn compact(&self, revision: i64) -> Result<()> {
        let mut kv = self.client.kv_client();
        kv.compact(revision, None).await?;
        let gone = async {
            let first = || GetOptions::new().with_prefix().with_revision(1);
            while kv.get("/registry/", Some(first())).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(BOUND, gone)
            .await
            .context("the first revision is still there")
    }

    /// Begins to watch the pods, from this revision on.
    pub async fn watch(&self, from: i64) -> Result<Watch> {
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(from)
            .with_prev_key();
        let mut watch = self.client.watch_client();
        let stream = watch.watch("/registry/pods/", Some(options)).await?;
        Ok(Watch { stream })
    }

    /// The changes of the pods from this revision on, until that of this key.
    pub async fn changes(&self, from: i64, until: &[u8]) -> Result<Vec<(bool, Seen)>> {
        self.watch(from).await?.until(until).await
    }
}

/// A watch of the pods.
pub struct Watch {
    stream: WatchStream,
}

impl Watch {
    /// What it tells until that of this key; whether each change set the key or ended it.
    pub async fn until(&mut self, key: &[u8]) -> Result<Vec<(bool, Seen)>> {
        let read = async {
            let mut changes = Vec::new();
            while let Some(response) = self.stream.message().await? {
                let compacted = response.compact_revision();
                ensure!(!response.canceled(), "compacted to {compacted}");
                for event in response.events() {
                    let kv = event.kv().context("an event without a key")?;
                    let seen = Seen {
                        key: kv.key().to_vec(),
                        value: kv.value().to_vec(),
                        created: kv.create_revision(),
                        changed: kv.mod_revision(),
                    };
                    changes.push((event.event_type() == EventType::Put, seen));
                    if kv.key() == key {
                        return Ok(changes);
                    }
                }
            }
            anyhow::bail!("the watch ended")
        };
        tokio::time::timeout(BOUND, read)
            .await
            .context("the watch tells nothing")?
    }
}

/// A tenant's life: keys that come, change more often than history goes back, and go. How many are left.
pub async fn live(kine: &Kine) -> Result<usize> {
    for number in 0..40 {
        let key = format!("/registry/pods/shop/web-{number}");
        let mut at = kine.create(key.as_bytes(), b"made", 0).await?;
        for turn in 0..(number % 15) {
            at = kine
                .update(key.as_bytes(), format!("{turn}").as_bytes(), at)
                .await?;
        }
        if number % 4 == 3 {
            kine.delete(key.as_bytes(), at).await?;
        }
    }
    // Comes again: older versions keep the tombstone's revision.
    kine.create(b"/registry/pods/shop/web-3", b"again", 0)
        .await?;
    kine.create(b"/registry/events/shop/web.1", b"an event", LEASE)
        .await?;
    let odd = "/registry/configmaps/shop/ .*>$\\\"%'";
    kine.create(odd.as_bytes(), b"\0\xff\xfe value", 0).await?;
    // Its bytes do not compress: with base64 it is a message of 1.4 MB.
    let mut random = fastrand::Rng::with_seed(7);
    let large: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
    kine.create(b"/registry/secrets/shop/large", &large, 0)
        .await?;
    Ok(30 + 1 + 3)
}
