//! Copies are right, and rounds move no more than they must.
use super::pair::{Pair, RUN, round};
use super::snapshot::assert_same;
use super::tree::{hostile, set_owner, set_times, set_xattr};
use crate::transfer::recollection::Reading;
use crate::transfer::report::{Ownership, Phase, Reach, RoundKind, Shape, What};
use crate::transfer::side::Side;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_tree_arrives_whole_and_is_not_sent_twice() {
    let pair = Pair::new();
    hostile(&pair.source());
    let mut client = pair.connected().await;
    assert_eq!(
        client.inspect(RUN).await.unwrap().ownership,
        Ownership::Empty
    );
    let first = round(&mut client, RoundKind::Warm).await.unwrap();
    assert_eq!(
        first
            .findings
            .iter()
            .map(|finding| finding.what.clone())
            .collect::<Vec<_>>(),
        [What::Socket]
    );
    assert_eq!(
        (first.findings[0].count, first.changed, first.deleted),
        (1, 0, 0)
    );
    assert!(
        first.bytes_sent < first.bytes_moved - (200 << 20),
        "holes were sent: {first:?}"
    );
    assert_eq!(
        client.inspect(RUN).await.unwrap().ownership,
        Ownership::Ours
    );
    let second = round(&mut client, RoundKind::Warm).await.unwrap();
    assert_eq!(
        (
            second.files_moved,
            second.others_made,
            second.metadata_fixed,
            second.deleted
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(second.files_same, first.files_moved);
    let last = round(&mut client, RoundKind::Final).await.unwrap();
    assert_eq!(
        (last.files_moved, last.others_made, last.metadata_fixed),
        (0, 0, 0)
    );
    assert_eq!(last.files_same, first.files_moved);
    let verification = client
        .verify(RUN, &[], Reading::Afresh, &mut |_| {})
        .await
        .unwrap();
    assert_eq!(verification.differences, []);
    assert_eq!(verification.source, verification.target);
    assert_eq!(
        (verification.source.entries, verification.source.bytes),
        (first.entries, first.bytes)
    );
    client.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
    let blocks = |side| {
        fs::metadata(pair.path(side).join("sparse"))
            .unwrap()
            .blocks()
    };
    assert!(
        blocks(Side::Target) <= blocks(Side::Source).max(256),
        "holes were filled: {}",
        blocks(Side::Target)
    );
    assert_eq!(
        client.inspect(RUN).await.unwrap().ownership,
        Ownership::Foreign
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_may_be_the_one_that_dials() {
    let pair = Pair::new();
    hostile(&pair.source());
    let mut source = pair.control(Side::Source, 1).await.unwrap();
    let reach = source
        .reach(&pair.address(Side::Target).to_string(), 2)
        .await
        .unwrap();
    assert_eq!(reach, Reach::Reached { connections: 3 });
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    round(&mut target, RoundKind::Final).await.unwrap();
    target.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_round_moves_what_changed_and_nothing_else() {
    let pair = Pair::new();
    let source = pair.source();
    hostile(&source);
    let mut client = pair.connected().await;
    round(&mut client, RoundKind::Warm).await.unwrap();
    fs::write(source.join("many/7"), b"changed").unwrap();
    fs::write(source.join("new"), b"new").unwrap();
    fs::remove_file(source.join("many/8")).unwrap();
    fs::remove_dir_all(source.join("acl")).unwrap();
    // Each type becomes another one.
    fs::remove_file(source.join("a0")).unwrap();
    fs::create_dir(source.join("a0")).unwrap();
    fs::write(source.join("a0/inside"), b"x").unwrap();
    fs::remove_dir_all(source.join("deep")).unwrap();
    fs::write(source.join("deep"), b"now a file").unwrap();
    fs::remove_file(source.join("a.txt")).unwrap();
    symlink("elsewhere", source.join("a.txt")).unwrap();
    fs::remove_file(source.join("links/relative")).unwrap();
    symlink("two", source.join("links/relative")).unwrap();
    // Links part and others meet.
    fs::remove_file(source.join("links/two")).unwrap();
    fs::write(source.join("links/two"), b"alone").unwrap();
    fs::hard_link(source.join("many/9"), source.join("links/nine")).unwrap();
    fs::write(source.join("links/one"), b"shared, and changed").unwrap();
    // Metadata alone.
    set_xattr(&source.join("many/10"), "user.late", b"1");
    set_owner(&source.join("many/11"), 77);
    set_times(&source.join("many"), 5, 6);
    let second = round(&mut client, RoundKind::Warm).await.unwrap();
    client.finish(RUN).await.unwrap();
    assert_same(&source, &pair.target());
    // many/7, new, a0/inside, deep, links/two, `shared` by its first name, and links/nine, now the first name of many/9.
    assert_eq!(second.files_moved, 7, "{second:?}");
    // many/8, acl with its two, a0, deep with its 300 and the file; what is no directory is replaced in place.
    assert_eq!(second.deleted, 1 + 3 + 1 + 302, "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_final_round_trusts_contents_not_times() {
    let pair = Pair::new();
    let file = pair.source().join("file");
    fs::write(&file, b"before").unwrap();
    set_times(&file, 1_000, 0);
    pair.round(RoundKind::Warm).await;
    fs::write(&file, b"behind").unwrap();
    set_times(&file, 1_000, 0);
    assert_eq!(pair.round(RoundKind::Warm).await.files_moved, 0);
    assert_eq!(pair.round(RoundKind::Final).await.files_moved, 1);
    assert_eq!(fs::read(pair.target().join("file")).unwrap(), b"behind");
    set_times(&file, 2_000, 0);
    let last = pair.round(RoundKind::Final).await;
    assert_eq!(
        (last.files_moved, last.files_same, last.metadata_fixed),
        (0, 1, 1)
    );
    assert_eq!(
        fs::metadata(pair.target().join("file")).unwrap().mtime(),
        2_000
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_while_it_goes() {
    let pair = Pair::new();
    // Long enough to be told of: 4 GiB of nothing are digested on both sides.
    fs::File::create(pair.source().join("hole"))
        .unwrap()
        .set_len(4 << 30)
        .unwrap();
    let mut told = Vec::new();
    let mut client = pair.connected().await;
    round(&mut client, RoundKind::Warm).await.unwrap();
    client
        .verify(RUN, &[], Reading::Afresh, &mut |progress| {
            told.push(progress);
        })
        .await
        .unwrap();
    assert!(
        told.iter()
            .any(|progress| progress.phase == Phase::Verifying && progress.bytes_checked > 0),
        "{told:?}"
    );
    assert!(told.is_sorted_by_key(|progress| progress.bytes_checked));
}

#[tokio::test(flavor = "multi_thread")]
async fn wiping_takes_back_all_and_only_what_is_ours() {
    let pair = Pair::new();
    hostile(&pair.source());
    let mut client = pair.connected().await;
    let copied = round(&mut client, RoundKind::Warm).await.unwrap();
    fs::create_dir(pair.target().join("lost+found")).unwrap();
    let deleted = client.wipe(RUN, &mut |_| {}).await.unwrap();
    assert_eq!(deleted, copied.entries - 1);
    assert_eq!(client.wipe(RUN, &mut |_| {}).await.unwrap(), 0);
    let left: Vec<_> = fs::read_dir(pair.target())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lost+found"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_copied_as_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (
        directory.path().join("source"),
        directory.path().join("target"),
    );
    let image = fs::File::create(&source).unwrap();
    image.set_len(40 << 20).unwrap();
    image.write_all_at(&vec![1; 3 << 20], 17 << 20).unwrap();
    image.write_all_at(b"end", (40 << 20) - 3).unwrap();
    fs::File::create(&target)
        .unwrap()
        .set_len(40 << 20)
        .unwrap();
    let pair = Pair::start(directory, Shape::Device);
    let mut client = pair.connected().await;
    assert_eq!(client.info().shape, Shape::Device);
    assert_eq!(
        client.inspect(RUN).await.unwrap().ownership,
        Ownership::Empty
    );
    assert_eq!(
        round(&mut client, RoundKind::Warm)
            .await
            .unwrap()
            .files_moved,
        1
    );
    assert!(fs::read(&source).unwrap() == fs::read(&target).unwrap());
    // Our journal, not the device, knows that it is ours.
    round(&mut client, RoundKind::Final).await.unwrap_err();
    let mut client = pair.connected().await;
    image.write_all_at(b"later", 5 << 20).unwrap();
    assert_eq!(
        client
            .round(RUN, RoundKind::Warm, true, &mut |_| {})
            .await
            .unwrap()
            .files_moved,
        1
    );
    assert_eq!(
        client
            .round(RUN, RoundKind::Final, true, &mut |_| {})
            .await
            .unwrap()
            .files_same,
        1
    );
    let verification = client
        .verify(RUN, &[], Reading::Afresh, &mut |_| {})
        .await
        .unwrap();
    assert!(
        verification.is_equal() && verification.source.bytes == 40 << 20,
        "{verification:?}"
    );
    client.wipe(RUN, &mut |_| {}).await.unwrap();
    assert_eq!(
        client.inspect(RUN).await.unwrap().ownership,
        Ownership::Empty
    );
}
