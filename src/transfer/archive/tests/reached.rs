//! What is there already is not read again, wherever it ends.
use super::*;
use crate::transfer::archive::unpack::begin_of;
use std::ops::Range;
use std::sync::Mutex;

/// A store that keeps in mind which bytes of archives were read.
struct Watched {
    store: Folder,
    ranges: Mutex<Vec<Range<u64>>>,
}

impl ObjectStore for Watched {
    fn begin(&self, key: &str, mark: &str) -> Result<Box<dyn Upload>, StoreError> {
        self.store.begin(key, mark)
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        if key.ends_with(".tar.zst") {
            self.ranges.lock().unwrap().push(range.clone());
        }
        self.store.read(key, range)
    }
}

/// Some more than three parts of tar, in files, directories and links between them.
fn several(root: &Path) {
    for number in 0..5_u8 {
        let folder = root.join(format!("{number}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("large"), vec![number + 1; (10 << 20) + 77]).unwrap();
        // So that it needs a pax header.
        std::fs::write(folder.join("n".repeat(120)), [number]).unwrap();
        std::os::unix::fs::symlink("large", folder.join("z")).unwrap();
    }
}

/// Reads what is missing when so many entries are there; which came with their contents, and where the first part
/// that was read begins.
fn missing(place: &Place, archive: &Archive, there: usize) -> (Vec<Entry>, u64) {
    let store = Watched {
        store: place.store(),
        ranges: Mutex::default(),
    };
    let (mut asked, mut came) = (Vec::new(), Vec::new());
    let (cancel, counters) = (Cancel::default(), Counters::default());
    missing_members(
        &store,
        &objects("a"),
        archive,
        &cancel,
        &counters,
        |entry, contents| {
            if let Some(contents) = contents {
                contents.read(|_| Ok(()))?;
                came.push(entry.clone());
                return Ok(true);
            }
            asked.push(entry.clone());
            Ok(asked.len() <= there)
        },
    )
    .unwrap();
    assert!(asked.len() <= there + 1, "{} of {there}", asked.len());
    let ranges = store.ranges.into_inner().unwrap();
    let first = ranges.iter().map(|range| range.start).min().unwrap();
    (came, first)
}

#[test]
fn from_whatever_is_missing_first_all_of_it_comes_and_no_part_before_it() {
    let place = Place::new(several);
    let archive = place.made("a");
    let parts = place.parts("a", &archive);
    assert!(parts.len() > 3, "{} parts", parts.len());
    let (all, _) = missing(&place, &archive, 0);
    assert_eq!(all.len() as u64, archive.tree.entries);
    let mut firsts = Vec::new();
    for there in 0..=all.len() {
        let (came, first) = missing(&place, &archive, there);
        assert!(came == all[there..], "{there} were there");
        firsts.push(first);
    }
    assert!(firsts.is_sorted(), "{firsts:?}");
    let begins: Vec<u64> = parts
        .iter()
        .scan(0, |at, part| Some(std::mem::replace(at, *at + part.size)))
        .collect();
    firsts.dedup();
    assert_eq!(firsts, begins, "each part was the first once");
}

#[test]
fn an_archive_of_files_with_holes_is_read_from_its_beginning() {
    let place = Place::new(|root| {
        several(root);
        let file = std::fs::File::create(root.join("0/holes")).unwrap();
        file.set_len(3 << 20).unwrap();
        std::os::unix::fs::FileExt::write_at(&file, b"data", 1 << 20).unwrap();
    });
    let archive = place.made("a");
    let (all, _) = missing(&place, &archive, 0);
    let (came, first) = missing(&place, &archive, all.len() - 1);
    // It is not even asked what is there before it is read.
    assert!(came == all && first == 0, "from byte {first}");
}

#[test]
fn what_is_damaged_is_found_from_wherever_it_is_read() {
    let place = Place::new(several);
    let archive = place.made("a");
    let (all, _) = missing(&place, &archive, 0);
    let mut object = place.object("a.tar.zst");
    let last = object.len() - 1;
    object[last] ^= 1;
    std::fs::write(place.path("store/a.tar.zst"), object).unwrap();
    for there in [0, all.len() / 2, all.len()] {
        let (cancel, counters) = (Cancel::default(), Counters::default());
        let mut asked = 0;
        let read = missing_members(
            &place.store(),
            &objects("a"),
            &archive,
            &cancel,
            &counters,
            |_, contents| {
                asked += usize::from(contents.is_none());
                Ok(asked <= there)
            },
        );
        let Err(Fault::Damaged { object, .. }) = read else {
            panic!("{read:?} with {there}");
        };
        assert_eq!(object, "a.tar.zst");
    }
}

#[test]
fn a_byte_of_the_tar_is_in_one_part() {
    let part = |tar| Part {
        size: 1,
        tar,
        blake3: Digest([0; 32]),
        md5: Md5([0; 16]),
    };
    let parts = [part(10), part(5), part(1)];
    for (at, found) in [
        (0, (0, 0)),
        (9, (0, 0)),
        (10, (1, 10)),
        (14, (1, 10)),
        (15, (2, 15)),
        (16, (3, 16)),
    ] {
        assert_eq!(begin_of(&parts, at), found, "byte {at}");
    }
}
