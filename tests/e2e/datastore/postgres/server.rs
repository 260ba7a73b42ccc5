//! A PostgreSQL server on loopback: TLS and passwords for all who come by TCP.
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{BasicAuth, Connection, Driver, Endpoint, PostgresPair};
use rustix::process::Signal;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, postgres::PgConnectOptions,
};

use super::super::{
    super::support::wait_for,
    sql::{Authority, HOST, Home, PASSWORD, Process, Row, free_port},
};

/// kine's statements, as it makes its table.
const KINE: &str = "
    CREATE TABLE kine (id BIGSERIAL PRIMARY KEY, name VARCHAR(630), created INTEGER, deleted INTEGER,
        create_revision BIGINT, prev_revision BIGINT, lease INTEGER, value bytea, old_value bytea);
    CREATE INDEX kine_name_index ON kine (name);
    CREATE INDEX kine_name_id_index ON kine (name,id);
    CREATE INDEX kine_id_deleted_index ON kine (id,deleted);
    CREATE INDEX kine_prev_revision_index ON kine (prev_revision);
    CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)";
/// The table as Kamaji's own migration makes it.
pub const KAMAJI: &str = "
    CREATE TABLE kine (id SERIAL PRIMARY KEY, name VARCHAR(630), created INTEGER, deleted INTEGER,
        create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value bytea, old_value bytea);
    CREATE INDEX kine_name_index ON kine (name);
    CREATE INDEX kine_name_id_index ON kine (name,id);
    CREATE INDEX kine_id_deleted_index ON kine (id,deleted);
    CREATE INDEX kine_prev_revision_index ON kine (prev_revision);
    CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)";
/// What kine's compaction removes.
const COMPACT: &str = "DELETE FROM kine AS kv USING (
        SELECT kp.prev_revision AS id FROM kine AS kp
            WHERE kp.name != 'compact_rev_key' AND kp.prev_revision != 0 AND kp.id <= $1
        UNION SELECT kd.id AS id FROM kine AS kd WHERE kd.deleted != 0 AND kd.id <= $1
    ) AS ks WHERE kv.id = ks.id";

/// A server.
pub struct Server {
    process: Mutex<Process>,
    home: Home,
    port: u16,
    pub authority: Authority,
}

/// Two servers.
pub struct Servers {
    pub source: Server,
    pub target: Server,
}

static SHARED: Mutex<Weak<Servers>> = Mutex::new(Weak::new());

impl Servers {
    pub fn start() -> Result<Self> {
        Ok(Self {
            source: Server::start()?,
            target: Server::start()?,
        })
    }

    /// Two that other tests use, too, each its own schemas.
    pub fn shared() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(servers) = shared.upgrade() {
            return Ok(servers);
        }
        let servers = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&servers);
        Ok(servers)
    }

    pub fn pair(&self, schema: &str) -> Result<PostgresPair> {
        Ok(PostgresPair::open(
            &self.source.connection(),
            &self.target.connection(),
            schema,
        )?)
    }
}

/// Where Debian puts the server's programs, which are not on PATH: of the newest version.
fn program(name: &str) -> Result<String> {
    let mut found = Vec::new();
    for version in std::fs::read_dir("/usr/lib/postgresql")? {
        let path = version?.path().join("bin").join(name);
        found.extend(path.exists().then(|| path.to_string_lossy().into_owned()));
    }
    found.sort();
    found
        .pop()
        .ok_or_else(|| anyhow::anyhow!("no {name}: apt-get install postgresql"))
}

