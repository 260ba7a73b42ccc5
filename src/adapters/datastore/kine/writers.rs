//! Batches on their way to a server: several at once, each in a transaction of its own.
use std::{ops::AddAssign, sync::Arc};

use tokio::{
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    task::JoinSet,
};

use super::{Batch, Row, Table};
use crate::adapters::datastore::DatastoreError;

/// Connections that write rows: the order does not matter, as all rows of the source are there at once.
const WRITERS: usize = 3;
/// Rows and bytes of a batch: a commit each costs little, and some of them in memory, too.
const ROWS: usize = 4_000;
const BYTES: usize = 4 << 20;

/// Changes a table. What is in flight is given up when this is dropped.
pub(super) struct Writers {
    rows: Lane,
    removals: Lane,
}

/// Batches, and those who write them.
struct Lane {
    sender: Sender<Batch>,
    tasks: JoinSet<Result<(), DatastoreError>>,
    batch: Batch,
    written: Written,
    store: String,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// Rows that are there now.
    pub rows: u64,
    /// Rows that are there no more.
    pub removed: u64,
    /// Bytes of the rows.
    pub bytes: u64,
}

impl AddAssign for Written {
    fn add_assign(&mut self, more: Self) {
        self.rows += more.rows;
        self.removed += more.removed;
        self.bytes += more.bytes;
    }
}

impl Writers {
    /// Gets ready: connections are made when there is something to write.
    ///
    /// Rows are removed one batch after the other: what a key stood at before goes before the row of its end, or a copy
    /// that is given up in between would bring the key back to life.
    pub fn start<T: Table>(table: &T) -> Self {
        Self {
            rows: Lane::start(table, WRITERS),
            removals: Lane::start(table, 1),
        }
    }

    /// Writes a row.
    pub async fn put(&mut self, row: Row) -> Result<(), DatastoreError> {
        self.rows.batch.bytes += row.bytes().len();
        self.rows.batch.rows.push(row);
        self.rows.send_if_full().await
    }

    /// Removes a row; they come by their ids.
    pub async fn remove(&mut self, id: i64) -> Result<(), DatastoreError> {
        self.removals.batch.remove.push(id);
        self.removals.send_if_full().await
    }

    /// Waits until all is committed.
    pub async fn finish(self) -> Result<Written, DatastoreError> {
        let (rows, removals) = tokio::try_join!(self.rows.finish(), self.removals.finish())?;
        Ok(Written {
            removed: removals.removed,
            ..rows
        })
    }
}

impl Lane {
    fn start<T: Table>(table: &T, connections: usize) -> Self {
        let (sender, receiver) = channel(1);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn(work(table.clone(), receiver.clone()));
        }
        Self {
            sender,
            tasks,
            batch: Batch::default(),
            written: Written::default(),
            store: table.store().to_owned(),
        }
    }

    async fn send_if_full(&mut self) -> Result<(), DatastoreError> {
        let changes = self.batch.rows.len() + self.batch.remove.len();
        if changes < ROWS && self.batch.bytes < BYTES {
            return Ok(());
        }
        self.send().await
    }

    async fn send(&mut self) -> Result<(), DatastoreError> {
        // So that nothing more is read for the sake of a copy that has failed.
        while let Some(ended) = self.tasks.try_join_next() {
            ended.map_err(|error| self.lost(&error.to_string()))??;
        }
        let batch = std::mem::take(&mut self.batch);
        if batch == Batch::default() {
            return Ok(());
        }
        self.written.rows += batch.rows.len() as u64;
        self.written.removed += batch.remove.len() as u64;
        self.written.bytes += batch.bytes as u64;
        if self.sender.send(batch).await.is_ok() {
            return Ok(());
        }
        self.join().await?;
        Err(self.lost("every connection has ended"))
    }

    async fn finish(mut self) -> Result<Written, DatastoreError> {
        self.send().await?;
        // They end when nobody can send any more.
        self.sender = channel(1).0;
        self.join().await?;
        Ok(self.written)
    }

    async fn join(&mut self) -> Result<(), DatastoreError> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| self.lost(&error.to_string()))??;
        }
        Ok(())
    }

    fn lost(&self, cause: &str) -> DatastoreError {
        DatastoreError::Lost {
            store: self.store.clone(),
            doing: "writing rows".to_owned(),
            cause: cause.to_owned(),
        }
    }
}

async fn work<T: Table>(
    table: T,
    batches: Arc<Mutex<Receiver<Batch>>>,
) -> Result<(), DatastoreError> {
    let mut writer = None;
    loop {
        let batch = batches.lock().await.recv().await;
        let Some(batch) = batch else { return Ok(()) };
        let connected = match &mut writer {
            Some(connected) => connected,
            none => none.insert(table.writer().await?),
        };
        table.write(connected, &batch).await?;
    }
}
