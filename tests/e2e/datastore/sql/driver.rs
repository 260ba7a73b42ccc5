//! A server as the cases see it, and how its SQL differs from the others'.
use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use anyhow::Result;
use kubectl_migrate::adapters::datastore::{
    BasicAuth, Connection, DatastoreError, Driver, Endpoint, Pair,
};

use super::{HOST, PASSWORD, Row, Running};

/// A server of a driver.
pub trait Sql: Send + Sync + Sized + 'static {
    /// What is tested.
    type Pair: Pair;
    /// A connection beside the ways that are tested.
    type Client;

    /// What it is.
    const DRIVER: Driver;
    /// What people call it.
    const STORE: &'static str;
    /// Its port as its DataStore names it.
    const PORT: u16;
    /// Its administrator.
    const USER: &'static str;
    /// The database that is always there.
    const MAINTENANCE: &'static str;
    /// What stands around a name.
    const QUOTE: char;
    /// What a text is cast to.
    const TEXT: &'static str;
    /// kine's table with its indexes.
    const KINE: &'static str;
    /// The same with 32-bit ids.
    const NARROW: &'static str;
    /// What comes after rows that were written with their ids.
    const WRITTEN: &'static str;
    /// A statement after which the next id is not the one behind the largest.
    const LOST_IDS: &'static str;
    /// Two rows, of which the first may be committed after the second.
    const LATE: [&'static str; 2];
    /// A row's value with one of its bits changed.
    const FLIPPED: &'static str;
    /// All rows in one text, by the server's own account.
    const DIGEST: &'static str;
    /// What the table is made of.
    const DEFINITION: &'static str;
    /// How many databases there are.
    const DATABASES: &'static str;
    /// Names that are no others' in any statement.
    const STRANGE: [&'static str; 3];
    /// What a look says of a schema `findings` that is not there.
    const NO_SCHEMA: &'static str;
    /// What the server says of a wrong password, of one who comes without TLS, and of the user `certified` without
    /// a certificate.
    const REFUSALS: [&'static str; 3];

    /// Starts it.
    fn start() -> Result<Self>;
    /// Where two of them are kept for all.
    fn shared() -> &'static Shared<Self>;
    /// What runs.
    fn running(&self) -> &Running;
    /// A schema in two of them.
    fn open(
        source: &Connection,
        target: &Connection,
        schema: &str,
    ) -> Result<Self::Pair, DatastoreError>;
    /// Connects to a database.
    async fn database(&self, name: &str) -> Result<Self::Client>;
    /// Runs statements; how many rows they changed.
    async fn execute(client: &mut Self::Client, sql: String) -> Result<u64>;
    /// The only column of the only row.
    async fn text(client: &mut Self::Client, sql: String) -> Result<Option<String>>;
    /// Fills kine's table with so many rows.
    fn many(rows: u32) -> String;
    /// Bytes as they stand in a statement, from their hexadecimal digits.
    fn bytes(digits: &str) -> String;
    /// What kine's compaction runs.
    fn compaction(revision: i64) -> String;
    /// What kine is told of it.
    fn arguments(&self, schema: &str) -> Vec<String>;
    /// The server's own program that writes kine's rows to its standard output.
    fn dump(&self, schema: &str) -> Command;
    /// Makes the user `certified`, who has to show a certificate.
    fn make_certified() -> String;

    /// As a DataStore names it: by a name that only its certificate has, through a way of its own.
    fn connection(&self) -> Connection {
        Connection {
            name: Self::STORE.to_owned(),
            driver: Self::DRIVER,
            endpoints: vec![Endpoint {
                dial: SocketAddr::from((Ipv4Addr::LOCALHOST, self.running().port)),
                host: HOST.to_owned(),
                shown: format!("{HOST}:{}", Self::PORT),
            }],
            authority: Some(self.running().authority.pem()),
            identity: None,
            basic: Some(user(Self::USER)),
        }
    }

    /// Runs statements in a database.
    async fn run(&self, database: &str, sql: &str) -> Result<()> {
        let mut client = self.database(database).await?;
        Self::execute(&mut client, sql.to_owned()).await.map(drop)
    }

    /// A figure or a text.
    async fn ask(&self, database: &str, sql: &str) -> Result<Option<String>> {
        let mut client = self.database(database).await?;
        let sql = format!("SELECT CAST(({sql}) AS {})", Self::TEXT);
        Self::text(&mut client, sql).await
    }

    /// Makes a tenant's database with kine's table.
    async fn make(&self, schema: &str) -> Result<()> {
        self.make_with(schema, Self::KINE).await
    }

    /// Makes a tenant's database with a table.
    async fn make_with(&self, schema: &str, table: &str) -> Result<()> {
        let quote = Self::QUOTE;
        let name = schema.replace(quote, &format!("{quote}{quote}"));
        let sql = format!("CREATE DATABASE {quote}{name}{quote}");
        self.run(Self::MAINTENANCE, &sql).await?;
        self.run(schema, table).await
    }

    /// Writes rows as they are.
    async fn write(&self, schema: &str, rows: &[Row]) -> Result<()> {
        let mut client = self.database(schema).await?;
        Self::execute(&mut client, "BEGIN".to_owned()).await?;
        for row in rows {
            Self::execute(&mut client, insert::<Self>(row)).await?;
        }
        let end = format!("{}COMMIT", Self::WRITTEN);
        Self::execute(&mut client, end).await.map(drop)
    }

    /// Compacts as kine does; how many rows it removed.
    async fn compact(&self, schema: &str, revision: i64) -> Result<u64> {
        let mut client = self.database(schema).await?;
        let removed = Self::execute(&mut client, Self::compaction(revision)).await?;
        let sql =
            format!("UPDATE kine SET prev_revision = {revision} WHERE name = 'compact_rev_key'");
        Self::execute(&mut client, sql).await?;
        Ok(removed)
    }

    /// All rows in one digest, by the server's own account.
    async fn digest(&self, schema: &str) -> Result<Option<String>> {
        self.ask(schema, Self::DIGEST).await
    }
}

fn insert<S: Sql>(row: &Row) -> String {
    let bytes = |value: &Option<Vec<u8>>| match value {
        Some(value) => S::bytes(&hex(value)),
        None => "NULL".to_owned(),
    };
    let Row {
        id,
        name,
        created,
        deleted,
        create_revision,
        prev_revision,
        lease,
        value,
        old_value,
    } = row;
    let (value, old_value) = (bytes(value), bytes(old_value));
    format!(
        "INSERT INTO kine VALUES ({id}, '{name}', {created}, {deleted}, {create_revision}, {prev_revision}, \
        {lease}, {value}, {old_value})"
    )
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// A user with the password of all.
pub fn user(name: &str) -> BasicAuth {
    BasicAuth {
        user: name.to_owned(),
        password: PASSWORD.into(),
    }
}

/// Where a driver's servers are found by all tests of a process.
pub type Shared<S> = Mutex<Weak<Servers<S>>>;

/// Two servers.
pub struct Servers<S> {
    pub source: S,
    pub target: S,
}

impl<S: Sql> Servers<S> {
    pub fn start() -> Result<Self> {
        Ok(Self {
            source: S::start()?,
            target: S::start()?,
        })
    }

    /// Two that other tests use, too, each its own schemas.
    pub fn shared() -> Result<Arc<Self>> {
        let mut shared = S::shared().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(servers) = shared.upgrade() {
            return Ok(servers);
        }
        let servers = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&servers);
        Ok(servers)
    }

    pub fn pair(&self, schema: &str) -> Result<S::Pair> {
        let (source, target) = (self.source.connection(), self.target.connection());
        Ok(S::open(&source, &target, schema)?)
    }
}
