//! Keys that run out while movers work with a bucket: the client is asked for others, and nothing begins again.
use super::pair::{Client, Pair, RUN};
use super::store;
use crate::transfer::archive::{Access, Lender, Objects, StoreError, StoreFailure};
use crate::transfer::control::ControlError;
use crate::transfer::fault::Fault;
use crate::transfer::side::Side;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn objects() -> Objects {
    Objects {
        data: "v.tar.zst".into(),
        index: "v.index.zst".into(),
    }
}

fn folder(pair: &Pair) -> PathBuf {
    let folder = pair.directory.path().join("store");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Access with the first, the second, the third key.
fn with_key(pair: &Pair, number: usize) -> Access {
    Access {
        id: number.to_string(),
        ..store::access(&folder(pair))
    }
}

/// A client whose keys become others each time that he looks, and how often he did.
fn rotating(pair: &Pair) -> (Lender, Arc<AtomicUsize>) {
    let (access, looks) = (with_key(pair, 0), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&looks);
    let lender = Lender::new(move || {
        let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
        let access = Access {
            id: number.to_string(),
            ..access.clone()
        };
        Box::pin(async move { Some(access) })
    });
    (lender, looks)
}

async fn lent(pair: &Pair, side: Side, lender: &Lender) -> Client {
    let mut control = pair.control(side, 1).await.unwrap();
    control.lend(lender.clone());
    control
}

/// Up, back, out and compared with keys of which each is taken for so many calls: how many calls were taken, and how
/// often the client looked.
async fn passed(last: usize) -> (usize, usize) {
    let pair = Pair::new();
    let mut noise = vec![0; 40 << 20];
    fastrand::fill(&mut noise);
    std::fs::write(pair.source().join("large"), noise).unwrap();
    std::fs::write(pair.source().join("small"), "small").unwrap();
    let (objects, (lender, looks)) = (objects(), rotating(&pair));
    store::let_last(&folder(&pair), last);
    // Whoever asks anew has the keys of now.
    let access = || with_key(&pair, looks.load(Ordering::Relaxed));
    let mut source = lent(&pair, Side::Source, &lender).await;
    let archive = source
        .archive(RUN, &access(), &objects, RUN, true, &mut |_| {})
        .await
        .unwrap();
    source
        .read_back(RUN, &access(), &objects, &archive, &mut |_| {})
        .await
        .unwrap();
    let mut target = lent(&pair, Side::Target, &lender).await;
    target
        .extract(RUN, &access(), &objects, &archive, &mut |_| {})
        .await
        .unwrap();
    let compared = target
        .compare(RUN, &access(), &objects, &archive, &[], &mut |_| {})
        .await
        .unwrap();
    assert!(compared.is_equal(), "{:?}", compared.differences);
    let calls = store::taken(&folder(&pair)).iter().sum();
    pair.stop().await;
    (calls, looks.load(Ordering::Relaxed))
}

#[tokio::test]
async fn keys_that_run_out_are_replaced_where_it_is_and_nothing_begins_again() {
    let (calls, looks) = passed(usize::MAX).await;
    assert_eq!(looks, 0, "nothing ran out");
    assert!(calls > 12, "only {calls} calls");
    for last in [1, 2, 5] {
        let (taken, looks) = passed(last).await;
        assert_eq!(taken, calls, "keys for {last} calls");
        assert!(looks + 1 >= calls / last, "{looks} looks for {last} calls");
    }
}

/// The failure of an upload with a key that is taken for so many calls, by a client who has no other one.
async fn expired(lender: Option<Lender>, last: usize) -> ControlError {
    let pair = Pair::new();
    std::fs::write(pair.source().join("small"), "small").unwrap();
    store::let_last(&folder(&pair), last);
    let mut source = pair.control(Side::Source, 1).await.unwrap();
    if let Some(lender) = lender {
        source.lend(lender);
    }
    let sent = source
        .archive(RUN, &with_key(&pair, 0), &objects(), RUN, true, &mut |_| {})
        .await;
    let error = sent.expect_err("it has expired");
    // The mover does something else for the same client.
    source.inspect(RUN).await.unwrap();
    pair.stop().await;
    error
}

#[tokio::test]
async fn a_client_without_other_keys_hears_that_they_have_expired() {
    for last in [0, 1, 3] {
        for lender in [
            None,
            Some(Lender::new(|| Box::pin(async { None }))),
            Some(Lender::new(|| {
                let mut same = store::access(std::path::Path::new("elsewhere"));
                same.id = "0".to_owned();
                Box::pin(async { Some(same) })
            })),
        ] {
            let error = expired(lender, last).await;
            let ControlError::Fault(Fault::Store(StoreError { failure, .. })) = &error else {
                panic!("{error}");
            };
            assert_eq!(*failure, StoreFailure::Credentials, "{error}");
        }
    }
}
