//! Movers and archives: from one volume into a store, and out of it into another.
use super::pair::{Pair, RUN, round};
use super::{store, tree};
use crate::transfer::archive::{Access, Archive, Objects};
use crate::transfer::control::ControlError;
use crate::transfer::fault::Fault;
use crate::transfer::recollection::Reading;
use crate::transfer::report::{RoundKind, Shape};
use crate::transfer::side::Side;
use std::os::unix::fs::symlink;

fn objects() -> Objects {
    Objects {
        data: "v.tar.zst".into(),
        index: "v.index.zst".into(),
    }
}

fn place(pair: &Pair) -> Access {
    let folder = pair.directory.path().join("store");
    std::fs::create_dir_all(&folder).unwrap();
    store::access(&folder)
}

async fn archived(pair: &Pair) -> (Access, Archive) {
    let access = place(pair);
    let mut source = pair.control(Side::Source, 1).await.unwrap();
    let archive = source
        .archive(RUN, &access, &objects(), "m", true, &mut |_| {})
        .await
        .unwrap();
    source
        .read_back(RUN, &access, &objects(), &archive, &mut |_| {})
        .await
        .unwrap();
    (access, archive)
}

#[tokio::test]
async fn what_comes_out_of_an_archive_is_what_went_into_it() {
    let pair = Pair::new();
    tree::hostile(&pair.source());
    let (access, archive) = archived(&pair).await;
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    // Twice: what an earlier try has written is written over.
    for _ in 0..2 {
        let findings = target
            .extract(RUN, &access, &objects(), &archive, &mut |_| {})
            .await
            .unwrap();
        if rustix::process::geteuid().is_root() {
            assert_eq!(findings, []);
        }
    }
    let compared = target
        .compare(RUN, &access, &objects(), &archive, &[], &mut |_| {})
        .await
        .unwrap();
    assert!(compared.is_equal(), "{:?}", compared.differences);
    assert_eq!(compared.source, archive.tree);
    assert_eq!(compared.target.digest, archive.tree.digest);
    drop(target);
    // And so say the two movers of each other, but for the socket.
    let verified = pair
        .connected()
        .await
        .verify(RUN, &[], Reading::Afresh, &mut |_| {})
        .await;
    assert_eq!(verified.unwrap().source.digest, archive.tree.digest);

    // A file that became another since is found.
    std::fs::write(pair.target().join("empty file"), b"no more").unwrap();
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    let compared = target
        .compare(RUN, &access, &objects(), &archive, &[], &mut |_| {})
        .await
        .unwrap();
    assert!(!compared.is_equal());
    target.finish(RUN).await.unwrap();
    drop(target);
    pair.stop().await;
}

