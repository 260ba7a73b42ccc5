//! Deletions that are cut off at each of their requests, on a server in memory.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::super::{Fate, Found, Keep, State, judge, manifest::tests::manifest};
use super::*;
use crate::adapters::s3::{
    Sum,
    tests::{
        fake::{Fake, Fault},
        server,
    },
};

const DATA: &[u8] = b"what was taken";
const FAR: usize = usize::MAX / 2;

/// A repository whose server refuses everything after so many more requests.
struct World {
    fake: Fake,
    repository: Repository,
    left: Arc<AtomicUsize>,
}

impl World {
    async fn new(prefix: &str) -> Self {
        let left = Arc::new(AtomicUsize::new(FAR));
        let (fake, bucket) = server({
            let left = Arc::clone(&left);
            move |_| {
                let cut = left.load(Ordering::Relaxed) == 0;
                if !cut {
                    left.fetch_sub(1, Ordering::Relaxed);
                }
                cut.then(|| Fault::Answer(400, "InvalidRequest", Vec::new()))
            }
        })
        .await;
        Self {
            fake,
            repository: Repository::new(bucket, prefix),
            left,
        }
    }

    async fn put(&self, id: &SnapshotId, object: &str, content: &[u8]) {
        let key = self.repository.key_of(id, object);
        let put = self
            .repository
            .bucket()
            .put_new(&key, content.to_vec().into());
        put.await.expect("made").keep();
    }

    /// A whole snapshot of a tenant.
    async fn take(&self, name: &str, time: &str) -> SnapshotId {
        let id: SnapshotId = format!("{name}/{time}").parse().expect("a name");
        self.put(&id, "data.jsonl.zst", DATA).await;
        let mut manifest = manifest(Sum {
            size: DATA.len() as u64,
            blake3: "ab".to_owned(),
        });
        manifest.head.tenant = format!("tenants/{name}");
        let text = manifest.encode().expect("JSON");
        self.put(&id, "manifest.json", &text).await;
        id
    }

    async fn list(&self) -> BTreeMap<String, Found> {
        let found = self.repository.list().await.expect("listed");
        let all = found.into_iter();
        all.map(|found| (found.id.to_string(), found)).collect()
    }

    fn keys(&self) -> Vec<String> {
        self.fake.world().objects.keys().cloned().collect()
    }
}

#[tokio::test]
async fn one_that_is_cut_off_anywhere_never_looks_whole_and_is_ended_by_the_next() {
    for cut in 0.. {
        let world = World::new("prod").await;
        let goes = world.take("t1", "20261127T041500Z").await;
        // An object of a volume, which a tenant's has not, goes as well.
        world.put(&goes, "t1-0/data.tar.zst", b"volume").await;
        let before = world.keys();
        // Longer names, which begin alike.
        world.take("t1", "20261127T041500Z-x1").await;
        world.take("t1-2", "20261127T041500Z").await;
        let mut others = world.keys();
        others.retain(|key| !before.contains(key));

        world.left.store(cut, Ordering::Relaxed);
        let cut_off = world.repository.prune(&goes).await.is_err();
        world.left.store(FAR, Ordering::Relaxed);
        let listed = world.list().await;
        if !cut_off {
            assert!(cut > 5, "after {cut} requests");
            assert_eq!(world.keys(), others);
            assert!(!listed.contains_key(&goes.to_string()));
            return;
        }
        let found = &listed[&goes.to_string()];
        let begun = world
            .keys()
            .iter()
            .any(|key| key.ends_with("/deleted.json"));
        let whole = before.iter().all(|key| world.keys().contains(key));
        if whole && !begun {
            assert_eq!(found.state, State::Whole, "nothing was begun, cut at {cut}");
        } else {
            assert_eq!(found.state, State::HalfDeleted, "cut at {cut}");
            let keep = Keep {
                last: 1_000,
                ..Keep::default()
            };
            let judged = judge(listed.into_values().collect(), &keep);
            for one in judged {
                let ends = one.fate == Fate::Ends;
                assert_eq!(ends, one.found.id == goes, "{one:?} cut at {cut}");
            }
            let refused = world.repository.check_listing(&goes).await;
            let why = format!("{:#}", refused.expect_err("it is no snapshot any more"));
            assert!(why.contains("half deleted"), "{why}");
        }
        world.repository.prune(&goes).await.expect("ended");
        assert_eq!(world.keys(), others, "cut at {cut}");
    }
}

