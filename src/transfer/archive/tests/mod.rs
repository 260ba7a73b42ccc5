//! Archives of real trees, restored by the system's own `zstd` and `tar` and by us; and those that are not to be trusted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damaged;
mod making;
mod reached;
mod strangers;
mod tarred;

use super::*;
use crate::transfer::cancel::Cancel;
use crate::transfer::counters::Counters;
use crate::transfer::entry::Entry;
use crate::transfer::fault::Fault;
use crate::transfer::limit::Limiter;
use crate::transfer::listing::{Digests, Listing, Next, Options};
use crate::transfer::report::Shape;
use crate::transfer::side::Side;
use crate::transfer::tests::store::Folder;
use crate::transfer::volume::Volume;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A volume, and a folder that archives of it are kept in.
pub(super) struct Place {
    folder: TempDir,
    limiter: Limiter,
    counters: Counters,
}

impl Place {
    /// With a volume that is filled so.
    pub(super) fn new(fill: impl FnOnce(&Path)) -> Self {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
            limiter: Limiter::new(),
            counters: Counters::default(),
        };
        for name in ["volume", "store", "restored"] {
            std::fs::create_dir(this.path(name)).unwrap();
        }
        fill(&this.path("volume"));
        this
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self) -> Folder {
        Folder(self.path("store"))
    }

    fn object(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path("store").join(name)).unwrap()
    }

    fn make(&self, name: &str, store: &dyn ObjectStore, frozen: bool) -> Result<Archive, Fault> {
        self.making_in(name, store, frozen, make)
    }

    /// Lets `work` make an archive while somebody may write.
    pub(super) fn making<T>(&self, name: &str, work: impl FnOnce(&Making<'_>) -> T) -> T {
        self.making_in(name, &self.store(), false, work)
    }

    fn making_in<T>(
        &self,
        name: &str,
        store: &dyn ObjectStore,
        frozen: bool,
        work: impl FnOnce(&Making<'_>) -> T,
    ) -> T {
        let cancel = Cancel::default();
        let volume = open(&self.path("volume"));
        work(&Making {
            volume: &volume,
            cancel: &cancel,
            counters: &self.counters,
            limiter: &self.limiter,
            store,
            objects: &objects(name),
            mark: "m",
            frozen,
        })
    }

    /// An archive that nothing disturbed.
    fn made(&self, name: &str) -> Archive {
        self.make(name, &self.store(), true).unwrap()
    }

    fn parts(&self, name: &str, archive: &Archive) -> Vec<Part> {
        let index = IndexReader::open(&self.store(), &objects(name).index, archive)
            .unwrap()
            .into_parts();
        index.unwrap()
    }

    pub(super) fn check(&self, name: &str, archive: &Archive) -> Result<TreeSummary, Fault> {
        check(&self.store(), &objects(name), archive, |_| Ok(()))
    }

    /// Lets the system's own programs restore it.
    pub(super) fn restore(&self, name: &str) {
        let command =
            "zstd -dc -- \"$1\" | tar -xp --numeric-owner --xattrs --xattrs-include='*' -C \"$2\"";
        let output = std::process::Command::new("bash")
            .args(["-eo", "pipefail", "-c", command, "-"])
            .arg(self.path("store").join(objects(name).data))
            .arg(self.path("restored"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // It has its own mind about 1969, and keeps it all the same.
        let old = |line: &str| line.contains("implausibly old time stamp");
        assert!(output.status.success() && said.lines().all(old), "{said}");
    }
}

fn objects(name: &str) -> Objects {
    Objects {
        data: format!("{name}.tar.zst"),
        index: format!("{name}.index.zst"),
    }
}

fn open(path: &Path) -> Volume {
    Volume::open(path, Shape::Directory, Side::Source).unwrap()
}

/// Every entry of a volume but its sockets, with digests; times of reading are left out.
fn entries(path: &Path) -> Vec<Entry> {
    let volume = open(path);
    let counters = Counters::default();
    let options = Options {
        digests: Digests::All,
        without_sockets: true,
        ..Options::default()
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let mut listing = Listing::begin(scope, &volume, options, &counters);
        loop {
            match listing.next(Duration::from_secs(1)).unwrap() {
                Next::Batch(batch) => all.extend(batch),
                Next::Waiting => {}
                Next::End => break,
            }
        }
    });
    for entry in &mut all {
        entry.metadata.accessed = entry.metadata.modified;
    }
    all
}

/// What is damaged, and how.
fn damage(result: Result<TreeSummary, Fault>) -> (String, String) {
    match result.unwrap_err() {
        Fault::Damaged { object, what } => (object, what),
        Fault::Store(error) if error.failure == StoreFailure::Damaged => {
            ("the store".to_owned(), error.why)
        }
        fault => panic!("{fault:?}"),
    }
}

/// Bytes that do not get smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_derive_key("noise of a test")
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}
