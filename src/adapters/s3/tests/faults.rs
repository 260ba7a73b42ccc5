//! What passes by itself is gone on with; what does not leaves nothing behind.
use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::*;

#[tokio::test]
async fn a_server_that_fails_a_few_times_is_asked_again() {
    let sorts = [
        slow_down(),
        Fault::Answer(500, "InternalError", Vec::new()),
        Fault::Reset,
    ];
    for fault in sorts {
        for what in ["begin", "part", "complete", "look"] {
            let (fake, bucket) = server(times(what, 2, fault.clone())).await;
            let sum = upload(&bucket, "a", 3 * PART).await.expect(what);
            assert_eq!(
                fake.content("a"),
                Some(content(3 * PART)),
                "{what} {fault:?}"
            );
            assert_eq!(sum.size, 3_000);
            let asked = fake
                .asked()
                .into_iter()
                .filter(|asked| *asked == what)
                .count();
            assert_eq!(
                asked,
                if what == "part" { 5 } else { 3 },
                "{what} {fault:?}"
            );
            assert!(fake.world().uploads.is_empty());
        }
    }
}

#[tokio::test]
async fn a_server_that_fails_for_ever_is_told_and_left_as_it_was() {
    for what in ["part", "complete"] {
        let (fake, bucket) = server(times(what, usize::MAX, slow_down())).await;
        let error = upload(&bucket, "a", 2 * PART).await.expect_err(what);
        assert!(matches!(error, S3Error::Failed { .. }), "{error}");
        let said = error.to_string();
        assert!(
            said.contains("write s3://backups/a at http://127.0.0.1:"),
            "{said}"
        );
        assert!(said.contains("SlowDown: said by the server"), "{said}");
        assert!(bucket.tidied().await);
        let world = fake.world();
        assert!(
            world.uploads.is_empty() && world.objects.is_empty(),
            "{what}"
        );
        // It is not asked for ever.
        assert!(world.seen.len() < 20, "{}", world.seen.len());
    }
}

#[tokio::test]
async fn an_error_in_the_body_of_a_200_is_an_error() {
    let fault = || Fault::InBody("InternalError");
    let (fake, bucket) = server(times("complete", 1, fault())).await;
    upload(&bucket, "a", 2 * PART)
        .await
        .expect("the second time");
    assert_eq!(fake.content("a"), Some(content(2 * PART)));

    let (fake, bucket) = server(times("complete", usize::MAX, fault())).await;
    let error = upload(&bucket, "a", 2 * PART).await.expect_err("for ever");
    assert!(matches!(error, S3Error::Failed { .. }), "{error}");
    assert!(bucket.tidied().await);
    assert!(fake.world().uploads.is_empty() && fake.world().objects.is_empty());
    assert!(fake.asked().contains(&"abort"));
}

#[tokio::test]
async fn what_arrives_as_something_else_is_sent_again() {
    let bad = || Fault::Answer(400, "BadDigest", Vec::new());
    for what in ["put", "part"] {
        let (fake, bucket) = server(times(what, 2, bad())).await;
        let bytes = if what == "put" { 10 } else { 2 * PART };
        upload(&bucket, "a", bytes).await.expect(what);
        assert_eq!(fake.content("a"), Some(content(bytes)));
        let (fake, bucket) = server(times(what, usize::MAX, bad())).await;
        let error = upload(&bucket, "a", bytes).await.expect_err(what);
        assert!(error.to_string().contains("BadDigest"), "{error}");
        assert!(bucket.tidied().await);
        assert!(fake.world().uploads.is_empty() && fake.world().objects.is_empty());
    }
}

