use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};

use crate::engine::{Header, Store, StoreError};

/// A file is bounded only so that a runaway is noticed.
const BOUND: usize = 64 << 20;

/// A journal in a file, which is its own lock.
#[derive(Clone)]
pub(super) struct FileStore {
    path: PathBuf,
    file: Arc<Mutex<File>>,
    fence: u64,
}

impl FileStore {
    /// Opens and locks the file, making it when it is not there. None when another process holds it.
    pub(super) fn lock(path: &Path) -> std::io::Result<Option<Self>> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let lines = lines_of(&mut file)?;
        Ok(Some(Self {
            path: path.to_owned(),
            file: Arc::new(Mutex::new(file)),
            fence: last_fence(&lines) + 1,
        }))
    }

    fn failed(&self, doing: &'static str, source: std::io::Error) -> StoreError {
        StoreError::Failed {
            doing,
            place: self.path.display().to_string(),
            source: source.into(),
        }
    }

    /// Replaces what the file holds after `at` with a line, and waits until the disk has it.
    fn write(&self, line: &str) -> std::io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let whole: usize = lines_of(&mut file)?.iter().map(|line| line.len() + 1).sum();
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_all()
    }
}

/// The whole lines of a file. A last line without its end was torn by a crash while it was written: what
/// it announces was not begun, because that waits for the disk.
pub(super) fn lines_of(file: &mut File) -> std::io::Result<Vec<String>> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_string(&mut text)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    Ok(whole.lines().map(str::to_owned).collect())
}

/// The fencing number of the last entry; each opening counts one up.
pub(super) fn last_fence(lines: &[String]) -> u64 {
    let entries = crate::engine::decode("the file", lines).map(|(_, entries)| entries);
    entries
        .ok()
        .and_then(|entries| entries.last().map(|entry| entry.fence))
        .unwrap_or(0)
}

#[async_trait]
impl Store for FileStore {
    async fn load(&self) -> Result<Option<Vec<String>>, StoreError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = lines_of(&mut file).map_err(|error| self.failed("read", error))?;
        Ok((!lines.is_empty()).then_some(lines))
    }

    async fn create(&self, _: &Header, line: &str) -> Result<(), StoreError> {
        if self.load().await?.is_some() {
            return Err(StoreError::Exists(self.path.display().to_string()));
        }
        self.write(line)
            .map_err(|error| self.failed("write", error))
    }

    async fn append(&self, count: usize, line: &str) -> Result<(), StoreError> {
        let lines = self.load().await?.unwrap_or_default().len();
        if lines != count {
            let why = format!("{} has {lines} lines, not {count}", self.path.display());
            return Err(StoreError::Lost(why));
        }
        self.write(line)
            .map_err(|error| self.failed("write", error))
    }

    async fn confirm(&self) -> Result<(), StoreError> {
        Ok(()) // the kernel keeps the lock for as long as this process lives
    }

    fn capacity(&self) -> usize {
        BOUND
    }

    fn fence(&self) -> u64 {
        self.fence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_was_never_written_and_the_file_is_its_own_lock() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("journal");
        std::fs::write(&path, "one\ntwo\nthr")?;
        let store = FileStore::lock(&path)?.expect("nobody holds it");
        assert!(FileStore::lock(&path)?.is_none());
        store.write("three")?;
        drop(store);
        assert_eq!(std::fs::read_to_string(&path)?, "one\ntwo\nthree\n");
        assert!(FileStore::lock(&path)?.is_some());
        Ok(())
    }
}
