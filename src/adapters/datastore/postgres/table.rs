//! Rows in and out, by COPY in its binary format: a value is never text on its way.
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::{
    super::{
        DatastoreError,
        kine::{
            Batch, COMPACT_KEY, Readable, SILENCE_BOUND, STATEMENT_BOUND, Selection, Sink, Table,
            gap, within,
        },
    },
    layout::Layout,
    server::{Server, has_code},
    tuples::{HEADER, TRAILER, Tuples},
};

/// Bytes that are sent at once.
const CHUNK: usize = 256 << 10;
/// How often a batch is tried that others were in the way of.
const TRIES: u32 = 5;
/// Somebody else's row is in the way, two of our batches are, or the server could not order them.
const AGAIN: [&str; 3] = ["23505", "40P01", "40001"];

/// A schema's table at a server.
#[derive(Clone, Debug)]
pub(super) struct PgTable {
    /// Where.
    pub server: Arc<Server>,
    /// The source's definition: both sides' rows are read with its types.
    pub layout: Arc<Layout>,
    /// Whether rows may be put in as they come: nothing is there yet, and the types are the same.
    pub empty: bool,
}

/// A connection that writes.
pub(super) struct Writer {
    connection: PgConnection,
    staged: bool,
}

impl PgTable {
    /// Logs in to the database, which is there.
    pub async fn connect(&self) -> Result<PgConnection, DatastoreError> {
        let database = &self.server.schema;
        self.server.connect().await?.ok_or_else(|| {
            self.server
                .unexpected(format!("database {database} is gone"))
        })
    }

    fn query(&self, selection: &Selection) -> String {
        let id = format!("id::{}", self.layout.columns[0].kind);
        let (columns, filter) = match selection {
            Selection::All => (self.layout.casts(), String::new()),
            Selection::IdsAbove(last) => (id, format!("WHERE id > {last}")),
            Selection::Names => (format!("{id}, name"), String::new()),
            Selection::NamesAbove(above) => (format!("{id}, name"), format!("WHERE id > {above}")),
            Selection::These(ids) => {
                let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
                (
                    self.layout.casts(),
                    format!("WHERE id IN ({})", ids.join(", ")),
                )
            }
            Selection::Compaction => (self.layout.casts(), format!("WHERE name = '{COMPACT_KEY}'")),
        };
        format!(
            "COPY (SELECT {columns} FROM public.kine {filter} ORDER BY id) TO STDOUT (FORMAT binary)"
        )
    }

    async fn put(
        &self,
        connection: &mut PgConnection,
        table: &str,
        batch: &Batch,
    ) -> Result<(), sqlx::Error> {
        let sql = format!(
            "COPY {table} ({}) FROM STDIN (FORMAT binary)",
            self.layout.names()
        );
        let mut copy = connection.copy_in_raw(&sql).await?;
        let mut chunk = Vec::with_capacity(CHUNK);
        chunk.extend_from_slice(HEADER);
        for row in &batch.rows {
            if !chunk.is_empty() && chunk.len() + row.bytes().len() > CHUNK {
                copy.send(chunk.as_slice()).await?;
                chunk.clear();
            }
            chunk.extend_from_slice(row.bytes());
        }
        chunk.extend_from_slice(&TRAILER);
        copy.send(chunk.as_slice()).await?;
        copy.finish().await.map(drop)
    }

    /// Rows take the place of whatever has their ids, or their names and revisions.
    async fn replace(&self, writer: &mut Writer, batch: &Batch) -> Result<(), sqlx::Error> {
        let connection = &mut writer.connection;
        if !writer.staged {
            let columns = self.layout.plain_columns();
            let sql = format!("CREATE TEMPORARY TABLE incoming ({columns}) ON COMMIT DELETE ROWS");
            connection
                .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
                .await?;
            // Without figures of a new table the server would read all of kine's for each batch.
            connection.execute("SET enable_seqscan = off").await?;
            writer.staged = true;
        }
        connection.execute("BEGIN").await?;
        sqlx::query("DELETE FROM public.kine WHERE id = ANY($1)")
            .bind(&batch.remove)
            .execute(&mut *connection)
            .await?;
        self.put(connection, "incoming", batch).await?;
        let by_id = "DELETE FROM public.kine k USING incoming i WHERE k.id = i.id";
        connection.execute(by_id).await?;
        let by_name = "DELETE FROM public.kine k USING incoming i \
            WHERE k.name = i.name AND k.prev_revision = i.prev_revision";
        connection.execute(by_name).await?;
        let names = self.layout.names();
        let insert = format!(
            "INSERT INTO public.kine ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM incoming ORDER BY id"
        );
        connection.execute(AssertSqlSafe(insert)).await?;
        connection.execute("COMMIT").await.map(drop)
    }

    /// The only column of the only row.
    async fn figure(&self, doing: &str, sql: &str) -> Result<i64, DatastoreError> {
        let mut connection = self.connect().await?;
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection);
        let figure = within(STATEMENT_BOUND, query)
            .await
            .map_err(|error| self.server.failed(doing, &error))?;
        self.server.give_back(connection);
        Ok(figure)
    }

    fn failed_writing(&self, error: &sqlx::Error) -> DatastoreError {
        // Numeric value out of range.
        if has_code(error, &["22003"]) {
            return self.server.unexpected(
                "its table has 32-bit ids, and the source's are larger; drop the table there, and it is made anew",
            );
        }
        self.server.failed("writing rows", error)
    }
}

#[async_trait]
impl Readable for PgTable {
    fn store(&self) -> &str {
        &self.server.store
    }

