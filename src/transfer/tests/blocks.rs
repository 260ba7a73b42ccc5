//! Large files and devices go by blocks: only what differs is sent, it is written in its place, and what breaks off
//! goes on where it was.
use super::between::{SPOILS, Spoil, between};
use super::pair::{Client, Pair, RUN, round, verified};
use super::snapshot::{assert_same, assert_same_so_far};
use super::tree::{hostile, set_times};
use crate::transfer::control::ControlError;
use crate::transfer::fault::Fault;
use crate::transfer::report::{Reach, RoundKind, RoundSummary, Shape};
use crate::transfer::side::Side;
use rustix::fs::{FallocateFlags, fallocate};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A block that is like no other.
fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A file of this size without a hole.
fn fill(path: &Path, size: u64) -> File {
    let file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    for number in 0..size.div_ceil(MIB) {
        let left = usize::try_from((size - number * MIB).min(MIB)).unwrap();
        file.write_all_at(&noise(number)[..left], number * MIB)
            .unwrap();
    }
    file
}

fn punch(file: &File, from: u64, length: u64) {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(file, flags, from, length).unwrap();
}

/// A pair with one file, `large`, on both sides.
async fn with_large(size: u64) -> (Pair, Client, File) {
    let pair = Pair::new();
    let file = fill(&pair.source().join("large"), size);
    let mut client = pair.connected().await;
    let first = round(&mut client, RoundKind::Warm).await.unwrap();
    assert_eq!(
        (first.files_moved, first.bytes_sent, first.bytes_moved),
        (1, size, size)
    );
    (pair, client, file)
}

/// The target, whose one connection for contents leads through here.
async fn through(
    pair: &Pair,
    hook: impl Fn(usize) -> Option<Spoil> + Send + Sync + 'static,
) -> Client {
    through_many(pair, 1, hook).await
}

async fn through_many(
    pair: &Pair,
    contents: usize,
    hook: impl Fn(usize) -> Option<Spoil> + Send + Sync + 'static,
) -> Client {
    let mut client = pair.control(Side::Target, 1).await.unwrap();
    let address = between(pair, hook).to_string();
    let reach = client.reach(&address, contents).await.unwrap();
    let connections = contents + 1;
    assert_eq!(reach, Reach::Reached { connections });
    client
}

/// The numbers of the blocks that differ.
fn differing(source: &Path, target: &Path) -> BTreeSet<u64> {
    let (one, other) = (fs::read(source).unwrap(), fs::read(target).unwrap());
    assert_eq!(one.len(), other.len());
    let blocks = one.chunks(1 << 20).zip(other.chunks(1 << 20));
    (0..)
        .zip(blocks)
        .filter(|(_, (one, other))| one != other)
        .map(|(number, _)| number)
        .collect()
}

