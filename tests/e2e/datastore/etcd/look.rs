use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{keys, pair, row, stores};

#[tokio::test(flavor = "multi_thread")]
async fn both_stores_are_seen_as_they_are() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(300, 100)).await?;
    source.fill([row("/t10/pods/a", "neighbour")]).await?;
    let pair = pair(&source, &target).await?;
    let look = pair.look().await?;
    ensure!(look.findings.is_empty(), "{look:?}");
    ensure!(look.source.version.starts_with("3."), "{look:?}");
    let bytes: usize = keys(300, 100)
        .map(|row| row.key.len() + row.value.len())
        .sum();
    ensure!(
        (look.source.keys, look.source.bytes) == (300, bytes as u64),
        "{look:?}"
    );
    ensure!((look.target.keys, look.target.bytes) == (0, 0), "{look:?}");
    ensure!(look.source.revision == source.revision().await?.unsigned_abs());

    source.fill(keys(10_000, 1_000)).await?;
    // An estimate, which counts what etcd needs itself, and what it has written to its file: this has it written.
    let mut maintenance = source.client().await?.maintenance_client();
    maintenance.defragment().await?;
    let large = pair.look().await?;
    ensure!(large.source.keys == 10_000, "{large:?}");
    ensure!(
        (10_000_000..30_000_000).contains(&large.source.bytes),
        "{large:?}"
    );
    Ok(())
}
