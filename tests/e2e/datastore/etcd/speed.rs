use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{Server, keys, pair, quiet};
use crate::support::peak_memory;

/// For a million keys, with their history.
const ROOM: [&str; 2] = ["--quota-backend-bytes", "8589934592"];

/// How many keys: `ETCD_KEYS`, for figures.
fn wanted() -> Result<usize> {
    match std::env::var("ETCD_KEYS") {
        Ok(keys) => keys.parse().context("ETCD_KEYS is no number"),
        Err(_) => Ok(100_000),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_take_seconds() -> Result<()> {
    let keys_wanted = wanted()?;
    let (source, target) = tokio::join!(
        Box::pin(Server::with("bronze", &ROOM)),
        Box::pin(Server::with("silver", &ROOM))
    );
    let (source, target) = (source?, target?);
    source.fill(keys(keys_wanted, 1_024)).await?;
    std::fs::write("/proc/self/clear_refs", "5")?;
    let pair = pair(&source, &target).await?;
    let timed = |begun: Instant| -> (Duration, f64) {
        let took = begun.elapsed();
        (took, keys_wanted as f64 / took.as_secs_f64())
    };

    let begun = Instant::now();
    let copied = pair.copy(None, &quiet()).await?;
    let (took, rate) = timed(begun);
    println!("copied {keys_wanted} keys in {took:.1?}: {rate:.0} keys/s");
    ensure!(copied.written == keys_wanted as u64, "{copied:?}");

    let begun = Instant::now();
    let compared = pair.compare(&quiet()).await?;
    let (took, rate) = timed(begun);
    println!("compared {keys_wanted} keys in {took:.1?}: {rate:.0} keys/s");
    ensure!(
        compared.different == 0 && compared.keys == keys_wanted as u64,
        "{compared:?}"
    );

    let begun = Instant::now();
    let again = pair.copy(Some(&copied.position), &quiet()).await?;
    println!("found that nothing changed in {:.1?}", begun.elapsed());
    ensure!(again.read == 0 && !again.anew, "{again:?}");
    println!("at most {} MiB in this process", peak_memory()?);
    Ok(())
}