fn equal(pair: &Pair) {
    let large = |side| pair.path(side).join("large");
    assert_eq!(
        differing(&large(Side::Source), &large(Side::Target)),
        BTreeSet::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_file_sends_nothing() {
    let (pair, mut client, _) = with_large(70 * MIB + 5).await;
    for (kind, time) in [(RoundKind::Warm, 5), (RoundKind::Final, 7)] {
        set_times(&pair.source().join("large"), time, 1);
        let summary = round(&mut client, kind).await.unwrap();
        let sent = (summary.bytes_sent, summary.bytes_moved, summary.files_moved);
        assert_eq!(sent, (0, 0, 0), "{summary:?}");
        assert_eq!((summary.files_same, summary.metadata_fixed), (1, 1));
        assert_same_so_far(&pair.source(), &pair.target());
    }
    let last = round(&mut client, RoundKind::Final).await.unwrap();
    assert_eq!((last.files_same, last.metadata_fixed), (1, 0));
    // Large files are not digested twice: only the verification does that.
    let verification = verified(&mut client, &[]).await;
    assert!(verification.is_equal(), "{verification:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_block_of_a_hundred_is_sent_alone_and_written_in_its_place() {
    let (pair, mut client, file) = with_large(100 * MIB).await;
    let inode = || fs::metadata(pair.target().join("large")).unwrap().ino();
    let before = inode();
    for (kind, at) in [(RoundKind::Warm, 66 * MIB - 7), (RoundKind::Final, 3)] {
        let time = file.metadata().unwrap();
        file.write_all_at(b"another", at).unwrap();
        if kind == RoundKind::Final {
            // Contents decide.
            set_times(
                &pair.source().join("large"),
                time.mtime(),
                time.mtime_nsec(),
            );
        }
        let summary = round(&mut client, kind).await.unwrap();
        let moved = (summary.bytes_sent, summary.bytes_moved, summary.files_moved);
        assert_eq!(moved, (MIB, MIB, 1), "{summary:?}");
        assert_same_so_far(&pair.source(), &pair.target());
        assert_eq!(inode(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_work_on_one_file() {
    const CONNECTIONS: usize = 3;
    let pair = Pair::new();
    let file = fill(&pair.source().join("large"), 20 * MIB);
    file.set_len(300 * MIB).unwrap();
    let met = Arc::new((Mutex::new((0, true)), Condvar::new()));
    let waits = met.clone();
    // One that waits here answers no more: the next message is another connection's.
    let mut client = through_many(&pair, CONNECTIONS, move |at| {
        if at < CONNECTIONS {
            let mut arrived = waits.0.lock().unwrap();
            arrived.0 += 1;
            waits.1.notify_all();
            let limit = Duration::from_secs(30);
            let missing = |arrived: &mut (usize, bool)| arrived.0 < CONNECTIONS;
            let waited = waits.1.wait_timeout_while(arrived, limit, missing);
            let (mut arrived, timeout) = waited.unwrap();
            arrived.1 &= !timeout.timed_out();
        }
        None
    })
    .await;
    round(&mut client, RoundKind::Warm).await.unwrap();
    assert_eq!(*met.0.lock().unwrap(), (CONNECTIONS, true));
    equal(&pair);
}

/// What is done to a file, and how much of it may be sent at most then.
type Change = (&'static str, fn(&File), u64);

#[tokio::test(flavor = "multi_thread")]
async fn a_file_grows_and_shrinks_and_its_holes_are_made_and_filled() {
    let (pair, mut client, file) = with_large(40 * MIB + 100).await;
    fs::hard_link(pair.source().join("large"), pair.source().join("z")).unwrap();
    let changes: [Change; 9] = [
        (
            "grown",
            |file| file.write_all_at(&noise(99), 43 * MIB + 5).unwrap(),
            3 * MIB,
        ),
        ("shrunk", |file| file.set_len(30 * MIB + 1).unwrap(), MIB),
        (
            "a hole at the end",
            |file| file.set_len(50 * MIB + 1).unwrap(),
            2 * MIB,
        ),
        ("a hole of blocks", |file| punch(file, 3 * MIB, 2 * MIB), 0),
        (
            "a hole in a block",
            |file| punch(file, 7 * MIB + 8192, 65536),
            MIB,
        ),
        (
            "a part of a hole filled",
            |file| file.write_all_at(b"x", 4 * MIB + 9000).unwrap(),
            8192,
        ),
        (
            "zeros in a hole",
            |file| file.write_all_at(&vec![0; 1 << 20], 3 * MIB).unwrap(),
            0,
        ),
        (
            "zeros for data",
            |file| file.write_all_at(&vec![0; 1 << 20], 9 * MIB).unwrap(),
            0,
        ),
        ("zeros away", |file| punch(file, 9 * MIB, MIB), 0),
    ];
    let at = |side| fs::metadata(pair.path(side).join("large")).unwrap();
    round(&mut client, RoundKind::Warm).await.unwrap();
    let inode = at(Side::Target).ino();
    for (number, (what, change, most)) in changes.into_iter().enumerate() {
        change(&file);
        file.sync_all().unwrap();
        let kind = [RoundKind::Warm, RoundKind::Final][number % 2];
        let summary = round(&mut client, kind).await.unwrap();
        assert!(summary.bytes_sent <= most, "{what}: {summary:?}");
        assert_same_so_far(&pair.source(), &pair.target());
        let (source, target) = (at(Side::Source), at(Side::Target));
        assert_eq!(target.ino(), inode, "{what}");
        // A block of the file system for the tree of extents.
        assert!(
            target.blocks().abs_diff(source.blocks()) <= 16,
            "{what}: {} at the source, {} at the target",
            source.blocks(),
            target.blocks()
        );
    }
    // No longer a large one.
    file.set_len(1000).unwrap();
    round(&mut client, RoundKind::Warm).await.unwrap();
    client.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_sparse_as_at_the_source_and_inherit_nothing() {
    let pair = Pair::new();
    hostile(&pair.source());
    let mut client = pair.connected().await;
    round(&mut client, RoundKind::Warm).await.unwrap();
    // The directory has a default ACL by now.
    let path = pair.source().join("acl/large");
    let file = File::create(&path).unwrap();
    rustix::fs::lremovexattr(&path, "system.posix_acl_access").unwrap();
    file.set_len(500 * MIB).unwrap();
    for number in 0..20 {
        file.write_all_at(&noise(number)[..9000], number * 23 * MIB + 50_000)
            .unwrap();
    }
    // Two that were one.
    let shared = pair.source().join("links/shared");
    fill(&shared, 17 * MIB);
    fs::hard_link(&shared, pair.source().join("links/shared too")).unwrap();
    let second = round(&mut client, RoundKind::Final).await.unwrap();
    assert_eq!(second.files_moved, 2, "{second:?}");
    assert!(second.bytes_sent < 18 * MIB, "{second:?}");
    fs::remove_file(&shared).unwrap();
    fill(&shared, 18 * MIB);
    round(&mut client, RoundKind::Warm).await.unwrap();
    client.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
    let blocks = |side| {
        fs::metadata(pair.path(side).join("acl/large"))
            .unwrap()
            .blocks()
    };
    assert!(blocks(Side::Target).abs_diff(blocks(Side::Source)) <= 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_shared_and_is_not_gets_a_file_of_its_own() {
    let (pair, mut client, file) = with_large(17 * MIB).await;
    fs::hard_link(pair.source().join("large"), pair.source().join("twin")).unwrap();
    round(&mut client, RoundKind::Warm).await.unwrap();
    fs::remove_file(pair.source().join("twin")).unwrap();
    let twin = fill(&pair.source().join("twin"), 17 * MIB);
    twin.write_all_at(b"the twin's", 5).unwrap();
    file.write_all_at(b"the other's", 16 * MIB).unwrap();
    round(&mut client, RoundKind::Warm).await.unwrap();
    client.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
}

/// What a writer did, by the messages that passed meanwhile.
#[derive(Default)]
struct Written(Mutex<BTreeSet<u64>>, AtomicUsize);

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_all_the_time_comes_nearer_with_each_round() {
    let pair = Pair::new();
    let (source, target) = (pair.source().join("large"), pair.target().join("large"));
    let file = Arc::new(fill(&source, 80 * MIB));
    let mut before = 80;
    for number in 0..4 {
        let written = Arc::new(Written::default());
        let mut client = {
            let (file, written) = (file.clone(), written.clone());
            through(&pair, move |_| {
                let turn = written.1.fetch_add(1, Ordering::Relaxed) as u64;
                // Fewer than it has blocks, and others each time.
                if turn.is_multiple_of(8) {
                    let block = (turn * 7 + number) % 80;
                    file.write_all_at(&turn.to_le_bytes(), block * MIB + 40 * number)
                        .unwrap();
                    written.0.lock().unwrap().insert(block);
                }
                None
            })
            .await
        };
        let warm = round(&mut client, RoundKind::Warm).await.unwrap();
        let written = written.0.lock().unwrap().clone();
        assert_eq!((warm.changed, warm.files_moved), (1, 0), "{warm:?}");
        assert_eq!(warm.changed_examples[0].as_bytes(), b"large");
        // What was there and is sent again can only have been written since.
        let most = before + written.len() as u64;
        assert!(warm.bytes_sent <= most * MIB, "{most}: {warm:?}");
        let left = differing(&source, &target);
        assert!(left.is_subset(&written), "{left:?} {written:?}");
        before = left.len() as u64;
    }
    let last = pair.round(RoundKind::Final).await;
    assert_eq!((last.bytes_sent, last.files_moved), (before * MIB, 1));
    pair.connected().await.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_all_the_time_is_an_error_at_last() {
    let (pair, _, file) = with_large(80 * MIB).await;
    let mut client = through(&pair, move |turn| {
        file.write_all_at(&turn.to_le_bytes(), 70 * MIB).unwrap();
        None
    })
    .await;
    let Err(ControlError::Fault(fault)) = round(&mut client, RoundKind::Final).await else {
        panic!("it changed");
    };
    assert!(
        matches!(fault, Fault::Changed { count: 1, .. }),
        "{fault:?}"
    );
    pair.round(RoundKind::Final).await;
    equal(&pair);
}

/// Does this to the source's file once, in the middle of a round.
async fn meanwhile(
    kind: RoundKind,
    begin: impl FnOnce(&Path),
    change: fn(&Path),
) -> (Pair, RoundSummary) {
    let pair = Pair::new();
    let path = pair.source().join("large");
    begin(&path);
    if kind == RoundKind::Final {
        pair.round(RoundKind::Warm).await;
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all_at(b"new", 90 * MIB)
            .unwrap();
    }
    let mut client = through(&pair, move |turn| {
        if turn == 5 {
            change(&path);
        }
        None
    })
    .await;
    let summary = round(&mut client, kind).await.unwrap();
    (pair, summary)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_short_while_it_is_sent_has_changed_and_is_not_damaged() {
    let begin = |path: &Path| drop(fill(path, 120 * MIB));
    let cut = |path: &Path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(99 * MIB + 10).unwrap();
    };
    let (pair, warm) = meanwhile(RoundKind::Warm, begin, cut).await;
    assert_eq!((warm.changed, warm.files_moved), (1, 0), "{warm:?}");
    let rest = pair.round(RoundKind::Warm).await;
    assert!(rest.bytes_sent <= MIB, "{rest:?}");
    equal(&pair);
    // When it is frozen, one more look makes it right.
    let (pair, last) = meanwhile(RoundKind::Final, begin, cut).await;
    assert_eq!((last.changed, last.files_moved), (0, 1), "{last:?}");
    equal(&pair);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_touched_while_frozen_is_the_same_file() {
    let begin = |path: &Path| drop(fill(path, 120 * MIB));
    let touch = |path: &Path| set_times(path, 1_000_000, 17);
    let (pair, last) = meanwhile(RoundKind::Final, begin, touch).await;
    assert_eq!((last.changed, last.bytes_sent), (0, MIB), "{last:?}");
    pair.connected().await.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_while_it_is_sent_goes_with_the_next_round() {
    let begin = |path: &Path| drop(fill(path, 120 * MIB));
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let (pair, warm) = meanwhile(RoundKind::Warm, begin, remove).await;
    assert_eq!((warm.changed, warm.files_moved), (1, 0), "{warm:?}");
    assert_eq!(pair.round(RoundKind::Final).await.deleted, 1);
    assert!(!pair.target().join("large").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_spoilt_on_the_way_is_refused_and_only_what_is_missing_is_sent_then() {
    // The beginning of the stretch, 19 blocks, its end.
    const FRAMES: usize = 21;
    let (pair, _, file) = with_large(18 * MIB + 5000).await;
    let (source, target) = (pair.source().join("large"), pair.target().join("large"));
    let mut noticed = 0;
    // Every way where there is content, and at both ends; of the others one each.
    let cases = (0..FRAMES).flat_map(|frame| {
        let ways = match frame {
            0 | 1 | 10 | 19 | 20 => &SPOILS[..],
            other => &SPOILS[other % SPOILS.len()..][..1],
        };
        ways.iter().map(move |spoil| (frame, *spoil))
    });
    let mut tried = 0;
    for (number, (frame, spoil)) in cases.enumerate() {
        tried += 1;
        let seen = format!("{spoil:?} of message {frame}");
        for block in [0, 4, 13] {
            file.write_all_at(&noise(number as u64 + block), block * MIB)
                .unwrap();
        }
        file.write_all_at(&number.to_le_bytes(), 18 * MIB + 4000)
            .unwrap();
        if number % 2 == 0 {
            punch(&file, 9 * MIB, MIB);
        } else {
            file.write_all_at(&noise(5), 9 * MIB).unwrap();
        }
        let mut client = through(&pair, move |at| (at == frame).then_some(spoil)).await;
        match round(&mut client, RoundKind::Final).await {
            // Twice the end, or a number of a file that only its change would tell.
            Ok(_) => equal(&pair),
            Err(ControlError::Fault(
                Fault::PeerLost { .. } | Fault::Protocol { .. } | Fault::Corrupt { .. },
            )) => noticed += 1,
            Err(other) => panic!("{seen}: {other:?}"),
        }
        let missing = differing(&source, &target);
        let sent = missing.iter().map(|block| match block {
            9 if number % 2 == 0 => 0,
            18 => 5000,
            _ => MIB,
        });
        let rest = pair.round(RoundKind::Final).await;
        assert_eq!(rest.bytes_sent, sent.sum::<u64>(), "{seen}: {missing:?}");
        equal(&pair);
    }
    // What is not is a stamp that differs, for which the file is looked at again, and an end that comes twice.
    assert!(noticed >= tried - 12, "{noticed} of {tried}");
    pair.connected().await.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_that_was_cut_goes_on_at_its_block() {
    let pair = Pair::new();
    let (source, target) = (pair.source().join("large"), pair.target().join("large"));
    fill(&source, 100 * MIB);
    let mut left = 100;
    for frame in [1, 20, 40, 90] {
        let mut client = through(&pair, move |at| (at == frame).then_some(Spoil::Cut)).await;
        let lost = round(&mut client, RoundKind::Warm).await.unwrap_err();
        let lost = matches!(lost, ControlError::Fault(Fault::PeerLost { .. }));
        assert!(lost, "{frame}");
        let missing = differing(&source, &target).len();
        assert!(missing <= left, "{frame}: {missing} after {left}");
        left = missing;
    }
    assert!(left < 40, "{left}");
    let rest = pair.round(RoundKind::Warm).await;
    assert_eq!((rest.bytes_sent, rest.files_moved), (left as u64 * MIB, 1));
    pair.connected().await.finish(RUN).await.unwrap();
    assert_same(&pair.source(), &pair.target());
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_go_by_blocks_alike() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (
        directory.path().join("source"),
        directory.path().join("target"),
    );
    let file = fill(&source, 80 * MIB + 512);
    punch(&file, 30 * MIB, MIB);
    let room = fill(&target, 90 * MIB);
    punch(&room, 0, 80 * MIB);
    punch(&room, 89 * MIB, MIB);
    let pair = Pair::start(directory, Shape::Device);
    let front = || {
        let (one, other) = (fs::read(&source).unwrap(), fs::read(&target).unwrap());
        one == other[..one.len()] && other[81 << 20..89 << 20].iter().any(|byte| *byte != 0)
    };
    // The mover is lost in its first round.
    let mut client = through(&pair, |at| (at == 40).then_some(Spoil::Cut)).await;
    let lost = round(&mut client, RoundKind::Warm).await.unwrap_err();
    let lost = matches!(lost, ControlError::Fault(Fault::PeerLost { .. }));
    assert!(lost);
    let mut client = pair.connected().await;
    let began = async |client: &mut Client, kind| {
        let summary = client.round(RUN, kind, true, &mut |_| {}).await.unwrap();
        assert!(front());
        (summary.bytes_sent, summary.files_moved, summary.files_same)
    };
    // Up to 38 blocks came before: what was on its way to another thread may be lost.
    let (sent, moved, _) = began(&mut client, RoundKind::Warm).await;
    assert!(sent <= 60 * MIB && moved == 1, "{sent}");
    assert_eq!(began(&mut client, RoundKind::Final).await, (0, 0, 1));
    file.write_all_at(b"x", 5 * MIB).unwrap();
    punch(&file, 50 * MIB, 2 * MIB);
    assert_eq!(began(&mut client, RoundKind::Final).await, (MIB, 1, 0));
    let verification = verified(&mut client, &[]).await;
    assert!(verification.is_equal(), "{verification:?}");
}
