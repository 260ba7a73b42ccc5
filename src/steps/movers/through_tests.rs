use serde_json::json;

use super::*;
use crate::{
    adapters::s3::tests::kept::Kept,
    engine::{Check, Event, Verdict},
    plan::RunAs,
    steps::{
        inventory::Mode,
        movers::testing::movers,
        users::tests::{belongs, place_with},
    },
};

/// What is somebody else's: another run's, and a snapshot.
const OTHERS: [&str; 2] = ["p/m/20261128T041500Z/data", "p/m/moving-other/data.warm"];

/// The place `p` of this bucket.
fn through(kept: &Kept) -> Through {
    let place = BucketPlace {
        address: "s3://backups/p".to_owned(),
        ..BucketPlace::default()
    };
    let through = Through::new(&place, &place_with(json!([])), &belongs());
    let Inner {
        place,
        home,
        folder,
        ..
    } = &*through.expect("a place").0;
    Through(Arc::new(Inner {
        place: place.clone(),
        home: home.clone(),
        folder: folder.clone(),
        bucket: OnceCell::new_with(Some(kept.bucket.clone())),
    }))
}

fn with(through: Through, allowed: &[MoverWay], mode: Mode) -> Movers {
    Movers {
        allowed: allowed.to_vec(),
        through: Some(through),
        ..movers(RunAs::Root, mode, place_with(json!([])))
    }
}

/// All that a run may leave: a probe, an archive with its index, and an upload that was cut off.
async fn fill(kept: &Kept, through: &Through) -> Objects {
    for key in OTHERS {
        let put = kept.bucket.put_new(key, Bytes::from_static(b"theirs"));
        put.await.expect("put").keep();
    }
    through.probe().await.expect("a probe");
    let whole = through.objects("data", "warm");
    for key in [&whole.data, &whole.index] {
        let put = kept.bucket.put_new(key, Bytes::from_static(b"ours"));
        put.await.expect("put").keep();
    }
    let cut = through.objects("data", "final");
    let begun = kept.bucket.ongoing(&cut.data, "r1-0").await;
    begun.expect("begun");
    whole
}

#[tokio::test]
async fn all_of_a_run_is_found_and_taken_away_cut_off_at_each_request() {
    let mut at = 0;
    loop {
        let kept = Kept::new().await;
        let through = through(&kept);
        fill(&kept, &through).await;
        let left = through.left().await.expect("a list");
        assert_eq!(left.len(), 4, "{left:?}");
        let folder = format!("p/m/moving-{}/", belongs().run);
        assert!(left.iter().all(|key| key.starts_with(&folder)), "{left:?}");
        kept.answer(Some(at));
        let cut = through.sweep().await.is_err();
        kept.answer(None);
        through.sweep().await.expect("it answers again");
        assert_eq!(kept.objects(), OTHERS, "cut at {at}");
        assert_eq!(kept.uploads(), 0, "cut at {at}");
        assert_eq!(through.left().await.expect("a list"), [""; 0]);
        if !cut {
            break;
        }
        at += 1;
    }
    // Two lists, an upload and three objects.
    assert!(at >= 6, "only {at} requests");
}

#[tokio::test]
async fn what_is_whole_goes_before_it_is_made_anew_and_what_was_cut_off_is_gone_on_with() {
    let kept = Kept::new().await;
    let through = through(&kept);
    let whole = fill(&kept, &through).await;
    let cut = through.objects("data", "final");
    let stale = |anew, of: &Objects| {
        let (through, of) = (through.clone(), of.clone());
        async move { through.remove_stale(&of, anew).await }
    };
    stale(true, &cut).await.expect("nothing is whole");
    assert_eq!(kept.uploads(), 1);
    stale(false, &whole).await.expect("it is gone on with");
    assert_eq!(through.left().await.expect("a list").len(), 4);
    // The archive is finished first: an index alone is of another one.
    kept.bucket.delete(&whole.data).await.expect("deleted");
    stale(false, &whole).await.expect("removed");
    let put = kept
        .bucket
        .put_new(&whole.data, Bytes::from_static(b"ours"));
    put.await.expect("put").keep();
    stale(true, &whole).await.expect("removed");
    let left = through.left().await.expect("a list");
    assert_eq!(left.len(), 2, "{left:?}");
    through.remove(&cut).await.expect("removed");
    assert_eq!(kept.uploads(), 0);
    // Asked for again, the probe is the one that is there.
    let again = through.probe().await.expect("it is there");
    assert_eq!(through.left().await.expect("a list"), [again.0]);
}

#[tokio::test]
async fn a_bucket_that_denies_is_told_of_and_keeps_nobody_waiting() {
    use MoverWay::{Bucket, Direct};
    for (allowed, used) in [
        (&[Direct, Bucket][..], false),
        (&[Direct, Bucket], true),
        (&[Bucket], false),
    ] {
        for denies in [true, false] {
            let kept = Kept::new().await;
            let movers = with(through(&kept), allowed, Mode::Filesystem);
            kept.answer(denies.then_some(0));
            let (sink, mut events, _) = Sink::new();
            movers.sweep(used, &sink).await;
            drop(sink);
            let mut told = String::new();
            while let Some(event) = events.recv().await {
                if let Event::Notice(text) = event {
                    told.push_str(&text);
                }
            }
            assert_eq!(
                told.contains("may be left in s3://backups/p/m/moving-"),
                denies,
                "{told}"
            );
        }
    }
}

async fn checks(kept: &Kept, allowed: &[MoverWay], mode: Mode) -> Vec<Check> {
    let movers = with(through(kept), allowed, mode);
    movers.check_bucket().await
}

fn verdicts(checks: &[Check]) -> Vec<Verdict> {
    checks.iter().map(|check| check.verdict).collect()
}

#[tokio::test]
async fn preflight_tries_the_bucket_and_leaves_nothing_in_it() {
    use MoverWay::{Bucket, Client, Direct};
    use Verdict::{Block, Pass, Warn};
    let kept = Kept::new().await;
    // The server is on this machine, which is not the pods', and without TLS.
    let all = [Direct, Client, Bucket];
    let found = checks(&kept, &all, Mode::Filesystem).await;
    assert_eq!(verdicts(&found), [Pass, Warn, Warn]);
    let only = checks(&kept, &[Bucket], Mode::Block).await;
    assert_eq!(verdicts(&only), [Pass, Block, Warn, Block]);
    assert_eq!(kept.objects(), [""; 0]);
    // It can be listed, and written to by nobody.
    kept.answer(Some(1));
    let denied = checks(&kept, &[Bucket], Mode::Filesystem).await;
    assert_eq!(verdicts(&denied), [Block]);
    assert!(
        denied[0].evidence.contains("s3://backups/p/m/moving-"),
        "{denied:?}"
    );
    kept.answer(Some(1));
    let some = checks(&kept, &all, Mode::Filesystem).await;
    assert_eq!(verdicts(&some), [Warn]);
}

#[tokio::test]
async fn what_is_no_place_in_a_bucket_is_refused_by_its_field() {
    let place = BucketPlace {
        address: "backups/moving".to_owned(),
        ..BucketPlace::default()
    };
    let refused = Through::new(&place, &place_with(json!([])), &belongs());
    let refused = refused.expect_err("it is none").to_string();
    assert!(
        refused.starts_with("spec.mover.bucket: `backups/moving`"),
        "{refused}"
    );
}
