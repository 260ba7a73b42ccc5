use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;
use serde_json::json;

use super::{
    super::{
        differences, quiet,
        sql::{ignored, refusal},
    },
    SCHEMA, pair, stores,
    tenants::{changes, delete, put, subject},
};

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_is_found_and_named() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(12_000, 3_000, 100)).await?;
    let pair = pair(&source, &target)?;
    pair.copy(None, &quiet()).await?;
    let equal = pair.compare(&quiet()).await?;
    ensure!(
        equal.different == 0 && equal.keys == 12_000 && equal.digest.len() == 64,
        "{equal:?}"
    );
    ensure!(pair.compare(&quiet()).await? == equal);

    // At the same revisions: another value, another key, a tombstone, and one that only the target has.
    source
        .write([
            put("/registry/pods/shop/a", "1"),
            put("/registry/pods/shop/b", "1"),
            put("/registry/pods/shop/c", "1"),
        ])
        .await?;
    target
        .write([
            put("/registry/pods/shop/a", "2"),
            put("/registry/pods/shop/\0b", "1"),
            delete("/registry/pods/shop/c"),
            put("/registry/pods/shop/d", "1"),
        ])
        .await?;
    let gone = subject("/registry/configmaps/shop/item-0000007");
    let filter = json!({"filter": format!("$KV.{SCHEMA}.{gone}"), "keep": 3});
    target
        .ask(&format!("STREAM.PURGE.KV_{SCHEMA}"), &filter)
        .await?;
    let found = pair.compare(&quiet()).await?;
    ensure!(found.different == 5, "{found:?}");
    ensure!(
        differences(&found)
            == [
                "/registry/configmaps/shop/item-0000007: missing at the target",
                "/registry/pods/shop/a: other value",
                "/registry/pods/shop/b: other value",
                "/registry/pods/shop/c: other value",
                "/registry/pods/shop/d: only at the target",
            ],
        "{found:?}"
    );
    ensure!(found.digest != equal.digest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_working_api_server_changes_is_left_out_and_counted() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    let lease = "/registry/leases/kube-node-lease/node-1";
    source
        .write((0..15).map(|turn| put(lease, &format!("{turn}"))))
        .await?;
    source.write([put("/registry/pods/shop/a", "1")]).await?;
    let pair = pair(&source, &target)?;
    pair.copy(None, &quiet()).await?;
    // Frozen, the nodes still renew: of the 10 renewals that were copied 6 are forgotten at the source.
    source
        .write((0..6).map(|turn| put(lease, &format!("again {turn}"))))
        .await?;
    source
        .write([
            put("/registry/masterleases/10.0.0.1", "1"),
            put("/compact_rev_key_apiserver", "17"),
        ])
        .await?;
    let found = pair.compare(&quiet()).await?;
    ensure!(found.different == 0 && found.keys == 1, "{found:?}");
    ensure!(
        ignored(&found, "node leases") == Some((12, 16)),
        "{found:?}"
    );
    ensure!(
        ignored(&found, "API server leases") == Some((1, 1)),
        "{found:?}"
    );
    ensure!(
        ignored(&found, "kine's compaction") == Some((1, 1)),
        "{found:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing_is_named() -> Result<()> {
    let (source, target) = stores().await?;
    let pair = pair(&source, &target)?;
    for error in [
        refusal(pair.compare(&quiet()).await)?,
        refusal(pair.copy(None, &quiet()).await)?,
        refusal(pair.lead(1).await)?,
    ] {
        ensure!(
            error.to_string() == "datastore bronze: it has no bucket t1",
            "{error}"
        );
    }
    source.make(10).await?;
    let error = refusal(pair.compare(&quiet()).await)?;
    ensure!(
        error.to_string() == "datastore silver: it has no bucket t1",
        "{error}"
    );
    Ok(())
}
