use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{keys, pair, quiet, stores};

/// What this process has held at most, in MiB.
fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits: String = line
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    Ok(digits.parse::<u64>()? / 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_keys_take_seconds() -> Result<()> {
    const KEYS: usize = 100_000;
    let (source, target) = stores().await?;
    source.fill(keys(KEYS, 1_024)).await?;
    let pair = pair(&source, &target).await?;
    let timed = |begun: Instant| -> (Duration, f64) {
        let took = begun.elapsed();
        (took, KEYS as f64 / took.as_secs_f64())
    };

    let begun = Instant::now();
    let copied = pair.copy(None, &quiet()).await?;
    let (took, rate) = timed(begun);
    println!("copied {KEYS} keys in {took:.1?}: {rate:.0} keys/s");
    ensure!(copied.written == KEYS as u64, "{copied:?}");

    let begun = Instant::now();
    let compared = pair.compare(&quiet()).await?;
    let (took, rate) = timed(begun);
    println!("compared {KEYS} keys in {took:.1?}: {rate:.0} keys/s");
    ensure!(
        compared.different == 0 && compared.keys == KEYS as u64,
        "{compared:?}"
    );

    let begun = Instant::now();
    let again = pair.copy(Some(&copied.position), &quiet()).await?;
    println!("found that nothing changed in {:.1?}", begun.elapsed());
    ensure!(again.read == 0 && !again.anew, "{again:?}");
    println!(
        "at most {} MiB in this process, tests included",
        peak_memory()?
    );
    Ok(())
}
