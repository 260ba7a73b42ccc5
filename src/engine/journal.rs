use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{Entry, Event, Header, IllegalTransition, Record, Sink, Store, StoreError, codec};

/// Room kept for the endings of what was begun: no new work starts when less is left. An ending with its
/// evidence is bounded well below a quarter of it.
const RESERVE: usize = 64 * 1024;

/// What happened so far, and where to add to it.
pub struct Journal {
    store: Box<dyn Store>,
    header: Header,
    entries: Vec<Entry>,
    state: State,
    last_line: String,
    used: usize,
    clock: fn() -> Timestamp,
}

/// The journal folded: where each step is, and what it left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    last: BTreeMap<String, Record>,
    begun: BTreeMap<String, bool>,
    outputs: BTreeMap<String, Value>,
    made_under: BTreeMap<String, u64>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A line is cut, changed or moved.
    #[error("{place} is damaged: line {line}: {why}")]
    Damaged {
        /// Where the journal is.
        place: String,
        /// Which line, from 1 (the header).
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// It was written in another format.
    #[error(
        "{place} has format {found}, and this program reads format {}: use the version of it that wrote the journal",
        codec::FORMAT
    )]
    Version {
        /// Where the journal is.
        place: String,
        /// Its format.
        found: u32,
    },
    /// It tells a history that cannot be.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// It is nearly full, so nothing new is begun.
    #[error("the journal holds {used} of {capacity} bytes, too little room to begin step `{step}`")]
    Full {
        /// Bytes used.
        used: usize,
        /// Bytes that the store can hold.
        capacity: usize,
        /// The step that was to begin.
        step: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl State {
    /// Folds entries; an impossible history is an error that names the entry.
    pub fn fold(entries: &[Entry]) -> Result<Self, IllegalTransition> {
        let mut state = Self::default();
        for entry in entries {
            state.check(entry.seq, &entry.step, &entry.record)?;
            state.add(entry);
        }
        Ok(state)
    }

    /// The last record of a step.
    #[must_use]
    pub fn last(&self, step: &str) -> Option<&Record> {
        self.last.get(step)
    }

    /// What the steps left, by step.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<String, Value> {
        &self.outputs
    }

    /// The fencing number of the runner that made the step.
    #[must_use]
    pub fn made_under(&self, step: &str) -> Option<u64> {
        self.made_under.get(step).copied()
    }

    /// Whether the step was begun and not put back, so that its change may be there.
    #[must_use]
    pub fn begun(&self, step: &str) -> bool {
        self.begun.get(step).copied().unwrap_or(false)
    }

    fn check(&self, seq: u32, step: &str, to: &Record) -> Result<(), IllegalTransition> {
        let from = self.last.get(step);
        if Record::may_follow(from, to) {
            return Ok(());
        }
        Err(IllegalTransition {
            seq,
            step: step.to_owned(),
            from: from.map_or("nothing", Record::name),
            to: to.name(),
        })
    }

    fn add(&mut self, entry: &Entry) {
        match &entry.record {
            Record::Done(output) => {
                self.outputs.insert(entry.step.clone(), output.clone());
                self.made_under.insert(entry.step.clone(), entry.fence);
            }
            Record::Undone => {
                self.outputs.remove(&entry.step);
                self.made_under.remove(&entry.step);
                self.begun.insert(entry.step.clone(), false);
            }
            // Only a step that had changed nothing yet is recorded so.
            Record::Blocked(_) => {
                self.begun.insert(entry.step.clone(), false);
            }
            Record::Started => {
                self.begun.insert(entry.step.clone(), true);
            }
            _ => {}
        }
        self.last.insert(entry.step.clone(), entry.record.clone());
    }
}

impl Journal {
    /// Makes a new journal with this header.
    pub async fn create(
        store: Box<dyn Store>,
        header: Header,
        clock: fn() -> Timestamp,
    ) -> Result<Self, JournalError> {
        let line = codec::encode_header(&header);
        store.create(&header, &line).await?;
        Ok(Self {
            store,
            header,
            entries: Vec::new(),
            state: State::default(),
            used: line.len() + 1,
            last_line: line,
            clock,
        })
    }

    /// Opens the journal that the store holds; none when it holds none.
    pub async fn open(
        store: Box<dyn Store>,
        place: &str,
        clock: fn() -> Timestamp,
    ) -> Result<Option<Self>, JournalError> {
        let Some(lines) = store.load().await? else {
            return Ok(None);
        };
        let (header, entries) = codec::decode(place, &lines)?;
        let state = State::fold(&entries)?;
        let used = lines.iter().map(|line| line.len() + 1).sum();
        Ok(Some(Self {
            store,
            header,
            entries,
            state,
            last_line: lines.last().cloned().unwrap_or_default(),
            used,
            clock,
        }))
    }

    /// What the journal is about.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// All entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The journal folded.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Bytes used, and bytes that the store can hold.
    #[must_use]
    pub fn usage(&self) -> (usize, usize) {
        (self.used, self.store.capacity())
    }

    /// The fencing number of this runner.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.store.fence()
    }

    /// Confirms that this runner still holds the lock.
    pub async fn confirm(&self) -> Result<(), JournalError> {
        Ok(self.store.confirm().await?)
    }

    /// Writes what happened, then tells it.
    pub async fn record(
        &mut self,
        sink: &Sink,
        step: &str,
        record: Record,
    ) -> Result<(), JournalError> {
        let seq = u32::try_from(self.entries.len() + 1).unwrap_or(u32::MAX);
        self.state.check(seq, step, &record)?;
        let fence = self.store.fence();
        // Nobody could read a journal whose numbers go down any more.
        if let Some(last) = self.entries.last()
            && fence < last.fence
        {
            let why = format!(
                "this is run number {fence}, and run number {} has written the journal",
                last.fence
            );
            return Err(StoreError::Lost(why).into());
        }
        let entry = Entry {
            seq,
            fence,
            at: (self.clock)(),
            step: step.to_owned(),
            record,
        };
        let line = codec::encode_entry(&self.last_line, &entry);
        let capacity = self.store.capacity();
        // What was begun must be able to end, so only a beginning is refused. A rollback begins too, but
        // forbidding the way back would be the worse choice: it may use the reserve.
        if matches!(entry.record, Record::Started) && self.used + line.len() + RESERVE > capacity {
            return Err(JournalError::Full {
                used: self.used,
                capacity,
                step: step.to_owned(),
            });
        }
        self.store.append(self.entries.len() + 1, &line).await?;
        self.used += line.len() + 1;
        self.last_line = line;
        self.state.add(&entry);
        self.entries.push(entry.clone());
        sink.send(Event::Recorded(entry));
        Ok(())
    }
}
