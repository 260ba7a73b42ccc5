//! PostgreSQL with kine's table: rows pass by COPY in its binary format, from snapshot to transaction.
mod database;
mod layout;
mod look;
mod server;
mod table;
mod tuples;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize as _;
use serde_json::Value;
use sqlx::{PgConnection, Row as _};
use tokio::sync::mpsc::{Receiver, Sender};

use super::{
    Comparison, Connection, Copied, DatastoreError, Later, Look, Meter, Pair, Position, Raised,
    archive::{Piece, Record},
    kine::{
        At, Definition as _, Table, compare, copy_all, copy_since, dump, later, lead, load,
        refuse_foreign_rows,
    },
};
use layout::Layout;
use server::Server;
use table::PgTable;

/// A schema in two PostgreSQL servers.
#[derive(Debug)]
pub struct PostgresPair {
    source: Arc<Server>,
    target: Arc<Server>,
}

/// Where the sequence stands, and where it should at least.
const BEHIND: &str = "
    SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('public.kine', 'id')::regclass), 0),
        (SELECT coalesce(max(id), 0)::bigint FROM public.kine)";
/// The next row gets the id behind the largest: one below is lost to kine, and one far above leaves a gap that kine
/// fills number by number.
const ADVANCE: &str = "
    SELECT setval(pg_get_serial_sequence('public.kine', 'id')::regclass, greatest(max(id), 1), max(id) IS NOT NULL)
    FROM public.kine";

impl PostgresPair {
    /// Names the schema in both; nothing is dialled yet.
    pub fn open(
        source: &Connection,
        target: &Connection,
        schema: &str,
    ) -> Result<Self, DatastoreError> {
        Ok(Self {
            source: Arc::new(Server::new(source, schema)?),
            target: Arc::new(Server::new(target, schema)?),
        })
    }

    async fn layout_of(server: &Server) -> Result<Option<Layout>, DatastoreError> {
        let Some(mut connection) = server.connect().await? else {
            return Ok(None);
        };
        let layout = Layout::read(server, &mut connection).await?;
        server.give_back(connection);
        Ok(layout)
    }

    async fn source_layout(&self) -> Result<Arc<Layout>, DatastoreError> {
        let layout = Self::layout_of(&self.source).await?;
        layout.map(Arc::new).ok_or_else(|| self.source.no_table())
    }

    /// Both tables, whether or not the target has one.
    async fn tables(&self) -> Result<(PgTable, PgTable), DatastoreError> {
        let layout = self.source_layout().await?;
        Ok((table(&self.source, &layout), table(&self.target, &layout)))
    }

    /// The target's table, and whether it was missing and is made now.
    async fn make_target(&self, layout: &Arc<Layout>) -> Result<(PgTable, bool), DatastoreError> {
        let target = table(&self.target, layout);
        let mut connection = if let Some(connection) = self.target.connect().await? {
            connection
        } else {
            self.target.make_database(&layout.locale).await?;
            target.connect().await?
        };
        let mut found = Layout::read(&self.target, &mut connection).await?;
        let made = found.is_none();
        if made {
            let statements = layout.statements();
            self.target
                .run(&mut connection, "making the table", statements)
                .await?;
            found = Layout::read(&self.target, &mut connection).await?;
        }
        let found = found.ok_or_else(|| self.target.no_table())?;
        layout.check_target(&found, &self.target)?;
        // A transaction of a call that was dropped may still be on its way; readers are not in the way.
        let lock = "BEGIN; LOCK TABLE public.kine IN SHARE ROW EXCLUSIVE MODE; COMMIT".to_owned();
        self.target
            .run(
                &mut connection,
                "waiting for others to end their writes",
                lock,
            )
            .await?;
        let sql = "SELECT NOT EXISTS (SELECT FROM public.kine)";
        let row = self
            .target
            .ask(&mut connection, "looking for rows", sql)
            .await?;
        let empty: bool = row
            .try_get(0)
            .map_err(|error| self.target.failed("looking for rows", &error))?;
        // Rows that are looked for by their names need them; rows that are put in do not.
        if !empty {
            self.make_indexes(&mut connection, &found, layout).await?;
        }
        self.target.give_back(connection);
        let target = PgTable {
            empty: empty && layout.fits(&found),
            ..target
        };
        Ok((target, made))
    }

    async fn make_indexes(
        &self,
        connection: &mut PgConnection,
        found: &Layout,
        wanted: &Layout,
    ) -> Result<(), DatastoreError> {
        for index in found.missing_indexes(wanted) {
            self.target
                .run(connection, "making an index", index)
                .await?;
        }
        Ok(())
    }

    /// Makes the target's indexes where they are missing, and its sequence go on behind the rows.
    async fn finish(&self, target: &PgTable, written: u64) -> Result<(), DatastoreError> {
        let mut connection = target.connect().await?;
        if let Some(found) = Layout::read(&self.target, &mut connection).await? {
            self.make_indexes(&mut connection, &found, &target.layout)
                .await?;
        }
        if written > 0 && target.empty {
            let analyze = "ANALYZE public.kine".to_owned();
            self.target
                .run(&mut connection, "counting rows", analyze)
                .await?;
        }
        self.advance(&mut connection).await?;
        self.target.give_back(connection);
        Ok(())
    }

