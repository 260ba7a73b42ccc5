//! Uploads that are gone on with.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use md5::Digest as _;

use super::{fake::digits, *};

const PARTS: u32 = 5;

fn part(number: u32) -> Bytes {
    let mut bytes = content(PART);
    bytes[0] = u8::try_from(number).expect("few parts");
    bytes.into()
}

fn sum(number: u32) -> [u8; 16] {
    md5::Md5::digest(part(number)).into()
}

/// Sends what is missing of all parts, and makes the object of them.
async fn go_on(bucket: &Bucket, mark: &str) -> Result<(), S3Error> {
    let ongoing = bucket.ongoing("a", mark).await?;
    send(&ongoing, PARTS).await?;
    let sums: Vec<u8> = (1..=PARTS).flat_map(sum).collect();
    let tag = format!("{}-{PARTS}", digits(&md5::Md5::digest(sums)));
    ongoing.finish(PARTS, &tag).await
}

async fn send(ongoing: &Ongoing, parts: u32) -> Result<(), S3Error> {
    for number in 1..=parts {
        if !ongoing.has(number, PART as u64, &digits(&sum(number))) {
            ongoing.put(number, part(number), sum(number)).await?;
        }
    }
    Ok(())
}

fn whole() -> Vec<u8> {
    (1..=PARTS).flat_map(part).collect()
}

fn parts_sent(fake: &Fake) -> usize {
    let asked = fake.asked();
    asked.iter().filter(|what| **what == "part").count()
}

#[tokio::test]
async fn an_upload_that_was_cut_off_goes_on_with_the_parts_that_are_missing() {
    for cut in 0..=PARTS {
        let (fake, bucket) = server(|_| None).await;
        let ongoing = bucket.ongoing("a", "mine").await.expect("begun");
        send(&ongoing, cut).await.expect("sent");
        drop(ongoing);
        go_on(&bucket, "mine").await.expect("gone on");
        assert_eq!(parts_sent(&fake), PARTS as usize, "cut after {cut}");
        assert_eq!(fake.content("a"), Some(whole()));
        assert!(fake.world().uploads.is_empty());
    }
}

#[tokio::test]
async fn where_nobody_can_read_which_parts_are_there_all_are_sent_again() {
    let (fake, bucket) = server(times("parts", 9, Fault::Answer(200, "", Vec::new()))).await;
    let ongoing = bucket.ongoing("a", "mine").await.expect("begun");
    send(&ongoing, 2).await.expect("sent");
    drop(ongoing);
    go_on(&bucket, "mine").await.expect("gone on");
    assert_eq!(parts_sent(&fake), 2 + PARTS as usize);
    assert_eq!(fake.content("a"), Some(whole()));
    assert!(fake.world().uploads.is_empty());
}

#[tokio::test]
async fn a_part_that_is_another_by_now_is_sent_again() {
    let (fake, bucket) = server(|_| None).await;
    let ongoing = bucket.ongoing("a", "mine").await.expect("begun");
    ongoing.put(1, part(9), sum(9)).await.expect("sent");
    go_on(&bucket, "mine").await.expect("gone on");
    assert_eq!(fake.content("a"), Some(whole()));
}

#[tokio::test]
async fn what_is_whole_already_stays_if_it_is_the_same_and_goes_if_not() {
    let (fake, bucket) = server(|_| None).await;
    go_on(&bucket, "mine").await.expect("made");
    // This server's tag is no sum of sums, so that it counts as other contents.
    let error = go_on(&bucket, "mine").await.expect_err("it is removed");
    assert!(matches!(error, S3Error::Failed { .. }), "{error}");
    assert_eq!(fake.content("a"), None);
    go_on(&bucket, "mine").await.expect("made again");
    let error = go_on(&bucket, "another").await.expect_err("it is not ours");
    assert!(matches!(error, S3Error::Exists { .. }), "{error}");
    assert_eq!(fake.content("a"), Some(whole()));
}

#[tokio::test]
async fn what_passes_by_itself_is_passed() {
    for what in ["begin", "part", "complete", "uploads", "parts"] {
        for fault in [slow_down(), Fault::Reset, Fault::Unanswered] {
            let (fake, bucket) = server(times(what, 2, fault.clone())).await;
            let ongoing = bucket.ongoing("a", "mine").await.expect("begun");
            send(&ongoing, 2).await.expect("sent");
            go_on(&bucket, "mine").await.expect("gone on");
            assert_eq!(fake.content("a"), Some(whole()), "{what}: {fault:?}");
        }
    }
}

/// Faults that end a try, or that it does not even notice.
fn sorts() -> [Fault; 10] {
    let answer = |status, code| Fault::Answer(status, code, Vec::new());
    [
        slow_down(),
        answer(500, "InternalError"),
        answer(507, "InsufficientStorage"),
        answer(403, "AccessDenied"),
        answer(404, "NoSuchUpload"),
        answer(400, "BadDigest"),
        answer(409, "OperationAborted"),
        Fault::Page(502, "<html>bad gateway</html>"),
        Fault::Reset,
        Fault::Unanswered,
    ]
}

