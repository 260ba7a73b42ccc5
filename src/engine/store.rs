use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Entry, Header, codec};

/// Where a journal is kept.
#[async_trait]
pub trait Store: Send + Sync {
    /// The journal's lines: the header's first, then an entry each, as [`super::encode_header`] and
    /// [`super::encode_entry`] wrote them. None when there is no journal.
    async fn load(&self) -> Result<Option<Vec<String>>, StoreError>;

    /// Makes a journal of one line. Fails when there is one.
    async fn create(&self, header: &Header, line: &str) -> Result<(), StoreError>;

    /// Adds a line after `lines` others. Fails when there are not just as many: somebody else wrote.
    async fn append(&self, lines: usize, line: &str) -> Result<(), StoreError>;

    /// Confirms that this runner still holds the lock, by asking whoever keeps it.
    async fn confirm(&self) -> Result<(), StoreError>;

    /// How many bytes the store can hold at most.
    fn capacity(&self) -> usize;

    /// The fencing number of this runner.
    fn fence(&self) -> u64;
}

/// Why a journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another runner holds the lock now; nothing was written.
    #[error("this run lost its lock to another one ({0}), and changed nothing since")]
    Lost(String),
    /// A journal of this name is there already.
    #[error("{0} exists already")]
    Exists(String),
    /// What is kept there is no journal any more.
    #[error("{place} is damaged: {why}")]
    Damaged {
        /// Where the journal is.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store did not answer, or refused.
    #[error("failed to {doing} {place}")]
    Failed {
        /// `read` or `write`.
        doing: &'static str,
        /// Where the journal is, as an operator would name it.
        place: String,
        /// The cause.
        #[source]
        source: anyhow::Error,
    },
}

/// A journal in memory; clones share it. For tests and for plans that are only shown.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    lines: Arc<Mutex<Vec<String>>>,
}

impl MemoryStore {
    /// A store that holds these entries.
    #[must_use]
    pub fn with(header: &Header, entries: &[Entry]) -> Self {
        let mut lines = vec![codec::encode_header(header)];
        for entry in entries {
            let line = codec::encode_entry(lines.last().map_or("", String::as_str), entry);
            lines.push(line);
        }
        Self {
            lines: Arc::new(Mutex::new(lines)),
        }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> Result<Option<Vec<String>>, StoreError> {
        let lines = self.lines();
        Ok((!lines.is_empty()).then(|| lines.clone()))
    }

    async fn create(&self, _: &Header, line: &str) -> Result<(), StoreError> {
        let mut lines = self.lines();
        if !lines.is_empty() {
            return Err(StoreError::Exists("the journal in memory".to_owned()));
        }
        lines.push(line.to_owned());
        Ok(())
    }

    async fn append(&self, count: usize, line: &str) -> Result<(), StoreError> {
        let mut lines = self.lines();
        if lines.len() != count {
            return Err(StoreError::Lost(format!(
                "the journal has {} lines, not {count}",
                lines.len()
            )));
        }
        lines.push(line.to_owned());
        Ok(())
    }

    async fn confirm(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn capacity(&self) -> usize {
        1 << 20
    }

    fn fence(&self) -> u64 {
        1
    }
}
