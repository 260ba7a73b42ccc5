//! What the copy and the comparison need from a server.
use async_trait::async_trait;

use super::{Row, Sink};
use crate::adapters::datastore::DatastoreError;

/// Which rows are read, and what of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Selection {
    /// All rows, whole.
    All,
    /// The ids of rows above this one.
    IdsAbove(i64),
    /// The ids and names of all rows.
    Names,
    /// These rows, whole.
    These(Vec<i64>),
    /// The ids and names of rows above this id.
    NamesAbove(i64),
    /// The row of the compaction, whole.
    Compaction,
}

/// What is written in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Batch {
    /// Rows that are there afterwards, instead of what had their ids or their names and revisions.
    pub rows: Vec<Row>,
    /// Ids that are not there afterwards.
    pub remove: Vec<i64>,
    /// Bytes of the rows.
    pub bytes: usize,
}

/// A schema's rows at one server, for those who read.
#[async_trait]
pub(in super::super) trait Readable: Clone + Send + Sync + 'static {
    /// What it is called for people.
    fn store(&self) -> &str;

    /// Reads rows by id, in order, from one snapshot.
    async fn read(&self, selection: &Selection, sink: &mut Sink) -> Result<(), DatastoreError>;

    /// How many rows there are, roughly.
    async fn estimate(&self) -> Result<u64, DatastoreError>;

    /// The revision that it was compacted to, 0 where it never was.
    async fn compacted(&self) -> Result<i64, DatastoreError>;

    /// Which of these rows a compaction to this revision removes.
    async fn removed_by_compaction(
        &self,
        ids: &[i64],
        revision: i64,
    ) -> Result<Vec<i64>, DatastoreError>;
}

/// A schema's table at one server.
#[async_trait]
pub(in super::super) trait Table: Readable {
    /// A connection that writes.
    type Writer: Send;

    /// Connects for writing.
    async fn writer(&self) -> Result<Self::Writer, DatastoreError>;

    /// Writes a batch, in one transaction. It may have been written before.
    async fn write(&self, writer: &mut Self::Writer, batch: &Batch) -> Result<(), DatastoreError>;

    /// The largest id, 0 where there is no row.
    async fn last(&self) -> Result<i64, DatastoreError>;

    /// Writes, in one transaction, the row by which kine fills a gap at this id, instead of any such row above another
    /// id.
    async fn fill(&self, above: i64, id: i64) -> Result<(), DatastoreError>;

    /// Removes, in one transaction, what a compaction to a revision removes that one to an earlier revision did not;
    /// how many rows that were.
    async fn compact(&self, earlier: i64, revision: i64) -> Result<u64, DatastoreError>;
}
