//! A download that was cut off goes on with what is missing.
use super::pair::{Pair, RUN};
use super::{snapshot, store, tree};
use crate::transfer::archive::{Access, Archive, Objects};
use crate::transfer::control::ControlError;
use crate::transfer::fault::Fault;
use crate::transfer::side::Side;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// So long that each is put in place by itself.
const EACH: usize = 9 << 20;

fn objects() -> Objects {
    Objects {
        data: "a.tar.zst".into(),
        index: "a.index.zst".into(),
    }
}

/// More than two parts; large files, and between them some of each kind.
fn fill(root: &Path) {
    for number in 0..4_u8 {
        let folder = root.join(number.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("large"), vec![number + 1; EACH]).unwrap();
        fs::write(folder.join("small"), [number]).unwrap();
        fs::hard_link(folder.join("small"), folder.join("twice")).unwrap();
        std::os::unix::fs::symlink("small", folder.join("z")).unwrap();
        tree::set_times(&folder, 1_000_000_000, u32::from(number).into());
    }
}

async fn extract(pair: &Pair, access: &Access, archive: &Archive) -> Result<(), ControlError> {
    let mut target = pair.control(Side::Target, 1).await?;
    target
        .extract(RUN, access, &objects(), archive, &mut |_| {})
        .await
        .map(drop)
}

/// The large files that are in place, by name.
fn placed(root: &Path) -> BTreeMap<u8, u64> {
    let large = (0..4).filter_map(|number| {
        let file = fs::metadata(root.join(format!("{number}/large"))).ok()?;
        Some((number, file.ino()))
    });
    large.collect()
}

#[tokio::test]
async fn cut_off_at_each_call_a_download_ends_with_the_same_tree_and_writes_nothing_twice() {
    let origin = Pair::new();
    fill(&origin.source());
    let folder = tempfile::tempdir().unwrap();
    let access = store::access(folder.path());
    let mut source = origin.control(Side::Source, 1).await.unwrap();
    let archive = source
        .archive(RUN, &access, &objects(), "m", true, &mut |_| {})
        .await
        .unwrap();
    assert!(archive.parts > 2, "{} parts", archive.parts);
    drop(source);
    let (mut at, mut most) = (0, 0);
    loop {
        let pair = Pair::new();
        store::let_through(folder.path(), Some(at));
        let cut = extract(&pair, &access, &archive).await;
        store::let_through(folder.path(), None);
        let done = match cut {
            Ok(()) => true,
            Err(ControlError::Fault(Fault::Store(_))) => false,
            Err(error) => panic!("cut at {at}: {error}"),
        };
        let there = placed(&pair.target());
        most = most.max(if done { 0 } else { there.len() });
        extract(&pair, &access, &archive).await.unwrap();
        let now = placed(&pair.target());
        for (number, inode) in &there {
            assert_eq!(now.get(number), Some(inode), "{number}, cut at {at}");
        }
        let mut target = pair.control(Side::Target, 1).await.unwrap();
        target.finish(RUN).await.unwrap();
        drop(target);
        assert_eq!(
            snapshot::snapshot(&origin.source()),
            snapshot::snapshot(&pair.target()),
            "cut at {at}"
        );
        pair.stop().await;
        if done {
            break;
        }
        at += 1;
    }
    assert!(at > 5 && most > 0, "{at} calls, {most} files");
    origin.stop().await;
}
