use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;

use super::{keys, pair, row, stores};

#[tokio::test(flavor = "multi_thread")]
async fn the_target_is_raised_above_a_source_that_moves_on() -> Result<()> {
    let (source, target) = stores().await?;
    target.fill([row("/t10/pods/a", "neighbour")]).await?;
    let mut kv = source.client().await?.kv_client();
    for turn in 0..300 {
        kv.put("/t1/pods/a", format!("{turn}"), None).await?;
    }
    let pair = pair(&source, &target).await?;
    let before = target.revision().await?.unsigned_abs();
    let moving = async {
        for turn in 0..100 {
            kv.put("/t1/pods/a", format!("again {turn}"), None).await?;
        }
        anyhow::Ok(())
    };
    let (raised, moved) = tokio::join!(pair.lead(500), moving);
    moved?;
    let raised = raised?;
    ensure!(
        raised.before == before && raised.now >= raised.source + 500,
        "{raised:?}"
    );
    ensure!(
        target.revision().await?.unsigned_abs() == raised.now,
        "{raised:?}"
    );
    ensure!(target.rows("/").await? == [row("/t10/pods/a", "neighbour")]);

    let raised = pair.lead(500).await?;
    ensure!(raised.now >= raised.source + 500, "{raised:?}");
    let again = pair.lead(100).await?;
    ensure!(
        again.before == again.now && again.now == raised.now,
        "{again:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raise_by_many_takes_seconds() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(10, 10)).await?;
    let pair = pair(&source, &target).await?;
    let begun = std::time::Instant::now();
    let raised = pair.lead(20_000).await?;
    println!("revision raised by 20,000 in {:.1?}", begun.elapsed());
    ensure!(raised.now >= raised.source + 20_000, "{raised:?}");
    Ok(())
}