    async fn read(&self, selection: &Selection, sink: &mut Sink) -> Result<(), DatastoreError> {
        let failed = |error: sqlx::Error| self.server.failed("reading rows", &error);
        let mut connection = self.connect().await?;
        let query = self.query(selection);
        let mut stream = within(SILENCE_BOUND, connection.copy_out_raw(&query))
            .await
            .map_err(failed)?;
        let mut tuples = Tuples::default();
        let mut rows = Vec::new();
        while let Some(bytes) = within(SILENCE_BOUND, stream.try_next())
            .await
            .map_err(failed)?
        {
            tuples
                .push(bytes, &mut rows)
                .map_err(|what| self.server.unexpected(what))?;
            for row in rows.drain(..) {
                if !sink.put(row).await {
                    return Ok(());
                }
            }
        }
        drop(stream);
        if tuples.whole() {
            self.server.give_back(connection);
            return Ok(());
        }
        Err(failed(sqlx::Error::Protocol(
            "it ended before the last row".to_owned(),
        )))
    }

    async fn estimate(&self) -> Result<u64, DatastoreError> {
        // Before the first ANALYZE the server has no estimate.
        let sql = "SELECT CASE WHEN reltuples < 0 THEN (SELECT count(*) FROM public.kine) \
            ELSE reltuples::bigint END FROM pg_class WHERE oid = 'public.kine'::regclass";
        let rows: i64 = self.figure("counting rows", sql).await?;
        Ok(rows.unsigned_abs())
    }

    async fn compacted(&self) -> Result<i64, DatastoreError> {
        let sql = format!(
            "SELECT coalesce(max(prev_revision), 0)::bigint FROM public.kine WHERE name = '{COMPACT_KEY}'"
        );
        self.figure("reading the compaction's revision", &sql).await
    }

    async fn removed_by_compaction(
        &self,
        ids: &[i64],
        revision: i64,
    ) -> Result<Vec<i64>, DatastoreError> {
        let sql = "SELECT k.id::bigint FROM public.kine k WHERE k.id = ANY($1) AND k.id <= $2 AND (k.deleted <> 0 \
            OR EXISTS (SELECT FROM public.kine n WHERE n.name = k.name AND n.prev_revision = k.id AND n.id <= $2))";
        let mut connection = self.connect().await?;
        let query = sqlx::query_scalar(sql).bind(ids).bind(revision);
        let removed = within(STATEMENT_BOUND, query.fetch_all(&mut connection))
            .await
            .map_err(|error| self.server.failed("reading rows", &error))?;
        self.server.give_back(connection);
        Ok(removed)
    }
}

#[async_trait]
impl Table for PgTable {
    type Writer = Writer;

    async fn writer(&self) -> Result<Writer, DatastoreError> {
        Ok(Writer {
            connection: self.connect().await?,
            staged: false,
        })
    }

    async fn write(&self, writer: &mut Writer, batch: &Batch) -> Result<(), DatastoreError> {
        for tried in 0..TRIES {
            // A COPY alone is a transaction, too.
            let written = if self.empty && tried == 0 && batch.remove.is_empty() {
                within(
                    STATEMENT_BOUND,
                    self.put(&mut writer.connection, "public.kine", batch),
                )
                .await
            } else {
                within(STATEMENT_BOUND, self.replace(writer, batch)).await
            };
            let Err(error) = written else { return Ok(()) };
            if !has_code(&error, &AGAIN) || tried + 1 == TRIES {
                return Err(self.failed_writing(&error));
            }
            tracing::debug!(%error, "a batch is written again");
            let rolled_back = writer.connection.execute("ROLLBACK");
            let rolled_back = within(STATEMENT_BOUND, rolled_back).await;
            rolled_back.map_err(|error| self.failed_writing(&error))?;
        }
        Ok(())
    }

    async fn last(&self) -> Result<i64, DatastoreError> {
        let sql = "SELECT coalesce(max(id), 0)::bigint FROM public.kine";
        self.figure("looking for the last row", sql).await
    }

    async fn fill(&self, above: i64, id: i64) -> Result<(), DatastoreError> {
        let name = gap(id);
        // As kine does it.
        let sql = format!(
            "BEGIN; DELETE FROM public.kine WHERE id > {above} AND name LIKE 'gap-%'; \
            INSERT INTO public.kine (id, name, created, deleted, create_revision, prev_revision, lease, value, old_value) \
            OVERRIDING SYSTEM VALUE VALUES ({id}, '{name}', 0, 1, 0, 0, 0, NULL, NULL); COMMIT"
        );
        let mut connection = self.connect().await?;
        let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        within(STATEMENT_BOUND, done)
            .await
            .map_err(|error| self.failed_writing(&error))?;
        self.server.give_back(connection);
        Ok(())
    }

    async fn compact(&self, earlier: i64, revision: i64) -> Result<u64, DatastoreError> {
        let between = format!("id > {earlier} AND id <= {revision}");
        // All of them are found by their ids; the server would rather read the table.
        let sql = format!(
            "BEGIN; SET LOCAL enable_seqscan = off; DELETE FROM public.kine k USING (
                SELECT prev_revision AS id FROM public.kine
                    WHERE {between} AND prev_revision <> 0 AND name <> '{COMPACT_KEY}'
                UNION SELECT id FROM public.kine WHERE {between} AND deleted <> 0
            ) gone WHERE k.id = gone.id; COMMIT"
        );
        let mut connection = self.connect().await?;
        let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        let done = within(STATEMENT_BOUND, done)
            .await
            .map_err(|error| self.server.failed("compacting", &error))?;
        self.server.give_back(connection);
        Ok(done.rows_affected())
    }
}