#[tokio::test]
async fn whatever_happens_to_one_request_the_next_try_ends_with_the_same_object() {
    let mut requests = 0;
    for fault in sorts() {
        for at in 0.. {
            let happening = fault.clone();
            let (fake, bucket) =
                server(move |seen| (seen.number == 1 + at).then(|| happening.clone())).await;
            let earlier = bucket.put_new("earlier", content(9).into()).await;
            earlier.expect("made").keep();
            let first = go_on(&bucket, "mine").await;
            let happened = fake.asked().len() > 1 + at;
            if first.is_err() {
                go_on(&bucket, "mine").await.expect("the second try");
            }
            let what = format!("{fault:?} at request {at}, after {first:?}");
            assert_eq!(fake.content("a"), Some(whole()), "{what}");
            assert_eq!(fake.content("earlier"), Some(content(9)), "{what}");
            if !happened {
                assert!(first.is_ok(), "{what}");
                break;
            }
            requests += 1;
        }
    }
    assert!(requests > 80, "only {requests} requests");
}

#[tokio::test]
async fn an_upload_that_the_server_drops_is_sent_anew() {
    for sent in 0..=PARTS {
        let (fake, bucket) = server(|_| None).await;
        let ongoing = bucket.ongoing("a", "mine").await.expect("begun");
        send(&ongoing, sent).await.expect("sent");
        fake.world().uploads.clear();
        let rest = async {
            send(&ongoing, PARTS).await?;
            ongoing.finish(PARTS, "").await
        };
        let error = rest.await.expect_err("it is gone");
        assert!(!error.is_refusal(), "it is not tried again: {error}");
        assert!(error.to_string().contains("NoSuchUpload"), "{error}");
        go_on(&bucket, "mine").await.expect("the second try");
        assert_eq!(fake.content("a"), Some(whole()), "after {sent} parts");
        assert!(fake.world().uploads.is_empty());
    }
}

#[tokio::test]
async fn a_range_is_all_of_it_or_an_error() {
    let (_fake, bucket) = server(times("get", 2, Fault::Cut(3))).await;
    bucket
        .put_new("a", content(100).into())
        .await
        .expect("made")
        .keep();
    let read = bucket.read_range("a", 10..90).await.expect("read");
    assert_eq!(read, content(100)[10..90]);
    for range in [50..101, 100..110, 200..210] {
        let error = bucket
            .read_range("a", range)
            .await
            .expect_err("it is short");
        assert!(matches!(error, S3Error::Damaged { .. }), "{error}");
    }
    let error = bucket.read_range("b", 0..1).await.expect_err("it is gone");
    assert!(matches!(error, S3Error::NotFound { .. }), "{error}");
}

/// Who has lent his credentials, and has no others.
fn nobody() -> Again {
    Again::new(|| Box::pin(async { None }))
}

#[tokio::test]
async fn whoever_is_given_access_uses_the_same_credentials() {
    let (fake, bucket) = server(|_| None).await;
    let other = Settings::of(bucket.access(), nobody());
    let other = Bucket::open(BUCKET, other).expect("a bucket");
    other
        .put_new("a", content(3).into())
        .await
        .expect("made")
        .keep();
    assert_eq!(
        bucket.read_small("a").await.expect("read").as_deref(),
        Some(&content(3)[..])
    );
    assert_eq!(fake.content("a"), Some(content(3)));
    let shown = format!("{:?}", bucket.access());
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn whoever_is_refused_gets_the_credentials_of_now() {
    let (fake, bucket) = server(|_| None).await;
    write_profile(fake.home.path(), "another");
    assert_ne!(bucket.access().id, "another");
    bucket.renew().await.expect("there are some");
    assert_eq!(bucket.access().id, "another");
}

#[tokio::test]
async fn a_refusal_without_a_word_may_be_about_the_credentials() {
    for status in [400, 403] {
        let (fake, bucket) = server(move |seen| {
            let old = seen.access_key() != "another";
            old.then(|| Fault::Answer(status, "ExpiredToken", Vec::new()))
        })
        .await;
        // The answer to HEAD has no body.
        let refused = bucket.look("a").await.expect_err("they have expired");
        assert!(!refused.is_about_credentials(), "{refused}");
        write_profile(fake.home.path(), "another");
        assert_eq!(bucket.look("a").await.expect("others are taken"), None);
    }
}

#[tokio::test]
async fn whoever_has_lent_credentials_is_asked_when_they_have_expired() {
    let wanted = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&wanted);
    let (_fake, bucket) = server(move |seen| {
        let number = now.load(Ordering::Relaxed).to_string();
        (seen.access_key() != number).then(|| Fault::Answer(400, "ExpiredToken", Vec::new()))
    })
    .await;
    let access = |number: usize| Access {
        id: number.to_string(),
        ..bucket.access()
    };
    let (asked, first) = (Arc::clone(&wanted), access(0));
    let again = Again::new(move || {
        let number = asked.load(Ordering::Relaxed);
        let access = Access {
            id: number.to_string(),
            ..first.clone()
        };
        Box::pin(async move { Some(access) })
    });
    let lent = Bucket::open(BUCKET, Settings::of(access(0), again)).expect("a bucket");
    let mut ongoing = lent.ongoing("a", "r").await.expect("begun");
    for number in 1..=PARTS {
        // Each part finds that the key has run out, and is sent all the same.
        wanted.store(
            usize::try_from(number).expect("few parts"),
            Ordering::Relaxed,
        );
        let put = ongoing.put(number, part(number), sum(number));
        put.await.expect("sent");
    }
    ongoing = lent.ongoing("a", "r").await.expect("gone on with");
    assert!(ongoing.has(1, PART as u64, &digits(&sum(1))), "it is there");
}
