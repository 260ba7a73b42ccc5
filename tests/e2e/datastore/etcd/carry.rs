use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{DatastoreError, Driver, Pair as _};
use tokio::sync::mpsc::channel;

use super::{super::carry::carry, Row, keys, pair, quiet, row, stores};

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_passes_through_a_file_with_its_leases() -> Result<()> {
    let (source, target) = stores().await?;
    let lease = source.lease(600).await?;
    let odd = [
        row(
            b"/t1/configmaps/shop/\xff\x00\xfe".as_slice(),
            b"\x00\xff".as_slice(),
        ),
        row("/t1/secrets/empty", ""),
        row("/t1/secrets/large", vec![7; 1 << 20]),
        Row {
            lease,
            ..row("/t1/events/shop/web.1", "an event")
        },
        Row {
            lease,
            ..row("/t1/leased/other", "of the same lease")
        },
    ];
    source.fill(keys(5_000, 200).chain(odd)).await?;
    source.fill([row("/t10/pods/a", "neighbour")]).await?;
    target.fill([row("/t10/pods/b", "another")]).await?;
    let pair = pair(&source, &target).await?;
    let end = carry(&pair, Driver::Etcd).await?;
    ensure!(end.records == 5_005, "{end:?}");
    ensure!(end.revision == source.revision().await?.unsigned_abs());
    ensure!(source.rows("/t1/").await? == target.rows("/t1/").await?);
    ensure!(target.rows("/t10/").await? == [row("/t10/pods/b", "another")]);
    ensure!(pair.compare(&quiet()).await?.different == 0);
    let mut leases = target.client().await?.lease_client();
    let left = leases.time_to_live(lease, None).await?.ttl();
    ensure!((500..=600).contains(&left), "{left} s are left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_not_taken_and_ends_at_the_target() -> Result<()> {
    let (source, target) = stores().await?;
    let lease = source.lease(600).await?;
    source
        .fill([
            row("/t1/pods/a", "stays"),
            Row {
                lease,
                ..row("/t1/events/shop/web.1", "an event")
            },
        ])
        .await?;
    let pair = pair(&source, &target).await?;
    carry(&pair, Driver::Etcd).await?;
    target.client().await?.lease_client().revoke(lease).await?;
    ensure!(target.rows("/t1/").await? == [row("/t1/pods/a", "stays")]);
    source.client().await?.lease_client().revoke(lease).await?;
    pair.clear_target().await?;
    let end = carry(&pair, Driver::Etcd).await?;
    ensure!(end.records == 1, "{end:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_meanwhile_is_told() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(30_000, 1_000)).await?;
    let pair = pair(&source, &target).await?;
    let (sender, mut pieces) = channel(1);
    let dumping = async {
        let dumped = pair.dump(&sender, &quiet()).await;
        drop(sender);
        dumped
    };
    // Few pages are read ahead of who takes them.
    let compacting = async {
        pieces.recv().await;
        let mut kv = source.client().await?.kv_client();
        kv.put("/t1/configmaps/shop/item-0000001", "changed", None)
            .await?;
        kv.compact(source.revision().await?, None).await?;
        while pieces.recv().await.is_some() {}
        anyhow::Ok(())
    };
    let (dumped, compacted) = tokio::join!(dumping, compacting);
    compacted?;
    ensure!(
        matches!(dumped, Err(DatastoreError::Compacted { .. })),
        "{dumped:?}"
    );
    Ok(())
}
