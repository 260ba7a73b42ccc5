//! The client against a server with faults.
pub(crate) mod fake;
mod faults;
pub(crate) mod kept;
mod ongoing;
mod refusals;

use std::path::Path;

use aws_types::os_shim_internal::Env;

use self::fake::{BUCKET, Fake, Fault, Seen};
use super::*;

/// Bytes of a part.
const PART: usize = 1_000;
const SECRET: &str = "wJalrXUtnFEMI";

/// A folder with a profile of this access key.
fn home(id: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a folder");
    write_profile(home.path(), id);
    home
}

fn write_profile(home: &Path, id: &str) {
    let folder = home.join(".aws");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {SECRET}\n");
    std::fs::write(folder.join("credentials"), text).expect("written");
}

async fn bucket_of(endpoint: String, home: &Path) -> Bucket {
    let home = home.display().to_string();
    let source = Source::User(Env::from_slice(&[("HOME", home.as_str())]));
    let given = Given {
        endpoint: Some(endpoint),
        ..Given::default()
    };
    let settings = Settings::read(given, source).await.expect("settings");
    Bucket::open(BUCKET, settings).expect("a bucket")
}

/// A server with these faults, and its bucket.
pub(crate) async fn server(
    faults: impl FnMut(&Seen) -> Option<Fault> + Send + 'static,
) -> (Fake, Bucket) {
    let fake = Fake::start(faults).await;
    let bucket = bucket_of(format!("http://{}", fake.address), fake.home.path()).await;
    (fake, bucket)
}

/// Content that differs from place to place.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| u8::try_from(at * 7 % 251).unwrap_or_default())
        .collect()
}

/// Uploads so many bytes in parts, and keeps them.
async fn upload(bucket: &Bucket, key: &str, bytes: usize) -> Result<Sum, S3Error> {
    let (mut feed, parts) = feed(PART);
    let writing = tokio::task::spawn_blocking(move || {
        std::io::Write::write_all(&mut feed, &content(bytes))?;
        feed.finish()
    });
    let uploaded = bucket.upload(key, parts).await;
    // It cannot write what nobody takes.
    let written = writing.await.expect("no panic");
    let (draft, sum) = uploaded?.expect("an end");
    written.expect("written");
    draft.keep();
    Ok(sum)
}

/// Reads an object as a thread does.
async fn fetch(bucket: &Bucket, key: &str, sum: Sum) -> Result<Vec<u8>, S3Error> {
    let version = bucket.look(key).await?.expect("an object");
    let (mut fetched, fetching) = bucket.fetch(key, &version, sum);
    let reading = tokio::task::spawn_blocking(move || {
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut fetched, &mut read).map(|_| read)
    });
    let read = reading.await.expect("no panic").expect("read");
    fetching.await.expect("no panic")?;
    Ok(read)
}

/// It happens so often, to requests of this kind.
fn times(what: &'static str, mut times: usize, fault: Fault) -> impl FnMut(&Seen) -> Option<Fault> {
    move |seen| {
        let now = seen.what() == what && times > 0;
        now.then(|| {
            times -= 1;
            fault.clone()
        })
    }
}

fn slow_down() -> Fault {
    Fault::Answer(503, "SlowDown", Vec::new())
}

#[tokio::test]
async fn what_is_small_goes_in_one_piece_and_what_is_large_in_parts() {
    let (fake, bucket) = server(|_| None).await;
    for (bytes, asked) in [
        (0, vec!["put", "look"]),
        (PART, vec!["put", "look"]),
        (PART + 1, vec!["begin", "part", "part", "complete", "look"]),
    ] {
        let key = format!("a/{bytes}");
        let before = fake.asked().len();
        let sum = upload(&bucket, &key, bytes).await.expect("uploaded");
        assert_eq!(fake.asked()[before..], asked, "{bytes}");
        assert_eq!(fake.content(&key), Some(content(bytes)));
        assert_eq!(sum.size, bytes as u64);
        assert_eq!(fetch(&bucket, &key, sum).await, Ok(content(bytes)));
    }
    let many = upload(&bucket, "many", 37 * PART + 5)
        .await
        .expect("uploaded");
    assert_eq!(
        fetch(&bucket, "many", many).await,
        Ok(content(37 * PART + 5))
    );
    for seen in &fake.world().seen {
        let body = matches!(seen.what(), "put" | "part");
        assert_eq!(body, !seen.header("content-md5").is_empty(), "{seen:?}");
        // What the server checks by itself: the body is signed, and has no trailers.
        let signed = seen.header("x-amz-content-sha256");
        assert_eq!(signed.len(), 64, "{seen:?}");
        assert!(seen.header("x-amz-trailer").is_empty(), "{seen:?}");
    }
    assert!(fake.world().uploads.is_empty());
}

#[tokio::test]
async fn lists_have_pages_and_prefixes() {
    let (fake, bucket) = server(|_| None).await;
    for key in ["a/1", "a/2", "a/3", "a/4", "a/5", "b/1"] {
        bucket
            .put_new(key, key.as_bytes().to_vec().into())
            .await
            .expect("made")
            .keep();
    }
    let keys = |listed: Vec<Listed>| {
        listed
            .into_iter()
            .map(|object| object.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(bucket.list("a/").await.expect("listed")),
        ["a/1", "a/2", "a/3", "a/4", "a/5"]
    );
    assert_eq!(bucket.list("").await.expect("listed").len(), 6);
    assert_eq!(bucket.list("c/").await.expect("listed"), []);
    let read = bucket.read_small("a/3").await.expect("read");
    assert_eq!(read.as_deref(), Some(&b"a/3"[..]));
    assert_eq!(bucket.read_small("a/9").await, Ok(None));
    bucket.delete("a/3").await.expect("deleted");
    bucket.delete("a/3").await.expect("deleted again");
    assert_eq!(fake.content("a/3"), None);
}