impl Server {
    pub fn start() -> Result<Self> {
        let home = Home::new()?;
        let (port, data) = (free_port()?, home.text("data"));
        home.write("password", PASSWORD)?;
        let password = format!("--pwfile={}", home.text("password"));
        let init = [
            "-D",
            &data,
            "-U",
            "postgres",
            &password,
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ];
        home.run(&program("initdb")?, &init)?;
        let authority = Authority::new()?;
        let identity = authority.server(HOST)?;
        home.write("server.crt", &identity.certificate)?;
        home.write_secret("server.key", &identity.key)?;
        home.write("ca.crt", &authority.certificate)?;
        let access = "local all all trust\n\
            hostssl all certified 127.0.0.1/32 cert\n\
            hostssl all all 127.0.0.1/32 scram-sha-256\n";
        home.write("access", access)?;
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", home.text("")),
            format!("hba_file={}", home.text("access")),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", home.text("server.crt")),
            format!("ssl_key_file={}", home.text("server.key")),
            format!("ssl_ca_file={}", home.text("ca.crt")),
            "fsync=off".to_owned(),
        ];
        let mut command = home.command(&program("postgres")?);
        command.args(["-D", &data]);
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        let mut process = Process::start(command, &home.path("log"), Signal::INT)?;
        let socket = home.path(&format!(".s.PGSQL.{port}"));
        wait_for("the server's socket", || {
            ensure!(
                !process.has_ended()?,
                std::fs::read_to_string(home.path("log"))?
            );
            let log = std::fs::read_to_string(home.path("log"))?;
            Ok((socket.exists() && log.contains("ready to accept connections")).then_some(()))
        })?;
        Ok(Self {
            process: Mutex::new(process),
            home,
            port,
            authority,
        })
    }

    /// Ends it.
    pub fn stop(&self) {
        self.process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stop();
    }

    /// As a DataStore names it: by a name that only its certificate has, through a way of its own.
    pub fn connection(&self) -> Connection {
        Connection {
            name: "datastore silver".to_owned(),
            driver: Driver::PostgreSQL,
            endpoints: vec![Endpoint {
                dial: SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
                host: HOST.to_owned(),
                shown: format!("{HOST}:5432"),
            }],
            authority: Some(self.authority.certificate.clone()),
            identity: None,
            basic: Some(BasicAuth {
                user: "postgres".to_owned(),
                password: PASSWORD.into(),
            }),
        }
    }

    /// A connection to a database, without the ways that are tested.
    pub async fn database(&self, name: &str) -> Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.home.path(""))
            .port(self.port);
        Ok(options
            .username("postgres")
            .database(name)
            .connect()
            .await?)
    }

    /// Runs statements in a database.
    pub async fn run(&self, database: &str, sql: &str) -> Result<()> {
        let mut connection = self.database(database).await?;
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
            .await?;
        Ok(())
    }

    /// A figure or a text.
    pub async fn ask(&self, database: &str, sql: &str) -> Result<Option<String>> {
        let mut connection = self.database(database).await?;
        let sql = format!("SELECT ({sql})::text");
        Ok(sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await?)
    }

    /// Makes a tenant's database with kine's table.
    pub async fn make(&self, schema: &str) -> Result<()> {
        self.make_with(schema, KINE).await
    }

    /// Makes a tenant's database with a table.
    pub async fn make_with(&self, schema: &str, table: &str) -> Result<()> {
        let name = schema.replace('"', "\"\"");
        self.run("postgres", &format!("CREATE DATABASE \"{name}\""))
            .await?;
        self.run(schema, table).await
    }

    /// Writes rows as they are, and lets the sequence go on behind them.
    pub async fn write(&self, schema: &str, rows: &[Row]) -> Result<()> {
        let mut connection = self.database(schema).await?;
        connection.execute("BEGIN").await?;
        for row in rows {
            sqlx::query("INSERT INTO kine VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
                .bind(row.id)
                .bind(&row.name)
                .bind(row.created)
                .bind(row.deleted)
                .bind(row.create_revision)
                .bind(row.prev_revision)
                .bind(row.lease)
                .bind(&row.value)
                .bind(&row.old_value)
                .execute(&mut connection)
                .await?;
        }
        connection
            .execute("SELECT setval('kine_id_seq', max(id)) FROM kine")
            .await?;
        connection.execute("COMMIT").await?;
        Ok(())
    }

    /// Compacts as kine does.
    pub async fn compact(&self, schema: &str, revision: i64) -> Result<u64> {
        let mut connection = self.database(schema).await?;
        let removed = sqlx::query(COMPACT)
            .bind(revision)
            .execute(&mut connection)
            .await?;
        sqlx::query("UPDATE kine SET prev_revision = $1 WHERE name = 'compact_rev_key'")
            .bind(revision)
            .execute(&mut connection)
            .await?;
        Ok(removed.rows_affected())
    }

    /// All rows in one digest, by the server's own account.
    pub async fn digest(&self, schema: &str) -> Result<Option<String>> {
        let sql = "SELECT count(*) || md5(string_agg(md5(k::text), '' ORDER BY id)) FROM kine k";
        self.ask(schema, sql).await
    }
}
