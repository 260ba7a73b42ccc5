//! A tree is summed up, entry by entry.
use super::entry::{Entry, Kind, TreeHasher};
use super::report::TreeSummary;

/// What is summed up of a tree so far.
pub(crate) struct Summing {
    hasher: TreeHasher,
    entries: u64,
    files: u64,
    bytes: u64,
    directories: u64,
    links: u64,
}

impl Summing {
    /// Of a tree with no entry yet.
    pub(crate) fn new() -> Self {
        Self {
            hasher: TreeHasher::new(),
            entries: 0,
            files: 0,
            bytes: 0,
            directories: 0,
            links: 0,
        }
    }

    /// Takes the next entry in.
    pub(crate) fn add(&mut self, entry: &Entry) {
        self.hasher.add(entry);
        self.entries += 1;
        match entry.kind {
            Kind::File { size, .. } => {
                self.files += 1;
                self.bytes += size;
            }
            Kind::Directory => self.directories += 1,
            Kind::Symlink { .. } | Kind::HardLink { .. } => self.links += 1,
            _ => {}
        }
    }

    /// The sum of all that was added.
    pub(crate) fn finish(self) -> TreeSummary {
        TreeSummary {
            digest: self.hasher.finish(),
            entries: self.entries,
            files: self.files,
            bytes: self.bytes,
            directories: self.directories,
            links: self.links,
        }
    }
}
