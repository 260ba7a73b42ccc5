//! How long copies and comparisons take. `tests/bench/run` reads the lines that begin with `figure`.
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{DatastoreError, Pair as _};

use super::{
    super::{peak_memory, quiet, wanted},
    Servers, Sql, Tenant,
};

/// Rows of a large tenant.
const ROWS: u32 = 100_000;
/// How often the short ones are measured.
const TRIES: usize = 5;

/// The last copy of a switch finds few changes or none, and writes are refused for as long as it looks for them.
pub async fn few_changes_are_copied_fast_whatever_the_size<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "speed");
    servers.source.make(schema).await?;
    servers.source.run(schema, &S::many(ROWS)).await?;
    let pair = servers.pair(schema)?;
    let (first, all) = timed(pair.copy(None, &quiet())).await?;
    // The fastest of some: a machine that stands still for a moment makes one slow, and not each.
    let (mut none, mut few) = (Duration::MAX, Duration::MAX);
    let mut position = first.position;
    let mut tenant = Tenant::new(i64::try_from(first.revision)? + 1);
    for _ in 0..TRIES {
        let (second, took) = timed(pair.copy(Some(&position), &quiet())).await?;
        ensure!(
            (second.read, second.written, second.removed) == (0, 0, 0) && !second.anew,
            "{second:?}"
        );
        none = none.min(took);
        let changes = tenant.changes(100);
        servers.source.write(schema, &changes).await?;
        let (third, took) = timed(pair.copy(Some(&second.position), &quiet())).await?;
        ensure!(third.written == changes.len() as u64, "{third:?}");
        few = few.min(took);
        position = third.position;
    }
    println!(
        "{}: copied {ROWS} rows in {all:.2?}, no change in {none:.2?}, 100 in {few:.2?}",
        S::STORE
    );
    // Seconds are the machine's; as many rows as there are would take no less than to read them all again.
    ensure!(none * 8 < all && few * 4 < all, "{none:?} {few:?} {all:?}");
    Ok(())
}

/// Both tables are read and compared, beside both servers' own dumps to nowhere at once.
pub async fn a_comparison_takes_little_more_than_reading<S: Sql>() -> Result<()> {
    // Servers of its own, for what others do there.
    let (servers, schema) = (Servers::<S>::start()?, "compared");
    let rows = u32::try_from(wanted(50_000)?)?;
    servers.source.make(schema).await?;
    servers.source.run(schema, &S::many(rows)).await?;
    std::fs::write("/proc/self/clear_refs", "5")?;
    let pair = servers.pair(schema)?;
    let (_, copying) = timed(pair.copy(None, &quiet())).await?;
    // What was read once is in the servers' memory for both.
    dump(&servers, schema)?;
    let (compared, comparing) = timed(pair.compare(&quiet())).await?;
    ensure!(
        compared.different == 0 && compared.keys == u64::from(rows),
        "{compared:?}"
    );
    let memory = peak_memory()?;
    let dumping = dump(&servers, schema)?;
    println!(
        "figure {} rows={rows} copied={:.2} compared={:.2} mib={memory} dumped={:.2}",
        S::DRIVER,
        copying.as_secs_f64(),
        comparing.as_secs_f64(),
        dumping.as_secs_f64()
    );
    Ok(())
}

/// How long both servers' own dumps take, at once.
fn dump<S: Sql>(servers: &Servers<S>, schema: &str) -> Result<Duration> {
    let begun = Instant::now();
    let mut running = Vec::new();
    for server in [&servers.source, &servers.target] {
        let mut command: Command = server.dump(schema);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        running.push(command.spawn()?);
    }
    for mut one in running {
        let ended = one.wait()?;
        ensure!(ended.success(), "a dump ended with {ended}");
    }
    Ok(begun.elapsed())
}

async fn timed<T>(work: impl Future<Output = Result<T, DatastoreError>>) -> Result<(T, Duration)> {
    let begun = Instant::now();
    let done = work.await?;
    Ok((done, begun.elapsed()))
}
