use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Result, bail, ensure};
use kubectl_migrate::adapters::datastore::{DatastoreError, Meter, NatsPair, Pair as _, Position};
use tokio::sync::Notify;

use super::{
    super::{quiet, sql::refusal},
    Server, pair, stores,
    tenants::changes,
};

/// A meter that does this once something was read.
fn once(action: impl Fn() + Send + Sync + 'static) -> Meter {
    let done = AtomicBool::new(false);
    Meter::new(move |reading| {
        if reading.keys > 0 && !done.swap(true, Ordering::Relaxed) {
            action();
        }
    })
}

fn is_named(error: &DatastoreError, name: &str) -> Result<()> {
    ensure!(
        matches!(
            error,
            DatastoreError::Lost { .. } | DatastoreError::Unreachable { .. }
        ),
        "{error}"
    );
    let text = error.to_string();
    ensure!(text.contains(&format!("datastore {name}")), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_under_a_copy_is_named_and_gone_on_with() -> Result<()> {
    for dies in ["bronze", "silver"] {
        let (source, target) = stores().await?;
        source.make(10).await?;
        source.write(changes(30_000, 10_000, 2_000)).await?;
        let pair = pair(&source, &target)?;
        let (source, target) = (Arc::new(source), Arc::new(target));
        let dying = Arc::clone(if dies == "bronze" { &source } else { &target });
        let stopped = Arc::clone(&dying);
        let error = refusal(pair.copy(None, &once(move || stopped.stop())).await)?;
        is_named(&error, dies)?;
        // Nobody brought it back.
        let error = refusal(pair.copy(None, &quiet()).await)?;
        ensure!(
            matches!(error, DatastoreError::Unreachable { .. }),
            "{error}"
        );
        ensure!(
            error.to_string().contains("nats.stores.svc:4222"),
            "{error}"
        );
        dying.again().await?;
        pair.copy(None, &quiet()).await?;
        ensure!(source.state().await? == target.state().await?);
        ensure!(pair.compare(&quiet()).await?.different == 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_under_changes_is_gone_on_with() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(100, 10, 100)).await?;
    let pair = pair(&source, &target)?;
    let first = pair.copy(None, &quiet()).await?;
    source.write(changes(30_000, 10_000, 1_000)).await?;
    let target = Arc::new(target);
    let dying = Arc::clone(&target);
    let meter = once(move || dying.stop());
    let error = refusal(pair.copy(Some(&first.position), &meter).await)?;
    is_named(&error, "silver")?;
    target.again().await?;
    let begun = target.state().await?[1];
    ensure!((100..30_100).contains(&begun), "{begun}");
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(
        !second.anew && second.read == 30_100 - begun,
        "{second:?} after {begun}"
    );
    ensure!(source.state().await? == target.state().await?);
    ensure!(pair.compare(&quiet()).await?.different == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_dropped_goes_on_with_what_is_missing() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(30_000, 10_000, 1_000)).await?;
    let pair = pair(&source, &target)?;
    dropped(&pair, None).await?;
    // Its servers are still at it.
    let first = pair.copy(None, &quiet()).await?;
    // The beginning that it left has passed again, with its times.
    ensure!(source.messages().await? == target.messages().await?);
    source.write(changes(30_000, 10_000, 1_000)).await?;
    dropped(&pair, Some(&first.position)).await?;
    let begun = target.state().await?[1];
    ensure!((30_000..60_000).contains(&begun), "{begun}");
    // At once: what was sent before may still arrive.
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(
        second.written <= 60_000 - begun && second.removed == 0 && !second.anew,
        "{second:?} after {begun}"
    );
    ensure!(source.state().await? == target.state().await?);
    ensure!(pair.compare(&quiet()).await?.different == 0);
    Ok(())
}

async fn dropped(pair: &NatsPair, since: Option<&Position>) -> Result<()> {
    let reached = Arc::new(Notify::new());
    let reach = Arc::clone(&reached);
    let meter = once(move || reach.notify_one());
    tokio::select! {
        biased;
        () = reached.notified() => Ok(()),
        copied = pair.copy(since, &meter) => bail!("it came to its end: {copied:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_under_a_comparison_is_named() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(30_000, 10_000, 1_000)).await?;
    let pair = pair(&source, &target)?;
    pair.copy(None, &quiet()).await?;
    let target = Arc::new(target);
    let dying = Arc::clone(&target);
    let error = refusal(pair.compare(&once(move || dying.stop())).await)?;
    is_named(&error, "silver")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_on_is_followed() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(30_000, 10_000, 1_000)).await?;
    let pair = pair(&source, &target)?;
    let meter = quiet();
    let (copied, written) = tokio::join!(
        pair.copy(None, &meter),
        source.write(changes(20_000, 3_000, 500))
    );
    written?;
    let copied = copied?;
    ensure!(copied.revision >= 30_000, "{copied:?}");
    let rest = pair.copy(Some(&copied.position), &quiet()).await?;
    ensure!(rest.revision == 50_000 && !rest.anew, "{rest:?}");
    ensure!(source.state().await? == target.state().await?);
    ensure!(pair.compare(&quiet()).await?.different == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_room_is_full() -> Result<()> {
    let (source, target) = tokio::join!(
        Server::start("bronze"),
        Server::with(
            "silver",
            "jetstream { store_dir: STORE, max_file_store: 8MB }"
        )
    );
    let (source, target) = (source?, target?);
    source.make(10).await?;
    source.write(changes(20_000, 20_000, 1_000)).await?;
    let error = refusal(pair(&source, &target)?.copy(None, &quiet()).await)?;
    ensure!(
        matches!(error, DatastoreError::Full { .. }),
        "{error} {error:?}"
    );
    ensure!(
        error.to_string().starts_with("datastore silver is full"),
        "{error}"
    );
    Ok(())
}