#[tokio::test]
async fn one_whose_objects_cannot_be_listed_is_not_begun() {
    let world = World::new("").await;
    let goes = world.take("t1", "20261127T041500Z").await;
    let before = world.keys();
    world.left.store(0, Ordering::Relaxed);
    world
        .repository
        .prune(&goes)
        .await
        .expect_err("it is refused");
    assert_eq!(world.keys(), before);
}

#[tokio::test]
async fn workloads_are_judged_apart_and_what_is_not_whole_is_left() {
    let world = World::new("prod").await;
    for day in 25..=28 {
        world.take("t1", &format!("202611{day}T041500Z")).await;
    }
    world.take("t1-2", "20261101T041500Z").await;
    let damaged = world.take("t1", "20261128T051500Z").await;
    let key = world.repository.data_key(&damaged);
    world
        .repository
        .bucket()
        .delete(&key)
        .await
        .expect("deleted");
    let unfinished: SnapshotId = "t1/20261128T061500Z".parse().expect("a name");
    world.put(&unfinished, "data.jsonl.zst", DATA).await;
    let keep = Keep {
        daily: 2,
        ..Keep::default()
    };
    let judged = judge(world.repository.list().await.expect("listed"), &keep);
    let told: Vec<_> = judged
        .iter()
        .map(|one| {
            let fate = match &one.fate {
                Fate::Stays(reasons) => {
                    let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                    format!("stays: {}", reasons.join(", "))
                }
                Fate::Left(why) => format!("is left: {why}"),
                fate => format!("{fate:?}"),
            };
            format!("{} {fate}", one.found.id)
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    t1/20261125T041500Z Goes
    t1/20261126T041500Z Goes
    t1/20261127T041500Z stays: last of day 2026-11-27
    t1/20261128T041500Z stays: last of day 2026-11-28
    t1/20261128T051500Z is left: damaged: data.jsonl.zst is missing
    t1/20261128T061500Z is left: unfinished: whoever makes it may go on
    t1-2/20261101T041500Z stays: last of day 2026-11-01
    ");
}

#[tokio::test]
async fn what_a_run_left_is_all_but_the_snapshot_that_it_made() {
    let world = World::new("prod").await;
    let bucket = world.repository.bucket().clone();
    let made = world.take("t1", "20261127T041500Z-r1").await;
    let begin = async |id: &str, object: &str| {
        let id: SnapshotId = id.parse().expect("a name");
        let key = world.repository.key_of(&id, object);
        bucket.ongoing(&key, "m").await.expect("begun");
        (id, key)
    };
    let (_, upload) = begin(&made.to_string(), "pvc/t1.tar.zst").await;
    let (begun, _) = begin("t1/20261127T041400Z-r1", "pvc/t1.tar.zst").await;
    // Of another run, of a longer name, and of a run whose id begins alike.
    for other in [
        "t1/20261127T041400Z-r2",
        "t1-2/20261127T041400Z-r1",
        "t1/20261127T041400Z-r11",
    ] {
        begin(other, "pvc/t1.tar.zst").await;
    }
    let left = world.repository.left_by("t1", "r1", Some(&made)).await;
    let left = left.expect("listed");
    assert_eq!(left.snapshots, std::slice::from_ref(&begun));
    let uploads: Vec<_> = left.uploads.iter().map(|upload| &upload.key).collect();
    assert_eq!(uploads, [&upload]);
    let all = world.repository.left_by("t1", "r1", None).await;
    assert_eq!(all.expect("listed").snapshots, [begun, made]);
    let none = world.repository.left_by("t1", "r3", None).await;
    assert!(none.expect("listed").is_empty());
}
