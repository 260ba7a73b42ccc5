use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{
    super::{peak_memory, quiet, wanted},
    pair, stores,
    tenants::changes,
};

/// Keys without `BENCH_KEYS`.
const KEYS: usize = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_take_seconds() -> Result<()> {
    let keys = wanted(KEYS)?;
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(keys, keys, 1_024)).await?;
    std::fs::write("/proc/self/clear_refs", "5")?;
    let pair = pair(&source, &target)?;
    let timed = |begun: Instant| -> (Duration, f64) {
        let took = begun.elapsed();
        (took, keys as f64 / took.as_secs_f64())
    };

    let begun = Instant::now();
    let copied = pair.copy(None, &quiet()).await?;
    let (took, rate) = timed(begun);
    println!("copied {keys} keys in {took:.1?}: {rate:.0} keys/s");
    ensure!(copied.written == keys as u64, "{copied:?}");

    let begun = Instant::now();
    let compared = pair.compare(&quiet()).await?;
    let (took, rate) = timed(begun);
    println!("compared {keys} keys in {took:.1?}: {rate:.0} keys/s");
    ensure!(
        compared.different == 0 && compared.keys == keys as u64,
        "{compared:?}"
    );

    source.write(changes(20_000, 100, 1_024)).await?;
    let begun = Instant::now();
    let again = pair.copy(Some(&copied.position), &quiet()).await?;
    println!(
        "followed 20000 revisions, {} of them left, in {:.1?}",
        again.read,
        begun.elapsed()
    );
    ensure!(again.read == 1_000 && !again.anew, "{again:?}");
    println!("at most {} MiB in this process", peak_memory()?);
    Ok(())
}
