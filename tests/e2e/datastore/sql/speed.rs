//! How long the copy takes that a tenant waits for.
use std::time::Instant;

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{super::quiet, Servers, Sql};

/// Rows of a large tenant.
const ROWS: u32 = 200_000;

/// The last copy of a switch finds few changes or none, and writes are refused for as long as it looks for them.
pub async fn no_change_is_found_fast_whatever_the_size<S: Sql>() -> Result<()> {
    let (servers, schema) = (Servers::<S>::shared()?, "speed");
    servers.source.make(schema).await?;
    servers.source.run(schema, &S::many(ROWS)).await?;
    let pair = servers.pair(schema)?;
    let all = Instant::now();
    let first = pair.copy(None, &quiet()).await?;
    let (all, few) = (all.elapsed(), Instant::now());
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    let few = few.elapsed();
    println!(
        "copied {ROWS} rows of {} in {all:.2?}, found no change in {few:.2?}",
        S::STORE
    );
    ensure!(
        (second.read, second.written, second.removed) == (0, 0, 0) && !second.anew,
        "{second:?}"
    );
    Ok(())
}
