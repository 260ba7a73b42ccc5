//! What was compared while the workload ran is not read again, and what changed since is.
use super::pair::{Client, Pair, RUN, round};
use super::tree::{hostile, set_times};
use crate::transfer::recollection::Reading;
use crate::transfer::report::{DifferenceKind, RoundKind, Shape, Verification};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_mins(5);

async fn verify(client: &mut Client, reading: Reading) -> Verification {
    client.verify(RUN, &[], reading, &mut |_| {}).await.unwrap()
}

/// Reads until all of both sides is remembered: what was written a moment ago is not.
async fn remember(client: &mut Client) -> Verification {
    let begun = Instant::now();
    loop {
        let read = verify(client, Reading::Remember).await;
        let recalled = [read.source_recalled, read.target_recalled];
        if recalled.iter().all(|side| side.files == read.source.files) {
            return read;
        }
        assert!(begun.elapsed() < BOUND, "{recalled:?}");
    }
}

/// Writes into a file and puts its time back; its length stays.
fn silently(path: &Path, offset: u64, bytes: &[u8]) {
    let before = fs::metadata(path).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
    set_times(path, before.mtime(), before.mtime_nsec());
}

/// A tree with a file that goes by blocks, copied and remembered.
async fn remembered(pair: &Pair) -> (Client, Verification) {
    hostile(&pair.source());
    fs::write(pair.source().join("by blocks"), vec![7; 40 << 20]).unwrap();
    let mut client = pair.connected().await;
    round(&mut client, RoundKind::Warm).await.unwrap();
    let all = remember(&mut client).await;
    assert!(all.is_equal(), "{all:?}");
    (client, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_is_read_again() {
    let pair = Pair::new();
    let (mut client, all) = remembered(&pair).await;
    silently(&pair.source().join("many/7"), 0, b"X");
    silently(&pair.source().join("by blocks"), 30 << 20, b"X");
    let last = round(&mut client, RoundKind::Final).await.unwrap();
    assert_eq!(last.files_moved, 2, "{last:?}");
    // One of its blocks, and a small file.
    assert!(last.bytes_sent < 2 << 20, "{last:?}");
    client.finish(RUN).await.unwrap();
    let compared = verify(&mut client, Reading::Recall).await;
    assert!(compared.is_equal(), "{compared:?}");
    for side in [compared.source_recalled, compared.target_recalled] {
        assert_eq!(side.files, all.source.files - 2);
        let changed = (40 << 20) + fs::metadata(pair.source().join("many/7")).unwrap().len();
        assert_eq!(side.bytes, all.source.bytes - changed);
    }
    let afresh = verify(&mut client, Reading::Afresh).await;
    assert_eq!(
        (afresh.source.digest, afresh.target.digest),
        (compared.source.digest, compared.target.digest)
    );
    assert_eq!(afresh.source_recalled.files, 0);
    assert_eq!(afresh.target_recalled.files, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_behind_our_back_on_either_side_is_found_and_mended() {
    let pair = Pair::new();
    let (mut client, _) = remembered(&pair).await;
    for (root, name) in [
        (pair.target(), "many/7"),
        (pair.target(), "by blocks"),
        (pair.source(), "many/9"),
        (pair.source(), "by blocks"),
    ] {
        silently(&root.join(name), 0, name.as_bytes());
        let found = verify(&mut client, Reading::Recall).await;
        let found: Vec<_> = found
            .differences
            .iter()
            .map(|found| (found.path.to_string(), found.kind.clone()))
            .collect();
        assert_eq!(found, [(name.to_owned(), DifferenceKind::Content)]);
        let last = round(&mut client, RoundKind::Final).await.unwrap();
        assert_eq!(last.files_moved, 1, "{name}: {last:?}");
        assert!(verify(&mut client, Reading::Recall).await.is_equal());
        remember(&mut client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_renamed_or_replaced_is_read_again() {
    let pair = Pair::new();
    let (mut client, all) = remembered(&pair).await;
    let many = pair.source().join("many");
    // The same inode and times under another name; another file under the same one.
    fs::rename(many.join("1"), many.join("2")).unwrap();
    fs::write(many.join("new"), fs::read(many.join("3")).unwrap()).unwrap();
    let old = fs::metadata(many.join("3")).unwrap();
    fs::rename(many.join("new"), many.join("3")).unwrap();
    set_times(&many.join("3"), old.mtime(), old.mtime_nsec());
    let read = verify(&mut client, Reading::Recall).await;
    assert_eq!(read.source_recalled.files, all.source.files - 3);
    assert_eq!(read.target_recalled.files, all.source.files);
    round(&mut client, RoundKind::Final).await.unwrap();
    assert!(verify(&mut client, Reading::Recall).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_round_of_what_is_known_moves_nothing_and_reads_nothing() {
    let pair = Pair::new();
    let (mut client, _) = remembered(&pair).await;
    let mut read = 0;
    let mut hear = |progress: crate::transfer::Progress| read = progress.bytes_checked;
    let last = client.round(RUN, RoundKind::Final, false, &mut hear).await;
    let last = last.unwrap();
    assert_eq!((last.files_moved, last.bytes_sent), (0, 0), "{last:?}");
    // A new mover knows nothing: the same round reads everything, and comes to the same.
    drop(client);
    let directory = tempfile::tempdir().unwrap();
    for side in ["source", "target"] {
        fs::rename(
            pair.directory.path().join(side),
            directory.path().join(side),
        )
        .unwrap();
    }
    let other = Pair::start(directory, Shape::Directory);
    let mut client = other.connected().await;
    let again = round(&mut client, RoundKind::Final).await.unwrap();
    assert_eq!((again.files_moved, again.bytes_sent), (0, 0), "{again:?}");
    let compared = verify(&mut client, Reading::Recall).await;
    assert!(compared.is_equal());
    assert_eq!(compared.source_recalled.files, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_device_nothing_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("source"), vec![5; 3 << 20]).unwrap();
    fs::write(directory.path().join("target"), vec![0; 4 << 20]).unwrap();
    let pair = Pair::start(directory, Shape::Device);
    let mut client = pair.connected().await;
    client
        .round(RUN, RoundKind::Warm, true, &mut |_| {})
        .await
        .unwrap();
    for _ in 0..2 {
        let read = verify(&mut client, Reading::Remember).await;
        assert!(read.is_equal(), "{read:?}");
        assert_eq!(
            (read.source_recalled.files, read.target_recalled.files),
            (0, 0)
        );
    }
}
