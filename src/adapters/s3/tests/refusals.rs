//! What a server refuses is told with object, server, cause and the next command, and never with a secret.
use std::time::{Duration, Instant};

use super::*;

/// What is said when the server answers so to everything; with the next command.
async fn told(
    status: u16,
    code: &'static str,
    headers: Vec<(&'static str, String)>,
) -> (S3Error, String) {
    let (fake, bucket) = server(move |_| Some(Fault::Answer(status, code, headers.clone()))).await;
    let error = bucket.list("prod/").await.expect_err(code);
    let next = error
        .next()
        .map(|(command, what)| format!("{command}   {what}"));
    let said = format!("{error}\n{}", next.unwrap_or_default());
    assert!(!said.contains(SECRET), "{said}");
    assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
    let endpoint = format!("http://{}", fake.address);
    (error, said.replace(&endpoint, "[endpoint]"))
}

#[tokio::test]
async fn each_refusal_is_told_for_what_it_is() {
    let mut all = Vec::new();
    for (status, code) in [
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (400, "ExpiredToken"),
        (403, "AccessDenied"),
        (404, "NoSuchBucket"),
        (301, "PermanentRedirect"),
        (400, "AuthorizationHeaderMalformed"),
        (418, "Teapot"),
    ] {
        let (error, said) = told(status, code, Vec::new()).await;
        assert_eq!(error.is_refusal(), status != 418, "{error:?}");
        all.push(said);
    }
    insta::assert_snapshot!("refusals", all.join("\n"));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_put_right_where_the_server_tells_its_own() {
    let date = || vec![("date", "Sat, 28 Nov 2026 01:00:00 GMT".to_owned())];
    let (error, said) = told(403, "RequestTimeTooSkewed", date()).await;
    assert!(matches!(error, S3Error::Clock { .. }), "{error:?}");
    assert!(
        said.contains("the server's Sat, 28 Nov 2026 01:00:00 GMT"),
        "{said}"
    );
    assert!(said.contains("timedatectl"), "{said}");

    // One that takes what is signed with its own time.
    let (fake, bucket) = server(|seen| {
        let signed = seen.header("x-amz-date").starts_with("20310101T");
        let theirs = vec![("date", "Wed, 01 Jan 2031 00:30:00 GMT".to_owned())];
        (!signed).then_some(Fault::Answer(403, "RequestTimeTooSkewed", theirs))
    })
    .await;
    bucket
        .put_new("a", vec![1].into())
        .await
        .expect("made")
        .keep();
    assert_eq!(fake.content("a"), Some(vec![1]));
}

#[tokio::test]
async fn the_region_is_told_where_the_server_tells_it() {
    let header = vec![("x-amz-bucket-region", "eu-central-1".to_owned())];
    let (error, _) = told(301, "PermanentRedirect", header).await;
    let S3Error::OtherRegion { asked, region, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (asked.as_str(), region.as_deref()),
        ("us-east-1", Some("eu-central-1"))
    );
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_told_soon() {
    let home = home("KEY");
    let bucket = bucket_of("http://127.0.0.1:1".to_owned(), home.path()).await;
    let began = Instant::now();
    let error = bucket.list("").await.expect_err("nobody is there");
    assert!(matches!(error, S3Error::Unreachable { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("list s3://backups at http://127.0.0.1:1: "),
        "{said}"
    );
    assert!(
        said.ends_with("Connection refused (os error 111)"),
        "{said}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_page_that_says_not_found_is_no_answer_of_the_server() {
    for page in ["default backend - 404", "<html><body>404</body></html>"] {
        let (_fake, bucket) = server(move |_| Some(Fault::Page(404, page))).await;
        let error = bucket.read_range("a", 0..1).await.expect_err("a page");
        assert!(matches!(error, S3Error::Other { .. }), "{error:?}");
        assert!(
            error.to_string().contains("no answer of an S3 server"),
            "{error}"
        );
        let error = bucket.read_small("a").await.expect_err("a page");
        assert!(matches!(error, S3Error::Other { .. }), "{error:?}");
    }
}
