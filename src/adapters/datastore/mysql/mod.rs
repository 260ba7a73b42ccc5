//! MySQL and MariaDB with kine's table: rows pass as bytes, never as text with escapes.
mod layout;
mod look;
mod server;
mod table;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize as _;
use serde_json::Value;
use sqlx::Row as _;
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
use server::{Server, quoted};
use table::MySqlTable;

/// A schema in two MySQL or MariaDB servers.
#[derive(Debug)]
pub struct MySqlPair {
    source: Arc<Server>,
    target: Arc<Server>,
}

impl MySqlPair {
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
        let mut connection = server.connect().await?;
        let layout = Layout::read(server, &mut connection).await?;
        server.give_back(connection);
        Ok(layout)
    }

    async fn source_layout(&self) -> Result<Arc<Layout>, DatastoreError> {
        let layout = Self::layout_of(&self.source).await?;
        layout.map(Arc::new).ok_or_else(|| self.source.no_table())
    }

    /// Makes the target's database and table where they are missing; whether they were.
    async fn make_target(&self, layout: &Layout) -> Result<bool, DatastoreError> {
        let mut connection = self.target.connect().await?;
        let mut found = Layout::read(&self.target, &mut connection).await?;
        let made = found.is_none();
        if made {
            let database = layout.database_statement(&self.target);
            self.target
                .run(&mut connection, "making the database", database)
                .await?;
            let table = layout.table_statement(&self.target)?;
            self.target
                .run(&mut connection, "making the table", table)
                .await?;
            found = Layout::read(&self.target, &mut connection).await?;
        }
        let found = found.ok_or_else(|| self.target.no_table())?;
        layout.check_target(&found, &self.target)?;
        // A transaction of a call that was dropped may still be on its way.
        let doing = "waiting for others to end their writes";
        let lock = format!("LOCK TABLES {} WRITE", self.target.table());
        self.target.run(&mut connection, doing, lock).await?;
        self.target
            .run(&mut connection, doing, "UNLOCK TABLES".to_owned())
            .await?;
        self.target.give_back(connection);
        Ok(made)
    }

    /// The largest id at a server, and what its next row gets.
    async fn ids(server: &Server) -> Result<(u64, u64), DatastoreError> {
        let mut connection = server.connect().await?;
        let doing = "reading the table's next id";
        let failed = |error: sqlx::Error| server.failed(doing, &error);
        // Only where the server keeps the figure for a day (MySQL 8) it has to be told not to.
        let fresh = "/*!80000 SET SESSION information_schema_stats_expiry = 0 */".to_owned();
        server.run(&mut connection, doing, fresh).await?;
        let sql = format!(
            "SELECT CAST(COALESCE(MAX(id), 0) AS UNSIGNED),
                (SELECT CAST(COALESCE(MAX(auto_increment), 0) AS UNSIGNED) FROM information_schema.tables
                    WHERE table_schema = ? AND table_name = 'kine')
            FROM {}",
            server.table()
        );
        let rows = server
            .ask(&mut connection, doing, sql, &[&server.schema])
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| server.unexpected("it counts nothing"))?;
        let ids = (
            row.try_get(0).map_err(failed)?,
            row.try_get(1).map_err(failed)?,
        );
        server.give_back(connection);
        Ok(ids)
    }

    /// The next row gets the id behind the largest: one far above leaves a gap that kine fills number by number.
    async fn advance(&self) -> Result<(), DatastoreError> {
        let (largest, next) = Self::ids(&self.target).await?;
        if next == largest + 1 {
            return Ok(());
        }
        let sql = format!(
            "ALTER TABLE {} AUTO_INCREMENT = {}",
            self.target.table(),
            largest + 1
        );
        let mut connection = self.target.connect().await?;
        self.target
            .run(&mut connection, "setting the next id", sql)
            .await?;
        self.target.give_back(connection);
        Ok(())
    }
}

fn table(server: &Arc<Server>, layout: &Arc<Layout>) -> MySqlTable {
    MySqlTable {
        server: server.clone(),
        layout: layout.clone(),
    }
}

#[async_trait]
impl Pair for MySqlPair {
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
        let target = table(&self.target, &layout);
        let made = self.make_target(&layout).await?;
        let copied = match since {
            Some(since) if !made => copy_since(&source, &target, since, meter).await?,
            _ => copy_all(&source, &target, meter).await?,
        };
        self.advance().await?;
        Ok(Copied {
            anew: made && since.is_some(),
            ..copied
        })
    }

    async fn compare(&self, meter: &Meter) -> Result<Comparison, DatastoreError> {
        let layout = self.source_layout().await?;
        if Self::layout_of(&self.target).await?.is_none() {
            return Err(self.target.no_table());
        }
        let source = table(&self.source, &layout);
        compare(&source, &table(&self.target, &layout), meter).await
    }

    async fn later(&self, since: &Position) -> Result<Option<Later>, DatastoreError> {
        let since = At::read(since, &self.source.store)?;
        let layout = self.source_layout().await?;
        later(&table(&self.source, &layout), since.id())
            .await
            .map(Some)
    }

    async fn lead(&self, margin: u64) -> Result<Raised, DatastoreError> {
        let layout = self.source_layout().await?;
        let target = table(&self.target, &layout);
        let led = lead(&table(&self.source, &layout), &target, margin).await?;
        self.advance().await?;
        Ok(led)
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
        self.make_target(&layout).await?;
        load(&table(&self.target, &layout), records, meter).await?;
        self.advance().await
    }

    async fn clear_target(&self) -> Result<(), DatastoreError> {
        let mut connection = self.target.connect().await?;
        let others = look::others(&self.target, &mut connection).await?;
        self.target.refuse_others(&others)?;
        if let Some(found) = Layout::read(&self.target, &mut connection).await? {
            let source = Self::layout_of(&self.source).await?.map(Arc::new);
            let layout = source.clone().unwrap_or_else(|| Arc::new(found));
            let source = source.map(|layout| table(&self.source, &layout));
            refuse_foreign_rows(source.as_ref(), &table(&self.target, &layout)).await?;
        }
        let sql = format!("DROP DATABASE IF EXISTS {}", quoted(&self.target.schema));
        self.target
            .run(&mut connection, "removing the database", sql)
            .await
    }

    async fn clear_user(&self, user: &str) -> Result<(), DatastoreError> {
        if self.target.connection.logs_in_as(user) {
            return Ok(());
        }
        let mut connection = self.target.connect().await?;
        let sql = format!("DROP USER IF EXISTS {}@'%'", quoted(user));
        self.target
            .run(&mut connection, "removing the schema's user", sql)
            .await
    }
}
