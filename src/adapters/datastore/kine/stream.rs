//! Rows on their way from a server: read ahead, in a task of their own, by no more than a few batches.
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::JoinHandle,
};

use super::{Readable, Row, Selection};
use crate::adapters::datastore::DatastoreError;

/// Rows and bytes that are handed over at once: enough to be cheap, few enough to begin soon.
const ROWS: usize = 512;
const BYTES: usize = 256 << 10;
/// Handed-over batches that may wait: with 1 MiB values some 10 MiB.
const AHEAD: usize = 8;

enum Piece {
    Rows(Vec<Row>),
    /// A stream without this was cut off.
    End,
    Failed(DatastoreError),
}

/// Where a reading task puts its rows.
pub(in super::super) struct Sink {
    sender: Sender<Piece>,
    rows: Vec<Row>,
    bytes: usize,
}

impl Sink {
    /// Takes a row; false once nobody wants more.
    pub async fn put(&mut self, row: Row) -> bool {
        self.bytes += row.bytes().len();
        self.rows.push(row);
        if self.rows.len() < ROWS && self.bytes < BYTES {
            return true;
        }
        self.flush().await
    }

    async fn flush(&mut self) -> bool {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        self.sender.send(Piece::Rows(rows)).await.is_ok()
    }
}

/// The rows of a table, by id. The reading ends when this is dropped.
pub(in super::super) struct Rows {
    receiver: Receiver<Piece>,
    task: JoinHandle<()>,
    piece: std::vec::IntoIter<Row>,
    store: String,
    last: Option<i64>,
    ended: bool,
}

impl Rows {
    /// Begins to read.
    pub fn read<T: Readable>(table: &T, selection: Selection) -> Self {
        let (sender, receiver) = channel(AHEAD);
        let store = table.store().to_owned();
        let table = table.clone();
        let task = tokio::spawn(async move {
            let mut sink = Sink {
                sender: sender.clone(),
                rows: Vec::new(),
                bytes: 0,
            };
            let piece = match table.read(&selection, &mut sink).await {
                Ok(()) if sink.flush().await => Piece::End,
                Ok(()) => return,
                Err(error) => Piece::Failed(error),
            };
            // Nobody may be there any more to hear of it.
            sender.send(piece).await.ok();
        });
        Self {
            receiver,
            task,
            piece: Vec::new().into_iter(),
            store,
            last: None,
            ended: false,
        }
    }

    /// The next row, none at the end.
    pub async fn next(&mut self) -> Result<Option<Row>, DatastoreError> {
        loop {
            if let Some(row) = self.piece.next() {
                if self.last.is_some_and(|last| last >= row.id) {
                    return Err(DatastoreError::Unexpected {
                        store: self.store.clone(),
                        what: format!(
                            "row {} comes after row {}",
                            row.id,
                            self.last.unwrap_or_default()
                        ),
                    });
                }
                self.last = Some(row.id);
                return Ok(Some(row));
            }
            if self.ended {
                return Ok(None);
            }
            match self.receiver.recv().await {
                Some(Piece::Rows(rows)) => self.piece = rows.into_iter(),
                Some(Piece::End) => self.ended = true,
                Some(Piece::Failed(error)) => return Err(error),
                None => {
                    return Err(DatastoreError::Lost {
                        store: self.store.clone(),
                        doing: "reading rows".to_owned(),
                        cause: "the reading ended before the last row".to_owned(),
                    });
                }
            }
        }
    }

    /// All that is left.
    pub async fn rest(mut self) -> Result<Vec<Row>, DatastoreError> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        Ok(rows)
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.task.abort();
    }
}
