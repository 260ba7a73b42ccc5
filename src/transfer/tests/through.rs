//! From the source's mover through a store to the target's: again and again, cut off at each call, and taken back.
use super::pair::{Pair, RUN};
use super::{snapshot, store, tree};
use crate::transfer::archive::{Access, Archive, Objects};
use crate::transfer::control::ControlError;
use crate::transfer::fault::Fault;
use crate::transfer::report::{Reach, Verification};
use crate::transfer::side::Side;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

fn objects(name: &str) -> Objects {
    Objects {
        data: format!("{name}.tar.zst"),
        index: format!("{name}.index.zst"),
    }
}

fn folder(pair: &Pair) -> PathBuf {
    let folder = pair.directory.path().join("store");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn access(pair: &Pair) -> Access {
    store::access(&folder(pair))
}

/// All of the way.
async fn pass(pair: &Pair, name: &str) -> Result<Archive, ControlError> {
    let (access, objects) = (access(pair), objects(name));
    let mut source = pair.control(Side::Source, 1).await?;
    let archive = source
        .archive(RUN, &access, &objects, RUN, true, &mut |_| {})
        .await?;
    let mut target = pair.control(Side::Target, 1).await?;
    target
        .extract(RUN, &access, &objects, &archive, &mut |_| {})
        .await?;
    Ok(archive)
}

/// Both sides, read back and compared.
async fn verify(pair: &Pair, name: &str) -> Result<(Archive, Verification), ControlError> {
    let (access, objects) = (access(pair), objects(name));
    let mut source = pair.control(Side::Source, 1).await?;
    let listed = source
        .index(RUN, &access, &objects, RUN, &mut |_| {})
        .await?;
    let mut target = pair.control(Side::Target, 1).await?;
    let verified = target
        .compare(RUN, &access, &objects, &listed, &[], &mut |_| {})
        .await?;
    Ok((listed, verified))
}

/// Both volumes are the same, as the standard library sees them, and nothing of ours is on the target.
async fn is_same(pair: &Pair, what: &str) {
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    target.finish(RUN).await.unwrap();
    let (source, target) = (
        snapshot::snapshot(&pair.source()),
        snapshot::snapshot(&pair.target()),
    );
    assert_eq!(source, target, "{what}");
}

/// Everything becomes something else.
fn change(root: &Path) {
    fs::remove_dir_all(root.join("many")).unwrap();
    fs::write(root.join("many"), "a file now").unwrap();
    fs::remove_file(root.join("empty file")).unwrap();
    fs::create_dir(root.join("empty file")).unwrap();
    fs::write(root.join("empty file/below"), "a directory now").unwrap();
    fs::remove_dir(root.join("empty directory")).unwrap();
    symlink("a", root.join("empty directory")).unwrap();
    fs::remove_file(root.join("links/relative")).unwrap();
    fs::create_dir(root.join("links/relative")).unwrap();
    // Two names of one file become two files, and two files become one.
    fs::remove_file(root.join("links/two")).unwrap();
    fs::write(root.join("links/two"), "shared").unwrap();
    fs::remove_file(root.join("a/z")).unwrap();
    fs::hard_link(root.join("a-b"), root.join("a/z")).unwrap();
    // Of the same length and time.
    let (file, before) = (
        root.join("new\nline"),
        fs::metadata(root.join("new\nline")).unwrap(),
    );
    fs::write(&file, "2").unwrap();
    tree::set_times(&file, before.mtime(), before.mtime_nsec());
    tree::set_times(&root.join("a0"), 1_000_000, 1);
    tree::set_xattr(&root.join("a.txt"), "user.more", b"since");
    fs::write(root.join("a/new"), "new").unwrap();
}

#[tokio::test]
async fn a_target_becomes_what_the_source_is_by_now_and_what_it_has_is_not_written_again() {
    let pair = Pair::new();
    tree::hostile(&pair.source());
    let large = vec![7; 20 << 20];
    for name in ["large", "changed"] {
        fs::write(pair.source().join(name), &large).unwrap();
    }
    pass(&pair, "first").await.unwrap();
    let inode = |name: &str| fs::metadata(pair.target().join(name)).unwrap().ino();
    let before = ["large", "changed", "a0"].map(inode);
    change(&pair.source());
    fs::write(pair.source().join("changed"), [large, vec![8]].concat()).unwrap();
    let archive = pass(&pair, "second").await.unwrap();
    let after = ["large", "changed", "a0"].map(inode);
    assert_eq!(
        [0, 1, 2].map(|number| before[number] == after[number]),
        [true, false, true]
    );
    let (listed, verified) = verify(&pair, "verify").await.unwrap();
    assert!(verified.is_equal(), "{:?}", verified.differences);
    assert_eq!(listed.tree, archive.tree);
    assert_eq!([&verified.source, &verified.target], [&archive.tree; 2]);
    is_same(&pair, "the second time").await;
    pair.stop().await;
}

#[tokio::test]
async fn each_side_tells_what_it_has_itself_when_they_are_compared() {
    let pair = Pair::new();
    fs::write(pair.source().join("a"), "one").unwrap();
    let archive = pass(&pair, "first").await.unwrap();
    // Not what was copied counts, but what is there.
    fs::write(pair.source().join("a"), "two").unwrap();
    let (listed, verified) = verify(&pair, "source").await.unwrap();
    assert_ne!(listed.tree.digest, archive.tree.digest);
    assert_eq!(verified.source, listed.tree);
    assert_eq!(verified.target, archive.tree);
    assert!(!verified.is_equal());
    pass(&pair, "second").await.unwrap();
    fs::write(pair.target().join("more"), "since").unwrap();
    let (_, verified) = verify(&pair, "target").await.unwrap();
    let paths: Vec<_> = verified
        .differences
        .iter()
        .map(|one| one.path.to_string())
        .collect();
    assert!(paths.iter().any(|path| path.contains("more")), "{paths:?}");
    pair.stop().await;
}

#[tokio::test]
async fn a_mover_says_whether_it_reaches_the_bucket_and_why_not() {
    let pair = Pair::new();
    fs::write(folder(&pair).join("probe"), "12345").unwrap();
    for side in [Side::Source, Side::Target] {
        let mut mover = pair.control(side, 1).await.unwrap();
        let access = access(&pair);
        let there = mover.probe(RUN, &access, "probe", 5).await.unwrap();
        assert!(matches!(there, Reach::Reached { .. }), "{there:?}");
        for (key, size) in [("probe", 6), ("none", 5)] {
            let not = mover.probe(RUN, &access, key, size).await.unwrap();
            assert!(matches!(&not, Reach::Declined { reason } if !reason.is_empty()));
        }
        let other = mover.probe("another", &access, "probe", 5).await;
        assert!(matches!(
            other,
            Err(ControlError::Fault(Fault::OtherRun { .. }))
        ));
    }
    pair.stop().await;
}

/// A small tree, and what becomes of it.
fn small(root: &Path) {
    fs::create_dir(root.join("d")).unwrap();
    for name in ["d/one", "d/two", "three"] {
        fs::write(root.join(name), name).unwrap();
    }
}

fn small_change(root: &Path) {
    fs::remove_dir_all(root.join("d")).unwrap();
    fs::write(root.join("d"), "a file now").unwrap();
    fs::remove_file(root.join("three")).unwrap();
    fs::create_dir(root.join("three")).unwrap();
    fs::write(root.join("three/four"), "four").unwrap();
}

/// Whether the way was cut off at this call of the store. It is gone on with, or what it has written is taken back.
async fn cut_off(at: usize, back: bool) -> bool {
    let pair = Pair::new();
    small(&pair.source());
    pass(&pair, "warm").await.unwrap();
    small_change(&pair.source());
    store::let_through(&folder(&pair), Some(at));
    let passed = async {
        pass(&pair, "final").await?;
        verify(&pair, "verify").await
    };
    let passed = passed.await;
    let cut = store::is_cut(&folder(&pair)) && passed.is_err();
    if let Err(error) = &passed {
        let store = matches!(error, ControlError::Fault(Fault::Store(_)));
        assert!(store, "cut at {at}: {error}");
    }
    store::let_through(&folder(&pair), None);
    if back {
        let mut target = pair.control(Side::Target, 1).await.unwrap();
        target.wipe(RUN, &mut |_| {}).await.unwrap();
        let left = fs::read_dir(pair.target()).unwrap().count();
        assert_eq!(left, 0, "cut at {at}");
    } else {
        pass(&pair, "final").await.unwrap();
        let (_, verified) = verify(&pair, "verify").await.unwrap();
        assert!(
            verified.is_equal(),
            "cut at {at}: {:?}",
            verified.differences
        );
        is_same(&pair, &format!("cut at {at}")).await;
    }
    pair.stop().await;
    cut
}

#[tokio::test]
async fn cut_off_at_each_call_it_goes_on_to_the_same_end_or_back_to_nothing() {
    for back in [false, true] {
        let mut at = 0;
        while cut_off(at, back).await {
            at += 1;
        }
        // Both objects are begun, sent, finished and read, and so is the index for the comparison.
        assert!(at > 10, "only {at} calls");
    }
}
