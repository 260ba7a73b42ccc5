//! Real kine before the stores: what it wrote at the source it reads at the target, and goes on.
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
    WatchOptions,
};
use kubectl_migrate::adapters::datastore::Pair as _;
use rustix::process::Signal;

use super::{
    super::{
        free_ports, quiet,
        sql::{Process, ignored},
    },
    SCHEMA, Server, pair, stores,
};
use crate::support::BOUND;

/// The newest, and the one that Kamaji brings.
const PROGRAMS: [&str; 2] = ["kine", "kine-0.11"];
/// Longer than any test: it does not end by itself.
const LEASE: i64 = 3_600;

/// A running kine.
struct Kine {
    client: Client,
    _process: Process,
    _folder: tempfile::TempDir,
}

/// A key as the API server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    key: Vec<u8>,
    value: Vec<u8>,
    created: i64,
    changed: i64,
}

impl Kine {
    /// Starts it and waits until it has read the whole bucket.
    async fn start(program: &str, server: &Server, keys: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [port] = free_ports()?;
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.args(server.arguments(SCHEMA)).args([
            "--listen-address",
            &address,
            "--metrics-bind-address",
            "0",
        ]);
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
    async fn create(&self, key: &[u8], value: &[u8], lease: i64) -> Result<i64> {
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
    async fn update(&self, key: &[u8], value: &[u8], from: i64) -> Result<i64> {
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
    async fn delete(&self, key: &[u8], from: i64) -> Result<()> {
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
    async fn keys(&self) -> Result<Vec<Seen>> {
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

    /// The changes of the pods from this revision on, until that of this key.
    async fn changes(&self, from: i64, until: &[u8]) -> Result<Vec<(bool, Seen)>> {
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(from)
            .with_prev_key();
        let mut watch = self.client.watch_client();
        let mut stream = watch.watch("/registry/pods/", Some(options)).await?;
        let read = async {
            let mut changes = Vec::new();
            while let Some(response) = stream.message().await? {
                for event in response.events() {
                    let kv = event.kv().context("an event without a key")?;
                    changes.push((
                        event.event_type() == EventType::Put,
                        Seen {
                            key: kv.key().to_vec(),
                            value: kv.value().to_vec(),
                            created: kv.create_revision(),
                            changed: kv.mod_revision(),
                        },
                    ));
                    if kv.key() == until {
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
async fn live(kine: &Kine) -> Result<usize> {
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
    let odd = "/registry/configmaps/shop/\u{e4} .*>$\\\"%'\u{1f4a9}";
    kine.create(odd.as_bytes(), b"\0\xff\xfe value", 0).await?;
    // Its bytes do not compress: with base64 it is a message of 1.4 MB.
    let mut random = fastrand::Rng::with_seed(7);
    let large: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
    kine.create(b"/registry/secrets/shop/large", &large, 0)
        .await?;
    Ok(30 + 1 + 3)
}

/// Both with room for large values.
async fn roomy() -> Result<(Server, Server)> {
    let settings = "jetstream { store_dir: STORE }\nmax_payload: 8MB";
    let (bronze, silver) = tokio::join!(
        Server::with("bronze", settings),
        Server::with("silver", settings)
    );
    Ok((bronze?, silver?))
}

#[tokio::test(flavor = "multi_thread")]
async fn kine_reads_the_same_revisions_at_the_target_and_goes_on() -> Result<()> {
    for program in PROGRAMS {
        let (source, target) = roomy().await?;
        let at_source = Kine::start(program, &source, 0).await?;
        let count = live(&at_source).await?;
        let pair = pair(&source, &target)?;
        let warm = pair.copy(None, &quiet()).await?;
        // The tenant has gone on; one key goes through more changes than are kept.
        let mut at = at_source
            .create(b"/registry/pods/shop/late", b"0", 0)
            .await?;
        for turn in 1..25 {
            let value = format!("{turn}");
            at = at_source
                .update(b"/registry/pods/shop/late", value.as_bytes(), at)
                .await?;
        }
        let last = pair.copy(Some(&warm.position), &quiet()).await?;
        ensure!(!last.anew && last.read > 0, "{program}: {last:?}");
        ensure!(last.revision == at.unsigned_abs(), "{program}: {last:?}");
        let compared = pair.compare(&quiet()).await?;
        ensure!(compared.different == 0, "{program}: {compared:?}");
        ensure!(
            ignored(&compared, "events") == Some((0, 1)),
            "{program}: {compared:?}"
        );
        ensure!(source.state().await? == target.state().await?);
        let expected = at_source.keys().await?;
        ensure!(expected.len() == count + 1, "{program}: {}", expected.len());
        let from = expected[expected.len() / 2].changed;
        let told = at_source.changes(from, b"/registry/pods/shop/late").await?;
        drop(at_source);

        let at_target = Kine::start(program, &target, count + 1).await?;
        ensure!(at_target.keys().await? == expected, "{program}: other keys");
        let again = at_target.changes(from, b"/registry/pods/shop/late").await?;
        ensure!(again == told, "{program}: {again:?} is not {told:?}");
        // Newer versions write of their own at the start.
        let before = target.state().await?[1];
        let new = at_target.create(b"/registry/pods/shop/new", b"new", 0);
        let (new, told) = tokio::join!(new, at_target.changes(at + 1, b"/registry/pods/shop/new"));
        let (new, told) = (new?, told?);
        ensure!(new.unsigned_abs() == before + 1, "{program}: {new}");
        let [(true, told)] = told.as_slice() else {
            anyhow::bail!("{program}: {told:?}")
        };
        ensure!(told.changed == new, "{program}: {told:?}");
        let web = &expected[expected.len() - 2];
        at_target.update(&web.key, b"goes on", web.changed).await?;
    }
    Ok(())
}

/// Kamaji's own migration makes values anew; kine counts a lease from there.
#[tokio::test(flavor = "multi_thread")]
async fn ttl_restarts_not_because_times_pass_with_the_bucket() -> Result<()> {
    let (source, target) = stores().await?;
    let kine = Kine::start("kine-0.11", &source, 0).await?;
    kine.create(b"/registry/events/shop/web.1", b"short", 1)
        .await?;
    let ended = async {
        // It reads what it wrote a moment later.
        while kine.keys().await?.is_empty() {
            tokio::task::yield_now().await;
        }
        while !kine.keys().await?.is_empty() {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(BOUND, ended).await??;
    drop(kine);
    let pair = pair(&source, &target)?;
    pair.copy(None, &quiet()).await?;
    ensure!(source.messages().await? == target.messages().await?);
    let kine = Kine::start("kine-0.11", &target, 0).await?;
    kine.create(b"/registry/pods/shop/a", b"1", 0).await?;
    let seen = async {
        loop {
            let keys = kine.keys().await?;
            if !keys.is_empty() {
                return anyhow::Ok(keys);
            }
        }
    };
    let keys = tokio::time::timeout(BOUND, seen).await??;
    ensure!(
        keys.len() == 1 && keys[0].key == b"/registry/pods/shop/a",
        "an event came to life: {keys:?}"
    );
    Ok(())
}
