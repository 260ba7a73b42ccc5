use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{Pair as _, Position};

use super::{Row, keys, pair, quiet, row, stores};

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_is_sent_and_an_idle_schema_ends_at_once() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(2_000, 100)).await?;
    let pair = pair(&source, &target).await?;
    let first = pair.copy(None, &quiet()).await?;

    let lease = source.lease(600).await?;
    let mut kv = source.client().await?.kv_client();
    for number in 0..50 {
        kv.delete(format!("/t1/configmaps/shop/item-{number:07}"), None)
            .await?;
    }
    let event = Row {
        lease,
        ..row("/t1/events/new", "event")
    };
    source.fill([event, row("/t1/pods/back", "1")]).await?;
    for turn in 0..40 {
        kv.put("/t1/pods/often", format!("{turn}"), None).await?;
    }
    kv.delete("/t1/pods/back", None).await?;
    kv.put("/t1/pods/back", "2", None).await?;
    kv.put("/t10/pods/a", "neighbour", None).await?;

    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(
        !second.anew && second.removed == 50 && second.written == 3,
        "{second:?}"
    );
    ensure!(source.rows("/t1/").await? == target.rows("/t1/").await?);
    ensure!(target.rows("/t10/").await?.is_empty());
    ensure!(
        second.revision >= source.revision().await?.unsigned_abs(),
        "{second:?}"
    );

    // Only others write now: nothing of ours tells how far the watch is.
    kv.put("/t10/pods/a", "again", None).await?;
    let third = pair.copy(Some(&second.position), &quiet()).await?;
    ensure!(
        (third.read, third.written, third.anew) == (0, 0, false),
        "{third:?}"
    );
    let fourth = pair.copy(Some(&third.position), &quiet()).await?;
    ensure!(
        fourth.position == third.position && !fourth.anew,
        "{fourth:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_begins_anew_when_the_source_has_forgotten_what_changed() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(1_000, 100)).await?;
    let pair = pair(&source, &target).await?;
    let first = pair.copy(None, &quiet()).await?;
    let mut kv = source.client().await?.kv_client();
    kv.delete("/t1/configmaps/shop/item-0000007", None).await?;
    kv.put("/t1/configmaps/shop/item-0000008", "changed", None)
        .await?;
    kv.compact(source.revision().await?, None).await?;

    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(second.anew && second.read == 999, "{second:?}");
    ensure!((second.written, second.removed) == (1, 1), "{second:?}");
    ensure!(source.rows("/t1/").await? == target.rows("/t1/").await?);

    let of_another = Position(serde_json::json!({"cluster": 1, "revision": 2}));
    let third = pair.copy(Some(&of_another), &quiet()).await?;
    ensure!(third.anew && third.written == 0, "{third:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_changes_are_followed_in_parts() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(10, 100)).await?;
    let pair = pair(&source, &target).await?;
    let first = pair.copy(None, &quiet()).await?;
    // Each key twice: the earlier value must not come last.
    for turn in 0..2 {
        source
            .fill((0..30).map(|number| row(format!("/t1/secrets/{number}"), vec![turn; 1 << 20])))
            .await?;
    }
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(second.read == 60 && !second.anew, "{second:?}");
    ensure!(source.rows("/t1/").await? == target.rows("/t1/").await?);
    Ok(())
}
