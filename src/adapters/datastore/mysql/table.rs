//! Rows out by the text protocol, in which a number is the same in every type, and in by bound parameters: a value
//! is never part of a statement.
use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, Decode, Executor as _, MySql, MySqlConnection, Row as _, ValueRef as _,
    mysql::{MySqlArguments, MySqlRow},
    query::Query,
};

use super::{
    super::{
        DatastoreError,
        kine::{
            Batch, COMPACT_KEY, Readable, Row, SILENCE_BOUND, STATEMENT_BOUND, Selection, Sink,
            Table, gap, within,
        },
    },
    layout::Layout,
    server::{Server, number},
};

/// Rows of a statement: few lengths, so that the server prepares few statements.
const ROWS: usize = 32;
/// Bytes of a packet that are not the rows'.
const ENVELOPE: usize = 4 << 10;
/// How often a batch is tried that others were in the way of.
const TRIES: u32 = 5;
/// The longest pause before the second time.
const PAUSE: Duration = Duration::from_millis(50);
/// A lock was waited for too long, or two batches waited for each other.
const AGAIN: [u16; 2] = [1205, 1213];

/// A schema's table at a server.
#[derive(Clone, Debug)]
pub(super) struct MySqlTable {
    /// Where.
    pub server: Arc<Server>,
    /// The source's definition: the columns of both.
    pub layout: Arc<Layout>,
}

/// A connection that writes.
pub(super) struct Writer {
    connection: MySqlConnection,
    /// What the server takes in one packet.
    packet: usize,
}

impl MySqlTable {
    fn query(&self, selection: &Selection) -> String {
        let (columns, filter) = match selection {
            Selection::All => (self.layout.names(), String::new()),
            Selection::IdsAbove(last) => ("id".to_owned(), format!("WHERE id > {last}")),
            Selection::Names => ("id, name".to_owned(), String::new()),
            Selection::NamesAbove(id) => ("id, name".to_owned(), format!("WHERE id > {id}")),
            Selection::These(ids) => (self.layout.names(), format!("WHERE id IN ({})", list(ids))),
            Selection::Compaction => (self.layout.names(), format!("WHERE name = '{COMPACT_KEY}'")),
        };
        format!(
            "SELECT {columns} FROM {} {filter} ORDER BY id",
            self.server.table()
        )
    }

    async fn write_once(&self, writer: &mut Writer, batch: &Batch) -> Result<(), sqlx::Error> {
        writer.connection.execute("BEGIN").await?;
        if !batch.remove.is_empty() {
            let delete = format!(
                "DELETE FROM {} WHERE id IN ({})",
                self.server.table(),
                list(&batch.remove)
            );
            writer.connection.execute(AssertSqlSafe(delete)).await?;
        }
        for rows in batch.rows.chunks(ROWS) {
            let bytes: usize = rows.iter().map(|row| row.bytes().len()).sum();
            let whole = rows.len() == ROWS && bytes + ENVELOPE <= writer.packet;
            for rows in rows.chunks(if whole { ROWS } else { 1 }) {
                self.replace(&mut writer.connection, rows).await?;
            }
        }
        writer.connection.execute("COMMIT").await.map(drop)
    }

    /// Rows take the place of whatever has their ids, or their names and revisions.
    async fn replace(
        &self,
        connection: &mut MySqlConnection,
        rows: &[Row],
    ) -> Result<(), sqlx::Error> {
        let row = format!("({})", vec!["?"; self.layout.columns.len()].join(", "));
        let places = vec![row.as_str(); rows.len()].join(", ");
        let (table, names) = (self.server.table(), self.layout.names());
        let mut query: Query<'_, MySql, MySqlArguments> = sqlx::query(AssertSqlSafe(format!(
            "REPLACE INTO {table} ({names}) VALUES {places}"
        )));
        for row in rows {
            for field in row.fields() {
                query = query.bind(field);
            }
        }
        query.execute(connection).await.map(drop)
    }

    /// The only column of the only row.
    async fn figure(&self, doing: &str, sql: String) -> Result<i64, DatastoreError> {
        let mut connection = self.server.connect().await?;
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection);
        let figure = within(STATEMENT_BOUND, query)
            .await
            .map_err(|error| self.server.failed(doing, &error))?;
        self.server.give_back(connection);
        Ok(figure)
    }

    /// The server would hang up on a packet that is too large.
    fn refuse_large(&self, writer: &Writer, batch: &Batch) -> Result<(), DatastoreError> {
        let mut rows = batch.rows.iter();
        match rows.find(|row| row.bytes().len() + ENVELOPE > writer.packet) {
            None => Ok(()),
            Some(row) => Err(self.server.unexpected(format!(
                "row {} of the source has {} bytes, and it takes {} in a packet; raise max_allowed_packet there",
                row.id,
                row.bytes().len(),
                writer.packet
            ))),
        }
    }

    fn failed_writing(&self, error: &sqlx::Error) -> DatastoreError {
        // Out of range.
        if number(error) == Some(1264) {
            return self.server.unexpected(
                "its table has 32-bit ids, and the source's are larger; drop the table there, and it is made anew",
            );
        }
        self.server.failed("writing rows", error)
    }
}

