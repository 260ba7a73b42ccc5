use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Result, bail, ensure};
use kubectl_migrate::adapters::datastore::{DatastoreError, Meter, Pair as _};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::{Server, keys, pair, quiet, stores};
use crate::support::BOUND;

/// A meter that does this once so many keys were read.
fn at(keys: u64, action: impl Fn() + Send + Sync + 'static) -> Meter {
    Meter::new(move |reading| {
        if reading.keys >= keys {
            action();
        }
    })
}

/// Errors of what was on its way when a store died; more of them are another fault.
const ON_ITS_WAY: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_dropped_goes_on_with_what_is_missing() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(20_000, 1_000)).await?;
    let pair = pair(&source, &target).await?;
    let mut drops = 0;
    let copied = loop {
        let reached = Arc::new(Notify::new());
        let reach = Arc::clone(&reached);
        // Later each time, and not at all in the end.
        let meter = at(6_000 * (drops + 1), move || reach.notify_one());
        tokio::select! {
            biased;
            () = reached.notified() => drops += 1,
            copied = pair.copy(None, &meter) => break copied?,
        }
    };
    ensure!(drops >= 2, "dropped {drops} times");
    ensure!(copied.written < 20_000, "nothing was there yet: {copied:?}");
    ensure!(source.rows("/t1/").await? == target.rows("/t1/").await?);
    Ok(())
}

/// Once something was read, changes a key and forgets all that was before; until that is done nobody reads further. A
/// meter, and the revision of that.
async fn compacting(store: &Server) -> Result<(Meter, JoinHandle<Result<i64>>)> {
    let mut kv = store.client().await?.kv_client();
    let (begin, begun) = oneshot::channel();
    let (done, is_done) = std::sync::mpsc::channel();
    let compacted = tokio::spawn(async move {
        begun.await?;
        let key = "/t1/configmaps/shop/item-0000001";
        let put = kv.put(key, "changed", None).await?;
        let now = put
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        kv.compact(now, None).await?;
        done.send(())?;
        Ok(now)
    });
    let once = Mutex::new(Some((begin, is_done)));
    let meter = Meter::new(move |reading| {
        let mut once = once.lock().unwrap_or_else(PoisonError::into_inner);
        if reading.keys > 0
            && let Some((begin, is_done)) = once.take()
        {
            begin.send(()).ok();
            // What comes of it is told by the task itself.
            tokio::task::block_in_place(|| is_done.recv_timeout(BOUND)).ok();
        }
    });
    Ok((meter, compacted))
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_under_a_comparison_is_told_with_its_revisions() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(30_000, 1_000)).await?;
    let pair = pair(&source, &target).await?;
    pair.copy(None, &quiet()).await?;
    let was = source.revision().await?;
    let (meter, compacted) = compacting(&source).await?;
    let Err(error) = pair.compare(&meter).await else {
        bail!("what was forgotten was compared")
    };
    let told = DatastoreError::Compacted {
        store: "datastore bronze".to_owned(),
        wanted: was,
        compacted: compacted.await??,
    };
    ensure!(error == told, "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_under_a_copy_begins_anew_and_sends_nothing_twice() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(30_000, 1_000)).await?;
    let pair = pair(&source, &target).await?;
    let (meter, compacted) = compacting(&source).await?;
    let copied = pair.copy(None, &meter).await?;
    compacted.await??;
    ensure!(copied.anew, "{copied:?}");
    ensure!((30_000..30_500).contains(&copied.written), "{copied:?}");
    ensure!(source.rows("/t1/").await? == target.rows("/t1/").await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_room_is_full() -> Result<()> {
    let (source, target) = tokio::join!(
        Box::pin(Server::start("bronze")),
        Box::pin(Server::with(
            "silver",
            &["--quota-backend-bytes", "8388608"]
        ))
    );
    let (source, target) = (source?, target?);
    source.fill(keys(20_000, 1_000)).await?;
    let pair = pair(&source, &target).await?;

    let look = pair.look().await?;
    let told: Vec<_> = look
        .findings
        .iter()
        .map(|at| (&*at.check, at.blocks))
        .collect();
    ensure!(told == [("etcd quota", true)], "{look:?}");

    let Err(error) = pair.copy(None, &quiet()).await else {
        bail!("20 MB went into 8")
    };
    ensure!(matches!(error, DatastoreError::Full { .. }), "{error}");
    ensure!(
        error.to_string().starts_with("datastore silver is full"),
        "{error}"
    );

    let look = pair.look().await?;
    let alarm = look.findings.iter().find(|at| at.check == "etcd alarm");
    ensure!(
        alarm.is_some_and(|at| at.blocks && at.evidence.contains("NOSPACE")),
        "{look:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_under_a_copy_is_named() -> Result<()> {
    for dies in ["source", "target"] {
        let (source, target) = stores().await?;
        source.fill(keys(20_000, 1_000)).await?;
        let pair = pair(&source, &target).await?;
        let name = if dies == "source" { "bronze" } else { "silver" };
        let (source, target) = (Arc::new(source), Arc::new(target));
        let dying = Arc::clone(if dies == "source" { &source } else { &target });
        let meter = at(1, move || {
            dying.stop().ok();
        });
        let Err(error) = pair.copy(None, &meter).await else {
            bail!("it came to an end without its {dies}")
        };
        ensure!(
            matches!(
                error,
                DatastoreError::Lost { .. } | DatastoreError::Unreachable { .. }
            ),
            "{error}"
        );
        ensure!(
            error.to_string().contains(&format!("datastore {name}")),
            "{error}"
        );
        // Nobody brought it back. What was on its way when it died may still be told first, once per connection.
        let mut told = Vec::new();
        let error = loop {
            match pair.copy(None, &quiet()).await {
                Err(error @ DatastoreError::Unreachable { .. }) => break error,
                Err(error @ DatastoreError::Lost { .. }) if told.len() < ON_ITS_WAY => {
                    told.push(error);
                }
                other => bail!("{other:?} of a {dies} that is dead, after {told:?}"),
            }
        };
        ensure!(
            error.to_string().contains("etcd.stores.svc:2379"),
            "{error}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_under_a_comparison_is_named() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(20_000, 1_000)).await?;
    let pair = pair(&source, &target).await?;
    pair.copy(None, &quiet()).await?;
    let target = Arc::new(target);
    let (dying, shown) = (Arc::clone(&target), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&shown);
    let meter = at(1, move || {
        counted.fetch_add(1, Ordering::Relaxed);
        dying.stop().ok();
    });
    let Err(error) = pair.compare(&meter).await else {
        bail!("a comparison without its target")
    };
    ensure!(shown.load(Ordering::Relaxed) > 0);
    ensure!(error.to_string().contains("datastore silver"), "{error}");
    Ok(())
}