    async fn advance(&self, connection: &mut PgConnection) -> Result<(), DatastoreError> {
        let doing = "setting the sequence of ids";
        let row = self.target.ask(connection, doing, ADVANCE).await?;
        let set: Option<i64> = row
            .try_get(0)
            .map_err(|error| self.target.failed(doing, &error))?;
        set.map(drop).ok_or_else(|| {
            self.target
                .unexpected("no sequence gives its table kine the ids")
        })
    }
}

fn table(server: &Arc<Server>, layout: &Arc<Layout>) -> PgTable {
    PgTable {
        server: server.clone(),
        layout: layout.clone(),
        empty: false,
    }
}

#[async_trait]
impl Pair for PostgresPair {
    async fn look(&self) -> Result<Look, DatastoreError> {
        Box::pin(look::look(self)).await
    }

    async fn copy(
        &self,
        since: Option<&Position>,
        meter: &Meter,
    ) -> Result<Copied, DatastoreError> {
        let since = since
            .map(|position| At::read(position, &self.source.store))
            .transpose()?;
        let layout = self.source_layout().await?;
        let source = table(&self.source, &layout);
        let (target, made) = self.make_target(&layout).await?;
        let copied = match since {
            Some(since) if !made => copy_since(&source, &target, since, meter).await?,
            _ => copy_all(&source, &target, meter).await?,
        };
        self.finish(&target, copied.written).await?;
        Ok(Copied {
            anew: made && since.is_some(),
            ..copied
        })
    }

    async fn compare(&self, meter: &Meter) -> Result<Comparison, DatastoreError> {
        let (source, target) = self.tables().await?;
        if Self::layout_of(&self.target).await?.is_none() {
            return Err(self.target.no_table());
        }
        compare(&source, &target, meter).await
    }

    async fn later(&self, since: &Position) -> Result<Option<Later>, DatastoreError> {
        let since = At::read(since, &self.source.store)?;
        let layout = self.source_layout().await?;
        later(&table(&self.source, &layout), since.id())
            .await
            .map(Some)
    }

    async fn lead(&self, margin: u64) -> Result<Raised, DatastoreError> {
        let (source, target) = self.tables().await?;
        let led = lead(&source, &target, margin).await?;
        self.advance(&mut target.connect().await?).await?;
        Ok(led)
    }

    async fn wrong_counter(&self) -> Result<Option<String>, DatastoreError> {
        let Some(mut connection) = self.target.connect().await? else {
            return Ok(None);
        };
        let doing = "reading the sequence of ids";
        let row = self.target.ask(&mut connection, doing, BEHIND).await?;
        let failed = |error: sqlx::Error| self.target.failed(doing, &error);
        let (last, largest): (i64, i64) = (
            row.try_get(0).map_err(failed)?,
            row.try_get(1).map_err(failed)?,
        );
        self.target.give_back(connection);
        Ok((last < largest).then(|| {
            format!("its sequence of ids stands at {last}, and its largest id is {largest}")
        }))
    }

    async fn mend_counter(&self) -> Result<(), DatastoreError> {
        if let Some(mut connection) = self.target.connect().await? {
            self.advance(&mut connection).await?;
            self.target.give_back(connection);
        }
        Ok(())
    }

    async fn source_revision(&self) -> Result<u64, DatastoreError> {
        let layout = self.source_layout().await?;
        Ok(Table::last(&table(&self.source, &layout))
            .await?
            .unsigned_abs())
    }

    async fn layout(&self) -> Result<Value, DatastoreError> {
        let layout = self.source_layout().await?;
        serde_json::to_value(&*layout).map_err(|error| self.source.unexpected(error.to_string()))
    }

    async fn dump(&self, out: &Sender<Piece>, meter: &Meter) -> Result<u64, DatastoreError> {
        let layout = self.source_layout().await?;
        dump(&table(&self.source, &layout), out, meter).await
    }

    async fn load(
        &self,
        layout: &Value,
        records: &mut Receiver<Record>,
        meter: &Meter,
    ) -> Result<(), DatastoreError> {
        let layout = Layout::deserialize(layout).map_err(|error| {
            self.target.unexpected(format!(
                "the snapshot names no definition of kine's table: {error}"
            ))
        })?;
        let layout = Arc::new(layout);
        let (target, _) = self.make_target(&layout).await?;
        let written = load(&target, records, meter).await?;
        self.finish(&target, written).await
    }

    async fn clear_target(&self) -> Result<(), DatastoreError> {
        let Some(mut connection) = self.target.connect().await? else {
            return Ok(());
        };
        let others = look::others(&self.target, &mut connection).await?;
        self.target.refuse_others(&others)?;
        if let Some(found) = Layout::read(&self.target, &mut connection).await? {
            let source = Self::layout_of(&self.source).await?.map(Arc::new);
            let layout = source.clone().unwrap_or_else(|| Arc::new(found));
            let source = source.map(|layout| table(&self.source, &layout));
            refuse_foreign_rows(source.as_ref(), &table(&self.target, &layout)).await?;
        }
        drop(connection);
        self.target.drop_database().await
    }

    async fn clear_user(&self, user: &str) -> Result<(), DatastoreError> {
        if self.target.connection.logs_in_as(user) {
            return Ok(());
        }
        self.target.drop_role(user).await
    }
}
