//! What becomes of a file's further names when the first is taken away, or replaced, right after the walker saw it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::super::tests::Place;
use super::*;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Makes an archive of what the walker saw before the change.
fn made(place: &Place, change: impl FnOnce(&Path)) -> Archive {
    place.making("late", |making| {
        let Volume::Directory(root) = making.volume else {
            panic!("a directory");
        };
        let mut walker = Walker::new(root, b"");
        let mut seen = Vec::new();
        while let Some(entry) = walker.next().unwrap() {
            seen.push(entry);
        }
        change(&place.path("volume"));
        make_of(making, |maker| {
            let mut parents = Parents::new(root);
            let mut opener = making.volume.opener();
            let mut seen = seen.into_iter();
            seen.try_for_each(|entry| maker.take(entry, &mut parents, &mut opener))
        })
        .unwrap()
    })
}

#[test]
fn they_keep_the_contents_and_stay_one_file() {
    let fill = |root: &Path| {
        std::fs::write(root.join("one"), b"the contents").unwrap();
        for name in ["three", "two"] {
            std::fs::hard_link(root.join("one"), root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("one", root.join("z")).unwrap();
        std::fs::hard_link(root.join("z"), root.join("zz")).unwrap();
    };
    for replaced in [false, true] {
        let place = Place::new(fill);
        let archive = made(&place, |volume| {
            if replaced {
                std::fs::write(volume.join("new"), b"a stranger's").unwrap();
                std::fs::rename(volume.join("new"), volume.join("one")).unwrap();
            } else {
                std::fs::remove_file(volume.join("one")).unwrap();
            }
        });
        assert!(archive.changed > 0, "replaced: {replaced}");
        place.check("late", &archive).unwrap();
        place.restore("late");
        let restored = place.path("restored");
        for name in ["three", "two"] {
            let text = std::fs::read(restored.join(name)).unwrap();
            assert_eq!(text, b"the contents", "{name}, replaced: {replaced}");
        }
        let inode = |name| {
            std::fs::symlink_metadata(restored.join(name))
                .unwrap()
                .ino()
        };
        assert_eq!(inode("three"), inode("two"));
        assert_eq!(inode("z"), inode("zz"));
        assert_eq!(restored.join("one").exists(), replaced);
    }
}

#[test]
fn a_volume_with_too_much_on_it_is_refused_before_it_is_read() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path(), crate::transfer::side::Side::Source).unwrap();
    let cancel = Cancel::default();
    // The file system holds more than that: all files are looked at.
    fits(&root, &cancel, MIB).unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    for name in ["a", "d/b"] {
        std::fs::write(folder.path().join(name), vec![7; 2 << 20]).unwrap();
    }
    // Its hole takes no room, in the archive neither.
    let sparse = std::fs::File::create(folder.path().join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    fits(&root, &cancel, 4 * MIB).unwrap();
    let refused = fits(&root, &cancel, 3 * MIB).unwrap_err();
    assert!(matches!(refused, Fault::TooLarge { .. }), "{refused}");
    assert_eq!(MOST_TAR / MIB, 1_008_000);
}
