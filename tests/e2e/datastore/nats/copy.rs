use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::Pair as _;
use serde_json::json;

use super::{
    super::{quiet, sql::refusal},
    SCHEMA, pair, stores,
    tenants::{changes, delete, put},
};

#[tokio::test(flavor = "multi_thread")]
async fn revisions_reset_nowhere_and_history_arrives() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    // Each key 16 times: the first 6 of each are forgotten.
    source.write(changes(3_200, 200, 300)).await?;
    source
        .write([
            delete("/registry/configmaps/shop/item-0000007"),
            put("/registry/configmaps/shop/\0\u{7f} .*>", "odd"),
        ])
        .await?;
    source.write(changes(8, 8, 900_000)).await?;
    let pair = pair(&source, &target)?;
    let copied = pair.copy(None, &quiet()).await?;
    ensure!(!copied.anew && copied.revision == 3_210, "{copied:?}");
    ensure!(copied.written == source.state().await?[2], "{copied:?}");
    let (from, to) = (source.messages().await?, target.messages().await?);
    // Times are the same, too.
    ensure!(from == to && from[0].sequence > 1 && from.len() > 2_000);
    ensure!(source.state().await? == target.state().await?);
    ensure!(source.bucket().await?["config"] == target.bucket().await?["config"]);
    let compared = pair.compare(&quiet()).await?;
    ensure!(
        compared.different == 0 && compared.keys == from.len() as u64,
        "{compared:?}"
    );

    let again = pair.copy(None, &quiet()).await?;
    ensure!(
        (again.read, again.written, again.removed) == (copied.read, 0, 0),
        "{again:?}"
    );
    Ok(())
}

/// Kamaji's own migration needs a bucket, and fails without.
#[tokio::test(flavor = "multi_thread")]
async fn bucket_must_pre_exist_no_more_and_one_of_kamajis_becomes_kines() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(300, 20, 100)).await?;
    target.make(1).await?;
    let pair = pair(&source, &target)?;
    let look = pair.look().await?;
    let [finding] = look.findings.as_slice() else {
        anyhow::bail!("{look:?}")
    };
    ensure!(
        !finding.blocks && finding.check == "bucket settings",
        "{finding:?}"
    );
    ensure!(
        finding
            .evidence
            .contains("max_msgs_per_subject 1 becomes 10"),
        "{finding:?}"
    );
    pair.copy(None, &quiet()).await?;
    ensure!(source.messages().await? == target.messages().await?);
    ensure!(target.bucket().await?["config"]["max_msgs_per_subject"] == 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_in_memory_is_written_message_by_message() -> Result<()> {
    let (source, target) = stores().await?;
    source.make_with(&json!({"storage": "memory"})).await?;
    source.write(changes(900, 50, 100)).await?;
    // The first messages are gone, and some in the middle.
    let purge = format!("STREAM.PURGE.KV_{SCHEMA}");
    source.ask(&purge, &json!({"seq": 420})).await?;
    let (middle, _, _) = put("/registry/configmaps/shop/item-0000031", "");
    let filter = format!("$KV.{SCHEMA}.{middle}");
    source.ask(&purge, &json!({"filter": filter})).await?;
    let pair = pair(&source, &target)?;
    pair.copy(None, &quiet()).await?;
    ensure!(source.state().await? == target.state().await?);
    ensure!(source.bucket().await?["config"] == target.bucket().await?["config"]);
    let compared = pair.compare(&quiet()).await?;
    ensure!(
        compared.different == 0 && compared.keys > 400,
        "{compared:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clearing_takes_a_copy_and_nothing_that_grew_there() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(300, 20, 100)).await?;
    let pair = pair(&source, &target)?;
    pair.clear_target().await?;
    pair.copy(None, &quiet()).await?;
    // The tenant has gone on at the source: more of its past is forgotten there.
    source.write(changes(200, 5, 100)).await?;
    pair.clear_target().await?;
    ensure!(target.bucket().await.is_err());

    pair.copy(None, &quiet()).await?;
    target
        .write([put("/registry/masterleases/10.0.0.1", "an API server's")])
        .await?;
    target.write([put("/registry/pods/shop/new", "1")]).await?;
    let error = refusal(pair.clear_target().await)?.to_string();
    ensure!(error.contains("/registry/pods/shop/new"), "{error}");
    ensure!(error.contains("nothing is removed"), "{error}");
    ensure!(target.state().await?[2] > 200);
    Ok(())
}
