//! How long many keys take, beside `etcdctl`. `tests/bench/run` reads the lines that begin with `figure`.
use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{
    super::{peak_memory, wanted},
    SCHEMA, Server, keys, pair, quiet,
};

/// For a million keys, with their history.
pub const ROOM: [&str; 2] = ["--quota-backend-bytes", "8589934592"];
/// Keys without `BENCH_KEYS`.
const KEYS: usize = 20_000;

/// For a million keys, one after another.
const PATIENCE: Duration = Duration::from_mins(30);

/// `etcdctl make-mirror`, ended when this is: by itself it goes on for ever.
struct Mirror(Child);

impl Drop for Mirror {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// How long it takes until the target has the last key, which it copies last.
async fn mirrored(source: &Server, target: &Server, last: &[u8]) -> Result<Duration> {
    let (from, to) = (source.login(), target.login());
    let begun = Instant::now();
    let mut command = Command::new("etcdctl");
    command.args(["--endpoints", &from.endpoint, "--user", &from.user]);
    command.args(["make-mirror", "--prefix", &format!("/{SCHEMA}/")]);
    command.args(["--dest-user", &to.user, "--dest-password", &to.password]);
    command.args(["--password", &from.password]);
    command.args(["--dest-insecure-transport=true", &to.endpoint]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut mirror = Mirror(command.stderr(Stdio::inherit()).spawn()?);
    let mut kv = target.client().await?.kv_client();
    while kv.get(last, None).await?.kvs().is_empty() {
        let ended = mirror.0.try_wait()?;
        ensure!(ended.is_none(), "etcdctl make-mirror ended with {ended:?}");
        ensure!(
            begun.elapsed() < PATIENCE,
            "etcdctl make-mirror took {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_take_seconds() -> Result<()> {
    let count = wanted(KEYS)?;
    let source = Box::pin(Server::with("bronze", &ROOM)).await?;
    source.fill(keys(count, 1_024)).await?;
    let target = Box::pin(Server::with("silver", &ROOM)).await?;
    std::fs::write("/proc/self/clear_refs", "5")?;
    let pair = pair(&source, &target).await?;

    let asked = source.requests().await? + target.requests().await?;
    let begun = Instant::now();
    let copied = pair.copy(None, &quiet()).await?;
    let copying = begun.elapsed();
    ensure!(copied.written == count as u64, "{copied:?}");

    let begun = Instant::now();
    let compared = pair.compare(&quiet()).await?;
    let comparing = begun.elapsed();
    ensure!(
        compared.different == 0 && compared.keys == count as u64,
        "{compared:?}"
    );

    let begun = Instant::now();
    let again = pair.copy(Some(&copied.position), &quiet()).await?;
    let nothing = begun.elapsed();
    ensure!(again.read == 0 && !again.anew, "{again:?}");
    let memory = peak_memory()?;
    let asked = source.requests().await? + target.requests().await? - asked;
    drop((pair, target));

    let peer = Box::pin(Server::with("gold", &ROOM)).await?;
    let last = keys(count, 1_024).last().map(|row| row.key);
    let mirroring = mirrored(&source, &peer, &last.unwrap_or_default()).await?;
    println!(
        "figure etcd keys={count} copied={:.2} compared={:.2} unchanged={:.3} mib={memory} make_mirror={:.2}",
        copying.as_secs_f64(),
        comparing.as_secs_f64(),
        nothing.as_secs_f64(),
        mirroring.as_secs_f64()
    );
    // Seconds are the machine's. Whoever asks for one key after another, as the mirror does, has lost its ways of being
    // fast: both are read twice and one is written, each many keys at a time.
    ensure!(
        asked > 0.0 && asked < count as f64 / 10.0,
        "{asked} requests for {count} keys"
    );
    Ok(())
}
