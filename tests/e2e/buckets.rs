//! What the adapter does with a real S3 server, beyond what a tenant's snapshot needs.
use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, bail, ensure};
use aws_types::os_shim_internal::Env;
use kubectl_migrate::{
    adapters::s3::{Bucket, Given, Ongoing, PART, S3Error, Settings, Source, Sum, feed},
    transfer::archive::{self, Md5},
};

use super::{
    moto::{self, Moto},
    s3::{BUCKET, ROOT, Server},
};

/// The bucket of a server whose certificate is of this authority, if it has one.
async fn bucket(name: &str, endpoint: &str, authority: Option<String>) -> Result<Bucket> {
    let source = Source::User(Env::from_slice(&[
        ("AWS_ACCESS_KEY_ID", ROOT[0]),
        ("AWS_SECRET_ACCESS_KEY", ROOT[1]),
        ("AWS_ENDPOINT_URL", endpoint),
    ]));
    let given = Given {
        authority: authority.map(Into::into),
        ..Given::default()
    };
    Ok(Bucket::open(name, Settings::read(given, source).await?)?)
}

async fn of_versitygw(server: &Server) -> Result<Bucket> {
    bucket(BUCKET, &server.endpoint(), Some(server.authority_file())).await
}

async fn of_moto(server: &Moto) -> Result<Bucket> {
    bucket(moto::BUCKET, &server.endpoint(), None).await
}

/// More than two parts, in which no two stretches are alike.
fn content() -> Vec<u8> {
    let mut content = vec![0; 2 * PART + 12_345];
    blake3::Hasher::new_derive_key("content of a test")
        .finalize_xof()
        .fill(&mut content);
    content
}

async fn upload(bucket: &Bucket, key: &str) -> Result<Sum> {
    let (mut feed, parts) = feed(PART);
    let writing = tokio::task::spawn_blocking(move || {
        feed.write_all(&content())?;
        feed.finish()
    });
    let uploaded = bucket.upload(key, parts).await;
    let written = writing.await?;
    let (draft, sum) = uploaded?.context("no end")?;
    written?;
    draft.keep();
    Ok(sum)
}

/// It goes up in parts, comes down as it was, and no other is made over it.
async fn keeps_what_is_large(bucket: &Bucket) -> Result<()> {
    let sum = upload(bucket, "a/large").await?;
    let version = bucket.look("a/large").await?.context("no object")?;
    ensure!(version.size == sum.size && sum.size == content().len() as u64);
    // The server has put it together out of parts.
    let tag = version.etag.clone().unwrap_or_default();
    ensure!(tag.contains("-3"), "{tag}");
    let (mut fetched, fetching) = bucket.fetch("a/large", &version, sum);
    let read = tokio::task::spawn_blocking(move || {
        let mut read = Vec::new();
        fetched.read_to_end(&mut read).map(|_| read)
    });
    ensure!(read.await?? == content());
    fetching.await??;

    // Another one is not made over it.
    let Err(error) = upload(bucket, "a/large").await else {
        bail!("it was written over");
    };
    let exists = matches!(error.downcast_ref(), Some(S3Error::Exists { .. }));
    ensure!(exists, "{error:#}");
    ensure!(bucket.tidied().await && bucket.unfinished("").await?.is_empty());
    let listed = bucket.list("").await?;
    let keys: Vec<_> = listed.iter().map(|object| &object.key).collect();
    ensure!(keys == ["a/large"], "{keys:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_large_goes_up_in_parts_and_comes_down_as_it_was() -> Result<()> {
    let server = Server::with_tls()?;
    keeps_what_is_large(&of_versitygw(&server).await?).await?;
    ensure!(server.objects()? == ["a/large"], "{:?}", server.objects()?);
    Ok(())
}

#[tokio::test]
async fn another_server_keeps_it_alike() -> Result<()> {
    let server = Moto::new()?;
    let bucket = of_moto(&server).await?;
    keeps_what_is_large(&bucket)
        .await
        .with_context(|| server.told())?;
    is_listed_while_it_is_unfinished(&bucket)
        .await
        .with_context(|| server.told())?;
    goes_on_after_a_cut(&bucket)
        .await
        .with_context(|| server.told())
}

/// An upload that was cut off goes on, and becomes one object with the tag that S3 gives it.
async fn goes_on_after_a_cut(bucket: &Bucket) -> Result<()> {
    let parts: Vec<_> = content().chunks(PART).map(<[u8]>::to_vec).collect();
    let sums: Vec<_> = parts.iter().map(|part| Md5::of(part)).collect();
    let tag = archive::etag(sums.iter().copied());
    let put = async |ongoing: &Ongoing, index: usize| {
        let number = u32::try_from(index + 1)?;
        let (part, sum) = (&parts[index], sums[index]);
        if !ongoing.has(number, part.len() as u64, &sum.to_string()) {
            ongoing.put(number, part.clone().into(), sum.0).await?;
        }
        anyhow::Ok(())
    };
    put(&bucket.ongoing("a/cut", "m").await?, 0).await?;
    let ongoing = bucket.ongoing("a/cut", "m").await?;
    for index in 0..parts.len() {
        put(&ongoing, index).await?;
    }
    ongoing.finish(u32::try_from(parts.len())?, &tag).await?;
    ensure!(bucket.unfinished("").await?.is_empty());
    let there = bucket.look("a/cut").await?.context("no object")?;
    let found = there.etag.as_deref().unwrap_or_default().trim_matches('"');
    ensure!(found == tag, "{found}, and not {tag}");
    // One that is whole is not made again.
    let whole = bucket.ongoing("a/cut", "m").await?;
    Ok(whole.finish(u32::try_from(parts.len())?, &tag).await?)
}

#[tokio::test]
async fn an_upload_that_was_cut_off_becomes_one_object() -> Result<()> {
    let server = Server::with_tls()?;
    goes_on_after_a_cut(&of_versitygw(&server).await?).await?;
    ensure!(server.objects()? == ["a/cut"], "{:?}", server.objects()?);
    Ok(())
}

/// An upload that goes on is listed; one that was dropped is not.
async fn is_listed_while_it_is_unfinished(bucket: &Bucket) -> Result<()> {
    let (mut feed, parts) = feed(PART);
    // It is not dropped while the upload waits for more.
    let writing = tokio::task::spawn_blocking(move || feed.write_all(&content()).map(|()| feed));
    let other = bucket.clone();
    let uploading = tokio::spawn(async move { other.upload("a/cut", parts).await.map(|_| ()) });
    let unfinished = loop {
        let unfinished = bucket.unfinished("a/").await?;
        if !unfinished.is_empty() {
            break unfinished;
        }
        ensure!(!uploading.is_finished(), "it ended");
    };
    ensure!(unfinished[0].key == "a/cut" && bucket.unfinished("b/").await?.is_empty());
    uploading.abort();
    ensure!(uploading.await.is_err());
    // It cannot write what nobody takes, unless it was faster.
    writing.await?.ok();
    ensure!(bucket.tidied().await);
    ensure!(bucket.unfinished("").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_upload_that_is_cut_off_is_listed_and_one_that_is_dropped_is_not() -> Result<()> {
    let server = Server::with_tls()?;
    let bucket = of_versitygw(&server).await?;
    is_listed_while_it_is_unfinished(&bucket).await?;
    // By what a client can see: a part that is on its way when its upload is dropped may stay in the server's own folder.
    let left = bucket.list("").await?;
    ensure!(left.is_empty(), "{} are left", left.len());
    Ok(())
}
