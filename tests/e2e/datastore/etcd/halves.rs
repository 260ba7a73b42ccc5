//! A comparison whose first half is made while the source is written to.
use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{Comparison, FirstHalf, Pair};

use super::{Row, Server, keys, pair, quiet, row, stores};

const KEYS: u64 = 12_000;

/// A copied schema, the first half of its comparison, and its stores.
async fn half() -> Result<(Server, Server, impl Pair, FirstHalf)> {
    let (source, target) = stores().await?;
    let lease = source.lease(600).await?;
    let leased = Row {
        lease,
        ..row("/t1/leased/a", "1")
    };
    source
        .fill(keys(usize::try_from(KEYS)?, 500).chain([leased]))
        .await?;
    let pair = pair(&source, &target).await?;
    let copied = pair.copy(None, &quiet()).await?;
    // What is written from here on is not in the first half.
    source.fill([row("/t1/pods/later", "1")]).await?;
    let first = pair.compare_first(&copied.position, &quiet()).await?;
    let first = first.context("no first half")?;
    ensure!(first.open.is_empty(), "{first:?}");
    ensure!(first.comparison.keys == KEYS + 1, "{first:?}");
    pair.copy(Some(&copied.position), &quiet()).await?;
    Ok((source, target, pair, first))
}

fn told(found: &Comparison) -> Vec<(&str, &str)> {
    let all = found.differences.iter();
    all.map(|one| (&*one.key, &*one.how)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_at_either_side_since_the_first_half_is_compared_again() -> Result<()> {
    let (source, target, pair, first) = half().await?;
    // More than fits one request, and large ones among them.
    let many = (0..250).map(|number| {
        let size = if number % 50 == 0 { 1_000_000 } else { 10 };
        row(format!("/t1/secrets/many-{number:03}"), vec![b'v'; size])
    });
    source.fill(many).await?;
    source
        .client()
        .await?
        .kv_client()
        .delete("/t1/configmaps/shop/item-0000003", None)
        .await?;
    pair.copy(None, &quiet()).await?;
    let equal = pair.compare_rest(&first, &quiet()).await?;
    let equal = equal.context("forgotten")?;
    let again = equal.earlier.as_ref().map(|earlier| earlier.again);
    ensure!(
        (equal.different, equal.keys, again) == (0, KEYS + 1, Some(252)),
        "{equal:?}"
    );
    ensure!(equal.digest == first.comparison.digest);

    // Of these no copy knows.
    source.fill([row("/t1/pods/new", "1")]).await?;
    target
        .fill([
            row("/t1/configmaps/shop/item-0007000", "other"),
            row("/t1/pods/strange", "1"),
            row("/t1/leased/a", "1"),
            row("/t1/events/shop/web", "left out"),
            row("/t10/pods/a", "a neighbour's"),
        ])
        .await?;
    let mut kv = target.client().await?.kv_client();
    kv.delete("/t1/configmaps/shop/item-0011999", None).await?;
    let found = pair.compare_rest(&first, &quiet()).await?;
    let found = found.context("forgotten")?;
    let whole = pair.compare(&quiet()).await?;
    ensure!(
        told(&found)
            == [
                ("configmaps/shop/item-0007000", "other value"),
                ("configmaps/shop/item-0011999", "missing at the target"),
                ("leased/a", "without its lease"),
                ("pods/new", "missing at the target"),
                ("pods/strange", "only at the target"),
            ],
        "{found:?}"
    );
    ensure!(told(&whole) == told(&found), "{whole:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differed_in_the_first_half_is_compared_again() -> Result<()> {
    let (source, target) = stores().await?;
    source.fill(keys(50, 10)).await?;
    let pair = pair(&source, &target).await?;
    let copied = pair.copy(None, &quiet()).await?;
    let (damaged, mended) = ("/t1/configmaps/shop/item-0000007", "/t1/pods/mended");
    target.fill([row(damaged, "x"), row(mended, "x")]).await?;
    let first = pair.compare_first(&copied.position, &quiet()).await?;
    let first = first.context("no first half")?;
    ensure!(first.open.len() == 2, "{first:?}");
    ensure!(first.comparison.different == 0, "{first:?}");
    let mut kv = target.client().await?.kv_client();
    kv.delete(mended, None).await?;
    let found = pair.compare_rest(&first, &quiet()).await?;
    let found = found.context("forgotten")?;
    ensure!(
        told(&found) == [("configmaps/shop/item-0000007", "other value")],
        "{found:?}"
    );

    // So many are no accident: nothing of it is kept.
    let strange = (0..300).map(|number| row(format!("/t1/strange/{number}"), "x"));
    target.fill(strange).await?;
    let first = pair.compare_first(&copied.position, &quiet()).await?;
    ensure!(first.is_none(), "{first:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_forgotten_what_changed_or_is_another_one_is_compared_anew() -> Result<()>
{
    for forgetful in [0, 1] {
        let (source, target, pair, first) = half().await?;
        let server = [&source, &target][forgetful];
        server.fill([row("/t1/pods/new", "1")]).await?;
        let revision = server.revision().await?;
        let mut kv = server.client().await?.kv_client();
        kv.compact(revision, None).await?;
        let found = pair.compare_rest(&first, &quiet()).await?;
        ensure!(found.is_none(), "{forgetful}: {found:?}");
    }
    let (.., first) = half().await?;
    let (source, target) = stores().await?;
    let others = pair(&source, &target).await?;
    let found = others.compare_rest(&first, &quiet()).await?;
    ensure!(found.is_none(), "{found:?}");
    Ok(())
}
