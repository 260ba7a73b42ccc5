use anyhow::{Context as _, Result, ensure};
use kubectl_migrate::adapters::datastore::{Later, Pair as _, Position};
use serde_json::{Value, json};

use super::{
    super::{quiet, sql::refusal},
    SCHEMA, Server, pair,
    server::{Kept, USER},
    stores,
    tenants::{changes, delete, put, subject},
};

/// All but the times, which are those of the writing.
fn timeless(kept: Vec<Kept>) -> Vec<Kept> {
    let timeless = kept.into_iter().map(|kept| Kept {
        time: String::new(),
        ..kept
    });
    timeless.collect()
}

async fn equal(source: &Server, target: &Server) -> Result<()> {
    ensure!(source.state().await? == target.state().await?);
    ensure!(timeless(source.messages().await?) == timeless(target.messages().await?));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_later_gets_its_own_revisions() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(2_000, 200, 100)).await?;
    let pair = pair(&source, &target)?;
    let first = pair.copy(None, &quiet()).await?;
    // One key 500 times: all but 10 of these revisions are nobody's any more.
    source.write(changes(500, 1, 100)).await?;
    source
        .write([
            put("/registry/pods/shop/a", "1"),
            delete("/registry/pods/shop/a"),
            delete("/registry/configmaps/shop/item-0000003"),
            put("/registry/pods/shop/a", "2"),
        ])
        .await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(!second.anew && second.read == 14, "{second:?}");
    ensure!(second.revision == 2_504, "{second:?}");
    equal(&source, &target).await?;
    let third = pair.copy(Some(&second.position), &quiet()).await?;
    ensure!(
        (third.read, third.written, third.bytes) == (0, 0, 0),
        "{third:?}"
    );
    ensure!(third.position == second.position && !third.anew);
    source.write(changes(30, 3, 100)).await?;
    let fourth = pair.copy(Some(&third.position), &quiet()).await?;
    ensure!(!fourth.anew && fourth.written == 30, "{fourth:?}");
    equal(&source, &target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_at_the_end_that_are_gone_are_not_used_again() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(100, 20, 100)).await?;
    let pair = pair(&source, &target)?;
    let first = pair.copy(None, &quiet()).await?;
    source.write([put("/registry/pods/shop/a", "1")]).await?;
    purge(&source, "/registry/pods/shop/a").await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(second.revision == 101 && !second.anew, "{second:?}");
    equal(&source, &target).await?;
    ensure!(target.state().await? == [1, 101, 100]);
    // So it is where the bucket passes whole.
    pair.clear_target().await?;
    pair.copy(None, &quiet()).await?;
    equal(&source, &target).await
}

async fn purge(server: &Server, key: &str) -> Result<Value> {
    let filter = format!("$KV.{SCHEMA}.{}", subject(key));
    server
        .ask(
            &format!("STREAM.PURGE.KV_{SCHEMA}"),
            &json!({"filter": filter}),
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_at_the_source_goes_at_the_target_too() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(1_000, 100, 100)).await?;
    let pair = pair(&source, &target)?;
    let first = pair.copy(None, &quiet()).await?;
    // An administrator's work: kine removes nothing.
    purge(&source, "/registry/configmaps/shop/item-0000042").await?;
    source.write([put("/registry/pods/shop/a", "1")]).await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(second.anew, "{second:?}");
    equal(&source, &target).await?;
    ensure!(pair.compare(&quiet()).await?.different == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_another_is_not_gone_on_with() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(100, 10, 100)).await?;
    let pair = pair(&source, &target)?;
    let first = pair.copy(None, &quiet()).await?;
    target
        .ask(&format!("STREAM.DELETE.KV_{SCHEMA}"), &Value::Null)
        .await?;
    let second = pair.copy(Some(&first.position), &quiet()).await?;
    ensure!(second.anew && second.written == 100, "{second:?}");
    equal(&source, &target).await?;

    source
        .ask(&format!("STREAM.DELETE.KV_{SCHEMA}"), &Value::Null)
        .await?;
    source.make(10).await?;
    source.write(changes(50, 10, 100)).await?;
    let third = pair.copy(Some(&second.position), &quiet()).await?;
    ensure!(third.anew && third.removed == 100, "{third:?}");
    equal(&source, &target).await?;

    let created = third.position.0["created"].clone();
    let ahead = Position(json!({"created": created, "sequence": 5_000}));
    let error = refusal(pair.copy(Some(&ahead), &quiet()).await)?.to_string();
    ensure!(
        error.contains("its revision went back from 5000 to 50"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_after_the_copy_is_named() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(100, 10, 100)).await?;
    let pair = pair(&source, &target)?;
    let copied = pair.copy(None, &quiet()).await?;
    let later = pair.later(&copied.position).await?;
    ensure!(later == Some(Later::default()), "{later:?}");
    source
        .write([
            put("/registry/leases/kube-node-lease/node-1", "1"),
            put("/registry/pods/shop/a", "1"),
            put("/registry/masterleases/10.0.0.1", "1"),
            delete("/registry/configmaps/shop/item-0000003"),
        ])
        .await?;
    let later = pair.later(&copied.position).await?;
    let later = later.context("it does not tell")?;
    ensure!(
        later.writes == 2 && later.keys == ["pods/shop/a", "configmaps/shop/item-0000003"],
        "{later:?}"
    );
    // A bucket that was made anew counts from 1 again.
    source
        .ask(&format!("STREAM.DELETE.KV_{SCHEMA}"), &Value::Null)
        .await?;
    source.make(10).await?;
    source.write(changes(500, 10, 100)).await?;
    let later = pair.later(&copied.position).await?;
    ensure!(later.is_none(), "{later:?}");
    Ok(())
}

/// kine logs in as the user that the DataStore names.
#[tokio::test(flavor = "multi_thread")]
async fn no_user_goes_with_the_bucket() -> Result<()> {
    let (source, target) = stores().await?;
    source.make(10).await?;
    source.write(changes(100, 10, 100)).await?;
    let pair = pair(&source, &target)?;
    pair.copy(None, &quiet()).await?;
    pair.clear_target().await?;
    pair.clear_user(USER).await?;
    ensure!(pair.look().await?.target.keys == 0);
    pair.copy(None, &quiet()).await?;
    equal(&source, &target).await
}
