use super::*;
use crate::transfer::counters::get;
use crate::transfer::summing::Summing;
use crate::transfer::tests::tree;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};

fn mixed(root: &Path) {
    tree::hostile(root);
    // Two frames that get small, and one that does not.
    std::fs::write(
        root.join("zeros then noise"),
        [vec![0; 36 << 20], noise(7 << 20)].concat(),
    )
    .unwrap();
    std::fs::write(root.join("more noise"), noise(6 << 20)).unwrap();
    tree::set_xattr(&root.join("more noise"), "user.a=b%c", b"equals");
    tree::set_owner(&root.join("more noise"), 4_000_000_000);
}

#[test]
fn the_system_s_own_programs_restore_everything() {
    let place = Place::new(mixed);
    let archive = place.made("all");
    place.restore("all");
    let (made, restored) = (
        entries(&place.path("volume")),
        entries(&place.path("restored")),
    );
    for (one, other) in made.iter().zip(&restored) {
        assert_eq!(one, other);
    }
    assert_eq!(made.len(), restored.len());
    let mut summing = Summing::new();
    for entry in &made {
        summing.add(entry);
    }
    assert_eq!(summing.finish(), archive.tree);
    assert_eq!((archive.sockets, archive.changed), (1, 0));
    for name in ["sparse", "only a hole"] {
        let blocks = std::fs::metadata(place.path("restored").join(name))
            .unwrap()
            .blocks();
        assert!(blocks < 200, "{name} takes {blocks} blocks");
    }
    assert_eq!(place.check("all", &archive), Ok(archive.tree.clone()));
}

#[test]
fn the_same_tree_gives_the_same_bytes_in_parts_that_s3_takes() {
    let place = Place::new(mixed);
    let (first, second) = (place.made("first"), place.made("second"));
    assert_eq!(first, second);
    assert_eq!(
        place.object("first.tar.zst"),
        place.object("second.tar.zst")
    );
    assert_eq!(
        place.object("first.index.zst"),
        place.object("second.index.zst")
    );
    let parts = place.parts("first", &first);
    let (last, others) = parts.split_last().unwrap();
    assert!(others.len() >= 3, "{parts:?}");
    assert_eq!(first.etag, etag(parts.iter().map(|part| part.md5)));
    for part in others {
        assert!(
            part.size >= LEAST_PART as u64 && part.tar == FRAME as u64,
            "{part:?}"
        );
    }
    assert!(
        others.iter().any(|part| part.size == LEAST_PART as u64),
        "none was filled"
    );
    assert!(
        others.iter().any(|part| part.size > LEAST_PART as u64),
        "all were filled"
    );
    assert!(last.tar <= FRAME as u64);
    let text = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<Archive>(&text).unwrap(), first);
    // Whoever looks into it sees an entry a line.
    let index = zstd::decode_all(&place.object("first.index.zst")[..]).unwrap();
    let lines = index
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .count();
    assert_eq!(lines as u64, first.tree.entries + parts.len() as u64 + 2);
}

#[test]
fn a_volume_with_nothing_in_it_is_an_archive_of_its_root() {
    let place = Place::new(|root| tree::set_times(root, 7, 8));
    let archive = place.made("none");
    assert_eq!((archive.tree.entries, archive.parts), (1, 1));
    place.restore("none");
    assert_eq!(
        entries(&place.path("volume")),
        entries(&place.path("restored"))
    );
    place.check("none", &archive).unwrap();
}

/// A store that fails after so many parts, and remembers those that it was given.
#[derive(Clone)]
struct Failing {
    store: Arc<Folder>,
    left: Arc<Mutex<usize>>,
    given: Arc<Mutex<Vec<u32>>>,
}

struct FailingUpload {
    upload: Box<dyn Upload>,
    failing: Failing,
}

impl Failing {
    fn new(place: &Place, left: usize) -> Self {
        Self {
            store: Arc::new(place.store()),
            left: Arc::new(Mutex::new(left)),
            given: Arc::default(),
        }
    }
}