#[tokio::test]
async fn a_target_with_anything_in_it_is_not_written_to() {
    let pair = Pair::new();
    std::fs::write(pair.source().join("a"), b"ours").unwrap();
    let (access, archive) = archived(&pair).await;
    std::fs::write(pair.target().join("a"), b"theirs").unwrap();
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    let refused = target
        .extract(RUN, &access, &objects(), &archive, &mut |_| {})
        .await;
    assert!(
        matches!(
            refused,
            Err(ControlError::Fault(Fault::Foreign { entries: 1, .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(std::fs::read(pair.target().join("a")).unwrap(), b"theirs");
    drop(target);
    pair.stop().await;
}

#[tokio::test]
async fn nothing_is_written_through_a_symlink_and_nothing_of_a_damaged_archive_stays_hidden() {
    let pair = Pair::new();
    std::fs::create_dir(pair.source().join("d")).unwrap();
    std::fs::write(pair.source().join("d/f"), b"content").unwrap();
    let (access, archive) = archived(&pair).await;
    let outside = tempfile::tempdir().unwrap();
    // This run has begun, and somebody put a link where its directory was.
    round(&mut pair.connected().await, RoundKind::Final)
        .await
        .unwrap();
    std::fs::remove_dir_all(pair.target().join("d")).unwrap();
    symlink(outside.path(), pair.target().join("d")).unwrap();
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    target
        .extract(RUN, &access, &objects(), &archive, &mut |_| {})
        .await
        .unwrap();
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    let (link, file) = (pair.target().join("d"), pair.target().join("d/f"));
    assert!(!link.is_symlink() && std::fs::read(file).unwrap() == b"content");

    let object = pair.directory.path().join("store/v.tar.zst");
    let mut bytes = std::fs::read(&object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&object, bytes).unwrap();
    for refused in [
        target
            .read_back(RUN, &access, &objects(), &archive, &mut |_| {})
            .await
            .map(drop),
        target
            .extract(RUN, &access, &objects(), &archive, &mut |_| {})
            .await
            .map(drop),
    ] {
        let Err(ControlError::Fault(Fault::Damaged { object, what })) = refused else {
            panic!("{refused:?}");
        };
        assert!(object == "v.tar.zst" && what.contains("part 1"), "{what}");
    }
    drop(target);
    pair.stop().await;
}

#[test]
fn credentials_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut access = store::access(folder.path());
    access.token = Some(crate::transfer::archive::Secret::new("never shown"));
    assert!(!format!("{access:?}").contains("never shown"));
}

/// A pair of devices: the source's is of noise with a hole, the target's of other bytes.
fn devices(source: usize, target: usize) -> (Pair, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let mut image = vec![0; source];
    let hole = source / 4..source / 2;
    blake3::Hasher::new().finalize_xof().fill(&mut image);
    image[hole].fill(0);
    std::fs::write(directory.path().join("source"), &image).unwrap();
    std::fs::write(directory.path().join("target"), vec![0xaa; target]).unwrap();
    (Pair::start(directory, Shape::Device), image)
}

#[tokio::test]
async fn a_device_is_one_file_in_its_archive_and_a_device_again_out_of_it() {
    const SIZE: usize = 18 << 20;
    let (pair, image) = devices(SIZE, SIZE + (1 << 20));
    let (access, archive) = archived(&pair).await;
    assert_eq!((archive.tree.files, archive.tree.entries), (1, 1));
    assert_eq!(archive.tree.bytes, SIZE as u64);
    let restored = tempfile::tempdir().unwrap();
    let object = pair.directory.path().join("store/v.tar.zst");
    let mut bash = std::process::Command::new("bash");
    bash.args([
        "-eo",
        "pipefail",
        "-c",
        "zstd -dc -- \"$1\" | tar -xp -C \"$2\"",
        "-",
    ]);
    let status = bash.arg(&object).arg(restored.path()).status().unwrap();
    assert!(status.success());
    let file = restored.path().join("device.img");
    assert!(
        std::fs::read(&file).unwrap() == image,
        "tar makes something else of it"
    );

    let mut target = pair.control(Side::Target, 1).await.unwrap();
    target
        .extract(RUN, &access, &objects(), &archive, &mut |_| {})
        .await
        .unwrap();
    let mut written = std::fs::read(pair.target()).unwrap();
    assert!(written[..SIZE] == image, "another image was written");
    assert!(
        written[SIZE..].iter().all(|byte| *byte == 0xaa),
        "its rest was written to"
    );
    let compared = target
        .compare(RUN, &access, &objects(), &archive, &[], &mut |_| {})
        .await
        .unwrap();
    assert!(compared.is_equal(), "{:?}", compared.differences);
    assert_eq!(compared.target.digest, archive.tree.digest);
    written[SIZE / 3] ^= 1;
    std::fs::write(pair.target(), written).unwrap();
    let compared = target
        .compare(RUN, &access, &objects(), &archive, &[], &mut |_| {})
        .await
        .unwrap();
    assert!(!compared.is_equal());
    drop(target);
    pair.stop().await;
}

#[tokio::test]
async fn a_device_goes_into_no_smaller_one_and_into_no_file_system() {
    let (pair, _) = devices(2 << 20, 1 << 20);
    let (access, archive) = archived(&pair).await;
    let mut target = pair.control(Side::Target, 1).await.unwrap();
    let refused = target
        .extract(RUN, &access, &objects(), &archive, &mut |_| {})
        .await;
    let Err(ControlError::Fault(Fault::TooSmall { .. })) = refused else {
        panic!("{refused:?}");
    };
    let there = std::fs::read(pair.target()).unwrap();
    assert!(there.iter().all(|byte| *byte == 0xaa));
    drop(target);

    let folders = Pair::new();
    let mut folder = folders.control(Side::Target, 1).await.unwrap();
    let refused = folder
        .extract(RUN, &access, &objects(), &archive, &mut |_| {})
        .await;
    let Err(ControlError::Fault(Fault::ShapeDiffers { .. })) = refused else {
        panic!("{refused:?}");
    };
    drop(folder);

    // Nor does a file system go onto a device.
    std::fs::write(folders.source().join("f"), b"content").unwrap();
    let (access, archive) = archived(&folders).await;
    let mut target = pair.control(Side::Target, 2).await.unwrap();
    let refused = target
        .extract(RUN, &access, &objects(), &archive, &mut |_| {})
        .await;
    let Err(ControlError::Fault(Fault::ShapeDiffers { .. })) = refused else {
        panic!("{refused:?}");
    };
    drop(target);
    folders.stop().await;
    pair.stop().await;
}
