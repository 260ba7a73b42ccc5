//! How long the copy takes that a tenant waits for.
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{DatastoreError, Pair as _};

use super::{super::quiet, Servers, Sql, Tenant};

/// Rows of a large tenant.
const ROWS: u32 = 200_000;

/// The last copy of a switch finds few changes or none, and writes are refused for as long as it looks for them.
pub async fn few_changes_are_copied_fast_whatever_the_size<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "speed");
    servers.source.make(schema).await?;
    servers.source.run(schema, &S::many(ROWS)).await?;
    let pair = servers.pair(schema)?;
    let (first, all) = timed(pair.copy(None, &quiet())).await?;
    let (second, none) = timed(pair.copy(Some(&first.position), &quiet())).await?;
    ensure!(
        (second.read, second.written, second.removed) == (0, 0, 0) && !second.anew,
        "{second:?}"
    );
    let next = i64::try_from(second.revision)? + 1;
    let changes = Tenant::new(next).changes(100);
    servers.source.write(schema, &changes).await?;
    let (third, few) = timed(pair.copy(Some(&second.position), &quiet())).await?;
    ensure!(third.written == changes.len() as u64, "{third:?}");
    println!(
        "{}: copied {ROWS} rows in {all:.2?}, no change in {none:.2?}, {} in {few:.2?}",
        S::STORE,
        changes.len()
    );
    // Seconds are the machine's; as many rows as there are would take no less than to read them all again.
    ensure!(none * 8 < all && few * 4 < all, "{none:?} {few:?} {all:?}");
    Ok(())
}

async fn timed<T>(work: impl Future<Output = Result<T, DatastoreError>>) -> Result<(T, Duration)> {
    let begun = Instant::now();
    let done = work.await?;
    Ok((done, begun.elapsed()))
}