impl ObjectStore for Failing {
    fn begin(&self, key: &str, mark: &str) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(FailingUpload {
            upload: self.store.begin(key, mark)?,
            failing: self.clone(),
        }))
    }

    fn read(&self, key: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.store.read(key, range)
    }
}

impl Upload for FailingUpload {
    fn has(&self, number: u32, size: u64, md5: Md5) -> bool {
        self.upload.has(number, size, md5)
    }

    fn put(&self, number: u32, bytes: Vec<u8>, md5: Md5) -> Result<(), StoreError> {
        {
            let mut left = self.failing.left.lock().unwrap();
            if *left == 0 {
                return Err(StoreError {
                    why: "no answer".to_owned(),
                    failure: StoreFailure::Passing,
                    next: None,
                });
            }
            *left -= 1;
        }
        self.upload.put(number, bytes, md5)?;
        self.failing.given.lock().unwrap().push(number);
        Ok(())
    }

    fn finish(&self, parts: &[Md5]) -> Result<(), StoreError> {
        self.upload.finish(parts)
    }
}

#[test]
fn an_upload_that_was_cut_off_anywhere_goes_on_with_what_is_missing() {
    let place = Place::new(|root| std::fs::write(root.join("noise"), noise(34 << 20)).unwrap());
    let whole = place.made("whole");
    let parts = whole.parts as usize;
    assert_eq!(parts, 3);
    // The index is one more.
    for cut in 0..=parts {
        let name = format!("cut-{cut}");
        let failing = Failing::new(&place, cut);
        let error = place.make(&name, &failing, true).unwrap_err();
        assert!(
            matches!(&error, Fault::Store(error) if error.why == "no answer"),
            "{error:?}"
        );
        let first = failing.given.lock().unwrap().len();
        assert_eq!(first, cut);
        *failing.left.lock().unwrap() = usize::MAX;
        assert_eq!(place.make(&name, &failing, true), Ok(whole.clone()));
        let mut given = failing.given.lock().unwrap().clone();
        assert_eq!(given.len(), parts + 1, "a part was sent twice: {given:?}");
        given.sort_unstable();
        assert_eq!(given, [1, 1, 2, 3]);
        assert!(place.object("whole.tar.zst") == place.object(&objects(&name).data));
        assert!(place.object("whole.index.zst") == place.object(&objects(&name).index));
    }
}

/// Appends to a file when it is half read, and takes another away.
fn disturbed(place: &Place, frozen: bool) -> Result<Archive, Fault> {
    // The first piece goes, and then the reader waits.
    place.limiter.set(Some(1));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while get(&place.counters.bytes_moved) == 0 {
                std::thread::yield_now();
            }
            let mut file = std::fs::File::options()
                .append(true)
                .open(place.path("volume/a log"))
                .unwrap();
            file.write_all(b"one line more").unwrap();
            std::fs::File::options()
                .write(true)
                .open(place.path("volume/a log"))
                .unwrap()
                .set_len(2 << 20)
                .unwrap();
            place.limiter.set(None);
        });
        place.make("disturbed", &place.store(), frozen)
    })
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named_and_on_a_frozen_source_an_error() {
    let fill = |root: &Path| {
        std::fs::write(root.join("a log"), noise(3 << 20)).unwrap();
        std::fs::write(root.join("quiet"), b"quiet").unwrap();
    };
    let place = Place::new(fill);
    let archive = disturbed(&place, false).unwrap();
    assert_eq!(archive.changed, 1);
    let path = TreePath::new(&b"a log"[..]).unwrap();
    assert_eq!(archive.changed_examples, std::slice::from_ref(&path));
    // It is whole all the same, with zeros for what went.
    place.check("disturbed", &archive).unwrap();
    place.restore("disturbed");
    let restored = std::fs::read(place.path("restored/a log")).unwrap();
    assert_eq!(restored, [noise(2 << 20), vec![0; 1 << 20]].concat());

    let place = Place::new(fill);
    let error = disturbed(&place, true).unwrap_err();
    let wanted = Fault::Changed {
        count: 1,
        examples: vec![path],
    };
    assert_eq!(error, wanted);
    assert!(
        !place.path("store/disturbed.tar.zst").exists(),
        "it was finished"
    );
}