#[async_trait]
impl Readable for MySqlTable {
    fn store(&self) -> &str {
        &self.server.store
    }

    async fn read(&self, selection: &Selection, sink: &mut Sink) -> Result<(), DatastoreError> {
        let failed = |error: sqlx::Error| self.server.failed("reading rows", &error);
        let mut connection = self.server.connect().await?;
        let mut stream = sqlx::raw_sql(AssertSqlSafe(self.query(selection))).fetch(&mut connection);
        loop {
            let next = within(SILENCE_BOUND, stream.try_next());
            let Some(row) = next.await.map_err(failed)? else {
                break;
            };
            if !sink.put(row_of(&row).map_err(failed)?).await {
                return Ok(());
            }
        }
        drop(stream);
        self.server.give_back(connection);
        Ok(())
    }

    async fn estimate(&self) -> Result<u64, DatastoreError> {
        let sql =
            "SELECT CAST(COALESCE(MAX(table_rows), 0) AS UNSIGNED) FROM information_schema.tables
            WHERE table_schema = ? AND table_name = 'kine'";
        let query = sqlx::query_scalar(sql).bind(&self.server.schema);
        let mut connection = self.server.connect().await?;
        let rows = within(STATEMENT_BOUND, query.fetch_one(&mut connection))
            .await
            .map_err(|error| self.server.failed("counting rows", &error))?;
        self.server.give_back(connection);
        Ok(rows)
    }

    async fn compacted(&self) -> Result<i64, DatastoreError> {
        let sql = format!(
            "SELECT CAST(COALESCE(MAX(prev_revision), 0) AS SIGNED) FROM {} WHERE name = '{COMPACT_KEY}'",
            self.server.table()
        );
        self.figure("reading the compaction's revision", sql).await
    }

    async fn removed_by_compaction(
        &self,
        ids: &[i64],
        revision: i64,
    ) -> Result<Vec<i64>, DatastoreError> {
        let (table, ids) = (self.server.table(), list(ids));
        let sql = format!(
            "SELECT CAST(k.id AS SIGNED) FROM {table} k WHERE k.id IN ({ids}) AND k.id <= {revision} \
            AND (k.deleted <> 0 OR EXISTS (SELECT 1 FROM {table} n \
                WHERE n.name = k.name AND n.prev_revision = k.id AND n.id <= {revision}))"
        );
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        let mut connection = self.server.connect().await?;
        let removed = within(STATEMENT_BOUND, query.fetch_all(&mut connection))
            .await
            .map_err(|error| self.server.failed("reading rows", &error))?;
        self.server.give_back(connection);
        Ok(removed)
    }
}

#[async_trait]
impl Table for MySqlTable {
    type Writer = Writer;

    async fn writer(&self) -> Result<Writer, DatastoreError> {
        let mut connection = self.server.connect().await?;
        let packet = packet_of(&self.server, &mut connection).await?;
        Ok(Writer {
            connection,
            packet: usize::try_from(packet).unwrap_or(usize::MAX),
        })
    }

