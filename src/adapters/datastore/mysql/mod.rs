//! MySQL and MariaDB with kine's table: rows pass as bytes, never as text with escapes.
mod layout;
mod look;
mod server;
mod table;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{MySqlConnection, Row as _};

use super::{
    Comparison, Connection, Copied, DatastoreError, Later, Look, Meter, Pair, Position, Raised,
    kine::{At, compare, copy_all, copy_since, later, refuse_foreign_rows},
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

    async fn source_layout(&self) -> Result<Arc<Layout>, DatastoreError> {
        let mut connection = self.source.connect().await?;
        let layout = Layout::read(&self.source, &mut connection).await?;
        let missing = || {
            self.source
                .unexpected(format!("database {} has no table kine", self.source.schema))
        };
        layout.map(Arc::new).ok_or_else(missing)
    }

    async fn target_layout(&self) -> Result<Option<Layout>, DatastoreError> {
        Layout::read(&self.target, &mut self.target.connect().await?).await
    }

    /// Both tables, whether or not the target has one.
    fn tables(&self, layout: &Arc<Layout>) -> (MySqlTable, MySqlTable) {
        let table = |server: &Arc<Server>| MySqlTable {
            server: server.clone(),
            layout: layout.clone(),
        };
        (table(&self.source), table(&self.target))
    }

    /// Makes the target's database and table where they are missing.
    async fn make_target(&self, layout: &Layout) -> Result<(), DatastoreError> {
        let mut connection = self.target.connect().await?;
        if Layout::read(&self.target, &mut connection).await?.is_none() {
            let database = layout.database_statement(&self.target);
            self.target
                .run(&mut connection, "making the database", database)
                .await?;
            let table = layout.table_statement(&self.target)?;
            self.target
                .run(&mut connection, "making the table", table)
                .await?;
        }
        let found = Layout::read(&self.target, &mut connection).await?;
        let found = found.ok_or_else(|| self.target.unexpected("its table kine is gone"))?;
        let strange = layout.strange_columns(&found);
        if !strange.is_empty() {
            return Err(self.target.unexpected(format!(
                "its table kine and the source's do not both have {}; drop it if nothing needs it",
                strange.join(", ")
            )));
        }
        // A transaction of a call that was dropped may still be on its way.
        let doing = "waiting for others to end their writes";
        let lock = format!("LOCK TABLES {} WRITE", self.target.table());
        self.target.run(&mut connection, doing, lock).await?;
        self.target
            .run(&mut connection, doing, "UNLOCK TABLES".to_owned())
            .await
    }

    /// The largest id at a server, and what its next row gets.
    async fn ids(
        server: &Server,
        connection: &mut MySqlConnection,
    ) -> Result<(u64, u64), DatastoreError> {
        let doing = "reading the table's next id";
        let failed = |error: sqlx::Error| server.failed(doing, &error);
        // Only where the server keeps the figure for a day (MySQL 8) it has to be told not to.
        let fresh = "/*!80000 SET SESSION information_schema_stats_expiry = 0 */".to_owned();
        server.run(connection, doing, fresh).await?;
        let sql = format!(
            "SELECT CAST(COALESCE(MAX(id), 0) AS UNSIGNED),
                (SELECT CAST(COALESCE(MAX(auto_increment), 0) AS UNSIGNED) FROM information_schema.tables
                    WHERE table_schema = ? AND table_name = 'kine')
            FROM {}",
            server.table()
        );
        let rows = server
            .ask(connection, doing, sql, &[&server.schema])
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| server.unexpected("it counts nothing"))?;
        Ok((
            row.try_get(0).map_err(failed)?,
            row.try_get(1).map_err(failed)?,
        ))
    }

    /// The next row gets the id behind the largest: one far above leaves a gap that kine fills number by number.
    async fn advance(&self) -> Result<(), DatastoreError> {
        let mut connection = self.target.connect().await?;
        let (largest, next) = Self::ids(&self.target, &mut connection).await?;
        if next == largest + 1 {
            return Ok(());
        }
        let sql = format!(
            "ALTER TABLE {} AUTO_INCREMENT = {}",
            self.target.table(),
            largest + 1
        );
        self.target
            .run(&mut connection, "setting the next id", sql)
            .await
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
        let layout = self.source_layout().await?;
        let (source, target) = self.tables(&layout);
        let since = since
            .map(|position| At::read(position, &self.source.store))
            .transpose()?;
        let anew = since.is_some() && self.target_layout().await?.is_none();
        self.make_target(&layout).await?;
        let copied = match since {
            Some(since) if !anew => copy_since(&source, &target, since, meter).await?,
            _ => copy_all(&source, &target, meter).await?,
        };
        self.advance().await?;
        Ok(Copied { anew, ..copied })
    }

    async fn raise(&self, _margin: u64) -> Result<Raised, DatastoreError> {
        let (source, _) = Self::ids(&self.source, &mut self.source.connect().await?).await?;
        let (_, before) = Self::ids(&self.target, &mut self.target.connect().await?).await?;
        self.advance().await?;
        let (_, now) = Self::ids(&self.target, &mut self.target.connect().await?).await?;
        Ok(Raised {
            source,
            before: before.saturating_sub(1),
            now: now.saturating_sub(1),
        })
    }

    async fn compare(&self, meter: &Meter) -> Result<Comparison, DatastoreError> {
        let layout = self.source_layout().await?;
        if self.target_layout().await?.is_none() {
            let database = &self.target.schema;
            return Err(self
                .target
                .unexpected(format!("database {database} has no table kine")));
        }
        let (source, target) = self.tables(&layout);
        compare(&source, &target, meter).await
    }

    async fn later(&self, since: &Position) -> Result<Option<Later>, DatastoreError> {
        let since = At::read(since, &self.source.store)?;
        let (source, _) = self.tables(&self.source_layout().await?);
        later(&source, since).await.map(Some)
    }

    async fn clear_target(&self) -> Result<(), DatastoreError> {
        let mut connection = self.target.connect().await?;
        let others = look::others(&self.target, &mut connection).await?;
        if !others.is_empty() {
            return Err(self.target.unexpected(format!(
                "database {} also holds {}: nothing is removed; move them elsewhere first",
                self.target.schema,
                others.join(", ")
            )));
        }
        if Layout::read(&self.target, &mut connection).await?.is_some() {
            let layout = self.source_layout().await?;
            let (source, target) = self.tables(&layout);
            refuse_foreign_rows(&source, &target).await?;
        }
        let sql = format!("DROP DATABASE IF EXISTS {}", quoted(&self.target.schema));
        self.target
            .run(&mut connection, "removing the database", sql)
            .await
    }

    async fn clear_user(&self, user: &str) -> Result<(), DatastoreError> {
        let mut connection = self.target.connect().await?;
        let sql = format!("DROP USER IF EXISTS {}@'%'", quoted(user));
        self.target
            .run(&mut connection, "removing the schema's user", sql)
            .await
    }
}