#[tokio::test]
async fn what_a_server_has_changed_is_found_when_it_is_read() {
    for (what, bytes) in [("put", 10), ("part", 2 * PART)] {
        let (_fake, bucket) = server(times(what, 1, Fault::Flipped)).await;
        let sum = upload(&bucket, "a", bytes)
            .await
            .expect("as many bytes are there");
        let error = fetch(&bucket, "a", sum)
            .await
            .expect_err("other bytes are there");
        assert!(matches!(error, S3Error::Damaged { .. }), "{error}");
        assert!(
            error
                .to_string()
                .starts_with("s3://backups/a is damaged: its digest is "),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_object_of_another_size_is_found_at_once_and_removed() {
    let (fake, bucket) = server(|seen| {
        let lies = vec![("content-length", "9".to_owned())];
        (seen.what() == "look").then_some(Fault::Answer(200, "", lies))
    })
    .await;
    let error = upload(&bucket, "a", 10).await.expect_err("another size");
    assert!(
        error
            .to_string()
            .contains("10 bytes were sent, and 9 are there"),
        "{error}"
    );
    assert!(bucket.tidied().await);
    assert_eq!(fake.content("a"), None);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_known_by_its_mark() {
    for (what, bytes) in [("put", 10), ("complete", 2 * PART)] {
        let (fake, bucket) = server(times(what, 1, Fault::Unanswered)).await;
        upload(&bucket, "a", bytes).await.expect(what);
        assert_eq!(fake.content("a"), Some(content(bytes)));
    }
}

#[tokio::test]
async fn what_is_there_is_never_written_over() {
    // The second server knows no conditions.
    let unknown = |seen: &Seen| {
        let condition = !seen.header("if-none-match").is_empty();
        condition.then(|| Fault::Answer(501, "NotImplemented", Vec::new()))
    };
    for knows in [true, false] {
        let (fake, bucket) = server(move |seen| if knows { None } else { unknown(seen) }).await;
        for bytes in [10, 2 * PART] {
            let key = format!("a/{bytes}");
            upload(&bucket, &key, bytes).await.expect("new");
            let error = upload(&bucket, &key, bytes + 1)
                .await
                .expect_err("there is one");
            assert!(matches!(error, S3Error::Exists { .. }), "{error}");
            assert!(bucket.tidied().await);
            assert_eq!(fake.content(&key), Some(content(bytes)), "{knows}");
            assert!(fake.world().uploads.is_empty());
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_dropped_leaves_nothing() {
    let reached = Arc::new(AtomicBool::new(false));
    let seen_it = Arc::clone(&reached);
    // A part that was on its way brings it back once.
    let mut brought_back = times("abort", 1, Fault::Page(204, ""));
    let (fake, bucket) = server(move |seen| {
        if seen.what() == "part" {
            seen_it.store(true, Ordering::SeqCst);
        }
        brought_back(seen)
    })
    .await;
    let (mut feed, parts) = feed(PART);
    let uploading = {
        let bucket = bucket.clone();
        tokio::spawn(async move { bucket.upload("a", parts).await.map(|_| ()) })
    };
    // It waits for more.
    let feed =
        tokio::task::spawn_blocking(move || feed.write_all(&content(2 * PART)).map(|()| feed));
    let feed = feed.await.expect("no panic").expect("written");
    while !reached.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fake.world().uploads.len(), 1);
    uploading.abort();
    assert!(uploading.await.is_err());
    assert!(bucket.tidied().await);
    assert!(fake.world().uploads.is_empty() && fake.world().objects.is_empty());
    let aborts = fake.asked().into_iter().filter(|asked| *asked == "abort");
    assert_eq!(aborts.count(), 2);
    drop(feed);
}

#[tokio::test]
async fn a_writer_that_never_ends_makes_no_object() {
    for bytes in [10, 2 * PART] {
        let (fake, bucket) = server(|_| None).await;
        let (mut feed, parts) = feed(PART);
        let writing = tokio::task::spawn_blocking(move || feed.write_all(&content(bytes)));
        let uploaded = bucket.upload("a", parts).await.expect("no fault");
        assert!(uploaded.is_none());
        writing.await.expect("no panic").expect("written");
        assert!(bucket.tidied().await);
        assert!(fake.world().uploads.is_empty() && fake.world().objects.is_empty());
    }
}

#[tokio::test]
async fn reading_goes_on_where_the_connection_broke() {
    let (fake, bucket) = server(times("get", 3, Fault::Cut(1_000))).await;
    let sum = upload(&bucket, "a", 5_500).await.expect("uploaded");
    assert_eq!(fetch(&bucket, "a", sum).await, Ok(content(5_500)));
    let ranges: Vec<String> = fake
        .world()
        .seen
        .iter()
        .filter(|seen| seen.what() == "get")
        .map(|seen| seen.header("range").to_owned())
        .collect();
    assert_eq!(ranges, ["", "bytes=1000-", "bytes=2000-", "bytes=3000-"]);
}

#[tokio::test]
async fn reading_gives_up_on_a_server_that_sends_nothing_and_on_another_object() {
    let (_fake, bucket) = server(times("get", usize::MAX, Fault::Cut(0))).await;
    let sum = upload(&bucket, "a", 500).await.expect("uploaded");
    let error = fetch(&bucket, "a", sum).await.expect_err("nothing comes");
    assert!(matches!(error, S3Error::Unreachable { .. }), "{error}");

    let (fake, bucket) = server(times("get", 1, Fault::Cut(100))).await;
    let sum = upload(&bucket, "a", 500).await.expect("uploaded");
    let version = bucket.look("a").await.expect("looked").expect("an object");
    let mut download = bucket.download("a", &version);
    let first = download.next().await.expect("read").expect("some");
    assert_eq!(first.len(), 100);
    fake.world()
        .objects
        .get_mut("a")
        .expect("an object")
        .content[0] ^= 1;
    let error = download.next().await.expect_err("another object");
    assert!(
        error
            .to_string()
            .contains("it became another one while it was read"),
        "{error}"
    );
    drop(sum);
}

#[tokio::test]
async fn credentials_that_change_under_an_upload_are_read_again() {
    // A server that refuses what it has not read ends the connection, and its answer may be lost with it.
    for refusal in [
        Fault::Answer(403, "InvalidAccessKeyId", Vec::new()),
        Fault::Reset,
    ] {
        let home = home("OLD");
        let folder = home.path().to_owned();
        let fake = Fake::start(move |seen| {
            // From the second part on only the new ones are taken.
            if seen.number == 2 {
                write_profile(&folder, "NEW");
            }
            let wanted = if seen.number < 2 { "OLD" } else { "NEW" };
            (seen.access_key() != wanted).then(|| refusal.clone())
        })
        .await;
        let bucket = bucket_of(format!("http://{}", fake.address), home.path()).await;
        upload(&bucket, "a", 9 * PART).await.expect("uploaded");
        assert_eq!(fake.content("a"), Some(content(9 * PART)));
    }
}

/// How servers say that there is no room, each in its own way; and that something is too large for them.
const NO_ROOM: [(u16, &str); 7] = [
    (507, "InsufficientStorage"),
    (507, "XMinioStorageFull"),
    (400, "XMinioAdminBucketQuotaExceeded"),
    (403, "QuotaExceeded"),
    (507, ""),
    (400, "EntityTooLarge"),
    (413, ""),
];

#[tokio::test]
async fn where_there_is_no_room_it_is_told_at_once_and_what_is_there_stays() {
    for (status, code) in NO_ROOM {
        for (what, bytes) in [
            ("put", 10),
            ("begin", 2 * PART),
            ("part", 2 * PART),
            ("complete", 2 * PART),
        ] {
            let fault = Fault::Answer(status, code, Vec::new());
            let mut full = times(what, 1, fault);
            let (fake, bucket) = server(move |seen| match seen.key.as_str() {
                "earlier" => None,
                _ => full(seen),
            })
            .await;
            upload(&bucket, "earlier", 3 * PART).await.expect("earlier");
            let error = upload(&bucket, "a", bytes).await.expect_err(what);
            let large = code == "EntityTooLarge" || status == 413;
            let known = match &error {
                S3Error::Full { .. } => !large,
                S3Error::TooLarge { .. } => large,
                _ => false,
            };
            assert!(known && error.is_refusal(), "{status} {code}: {error:?}");
            let said = error.to_string();
            assert!(
                said.starts_with("cannot write s3://backups/a at "),
                "{said}"
            );
            assert!(bucket.tidied().await);
            assert_eq!(fake.content("earlier"), Some(content(3 * PART)));
            assert_eq!(fake.content("a"), None);
            assert!(fake.world().uploads.is_empty(), "{status} {code} {what}");
            // There is room again.
            upload(&bucket, "a", bytes).await.expect("the second time");
            assert_eq!(fake.content("a"), Some(content(bytes)));
        }
    }
}

#[tokio::test]
async fn whoever_reads_is_told_nothing_of_room() {
    let (_fake, bucket) = server(times(
        "list",
        usize::MAX,
        Fault::Answer(403, "QuotaExceeded", Vec::new()),
    ))
    .await;
    let error = bucket.list("").await.expect_err("no list");
    assert!(matches!(error, S3Error::Other { .. }), "{error:?}");
}

#[tokio::test]
async fn a_quota_of_requests_is_no_room() {
    for status in [429, 503] {
        let fault = Fault::Answer(status, "RequestQuotaExceeded", Vec::new());
        let (_fake, bucket) = server(times("put", usize::MAX, fault)).await;
        let error = upload(&bucket, "a", 10)
            .await
            .expect_err("no answer but that");
        assert!(matches!(error, S3Error::Failed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_too_large_for_a_quota_is_no_room() {
    let page = "<Error><Code>EntityTooLarge</Code><Message>Upload exceeds quota.</Message></Error>";
    let (_fake, bucket) = server(times("put", 1, Fault::Page(413, page))).await;
    let error = upload(&bucket, "a", 10).await.expect_err("no room");
    assert!(matches!(error, S3Error::Full { .. }), "{error:?}");
}