    async fn write(&self, writer: &mut Writer, batch: &Batch) -> Result<(), DatastoreError> {
        self.refuse_large(writer, batch)?;
        for tried in 1..=TRIES {
            let Err(error) = within(STATEMENT_BOUND, self.write_once(writer, batch)).await else {
                return Ok(());
            };
            let again = number(&error).is_some_and(|number| AGAIN.contains(&number));
            if !again || tried == TRIES {
                return Err(self.failed_writing(&error));
            }
            tracing::debug!(%error, "a batch is written again");
            let rolled_back = writer.connection.execute("ROLLBACK");
            let rolled_back = within(STATEMENT_BOUND, rolled_back).await;
            rolled_back.map_err(|error| self.failed_writing(&error))?;
            // Those that were in each other's way do not meet again.
            tokio::time::sleep(PAUSE.mul_f64(fastrand::f64()) * tried).await;
        }
        Ok(())
    }

    async fn last(&self) -> Result<i64, DatastoreError> {
        let table = self.server.table();
        let sql = format!("SELECT CAST(COALESCE(MAX(id), 0) AS SIGNED) FROM {table}");
        self.figure("looking for the last row", sql).await
    }

    async fn fill(&self, above: i64, id: i64) -> Result<(), DatastoreError> {
        let (table, name) = (self.server.table(), gap(id));
        let delete = format!("DELETE FROM {table} WHERE id > {above} AND name LIKE 'gap-%'");
        // As kine does it.
        let insert = format!(
            "INSERT INTO {table} (id, name, created, deleted, create_revision, prev_revision, lease, value, old_value) \
            VALUES ({id}, '{name}', 0, 1, 0, 0, 0, NULL, NULL)"
        );
        let mut connection = self.server.connect().await?;
        let done = async {
            for sql in ["BEGIN", &delete, &insert, "COMMIT"] {
                connection
                    .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
                    .await?;
            }
            Ok(())
        };
        within(STATEMENT_BOUND, done)
            .await
            .map_err(|error| self.failed_writing(&error))?;
        self.server.give_back(connection);
        Ok(())
    }

    async fn compact(&self, earlier: i64, revision: i64) -> Result<u64, DatastoreError> {
        let table = self.server.table();
        let between = format!("id > {earlier} AND id <= {revision}");
        // Its whole name, as an alias would be looked for in a database of this connection, which is in none.
        let sql = format!(
            "DELETE {table} FROM {table} INNER JOIN (
                SELECT prev_revision AS id FROM {table}
                    WHERE {between} AND prev_revision <> 0 AND name <> '{COMPACT_KEY}'
                UNION SELECT id FROM {table} WHERE {between} AND deleted <> 0
            ) gone ON {table}.id = gone.id"
        );
        let mut connection = self.server.connect().await?;
        let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        let done = within(STATEMENT_BOUND, done)
            .await
            .map_err(|error| self.server.failed("compacting", &error))?;
        self.server.give_back(connection);
        Ok(done.rows_affected())
    }
}

/// What the server takes in one packet.
pub(super) async fn packet_of(
    server: &Server,
    connection: &mut MySqlConnection,
) -> Result<u64, DatastoreError> {
    within(
        STATEMENT_BOUND,
        sqlx::query_scalar("SELECT CAST(@@max_allowed_packet AS UNSIGNED)").fetch_one(connection),
    )
    .await
    .map_err(|error| server.failed("asking for its settings", &error))
}

/// Numbers as they stand in a statement.
fn list(ids: &[i64]) -> String {
    let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
    ids.join(", ")
}

fn row_of(row: &MySqlRow) -> Result<Row, sqlx::Error> {
    let strange = |what: &str| sqlx::Error::Protocol(what.to_owned());
    let mut fields = Vec::with_capacity(row.len());
    for index in 0..row.len() {
        let value = row.try_get_raw(index)?;
        let bytes = if value.is_null() {
            None
        } else {
            Some(<&[u8] as Decode<MySql>>::decode(value).map_err(sqlx::Error::Decode)?)
        };
        fields.push(bytes);
    }
    let id = fields
        .first()
        .copied()
        .flatten()
        .and_then(|id| std::str::from_utf8(id).ok());
    let id = id
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| strange("a row has no id of 63 bits"))?;
    Row::of(id, fields.len(), fields.into_iter()).ok_or_else(|| strange("a row is too large"))
}
