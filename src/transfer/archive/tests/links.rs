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
