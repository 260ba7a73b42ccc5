//! A MariaDB server on loopback: TLS and passwords for all who come by TCP.
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{BasicAuth, Connection, Driver, Endpoint, MySqlPair};
use rustix::process::Signal;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, MySqlConnection, mysql::MySqlConnectOptions,
};

use super::super::{
    super::support::wait_for,
    sql::{Authority, HOST, Home, PASSWORD, Process, Row, free_port},
};

/// kine's statements, as it makes its table.
const KINE: &str = "
    CREATE TABLE kine (id BIGINT UNSIGNED AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii,
        created INTEGER, deleted INTEGER, create_revision BIGINT UNSIGNED, prev_revision BIGINT UNSIGNED,
        lease INTEGER, value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id));
    CREATE INDEX kine_name_index ON kine (name);
    CREATE INDEX kine_name_id_index ON kine (name,id);
    CREATE INDEX kine_id_deleted_index ON kine (id,deleted);
    CREATE INDEX kine_prev_revision_index ON kine (prev_revision);
    CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)";
/// The table as kine made it once.
pub const NARROW: &str = "
    CREATE TABLE kine (id INTEGER AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii,
        created INTEGER, deleted INTEGER, create_revision INTEGER, prev_revision INTEGER,
        lease INTEGER, value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id));
    CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)";
/// What kine's compaction removes.
const COMPACT: &str = "DELETE kv FROM kine AS kv INNER JOIN (
        SELECT kp.prev_revision AS id FROM kine AS kp
            WHERE kp.name != 'compact_rev_key' AND kp.prev_revision != 0 AND kp.id <= ?
        UNION SELECT kd.id AS id FROM kine AS kd WHERE kd.deleted != 0 AND kd.id <= ?
    ) AS ks ON kv.id = ks.id";

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

    pub fn pair(&self, schema: &str) -> Result<MySqlPair> {
        Ok(MySqlPair::open(
            &self.source.connection(),
            &self.target.connection(),
            schema,
        )?)
    }
}

impl Server {
    pub fn start() -> Result<Self> {
        let home = Home::new()?;
        let (port, data) = (free_port()?, format!("--datadir={}", home.text("data")));
        let init = [
            "--no-defaults",
            &data,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ];
        home.run("mariadb-install-db", &init)?;
        let authority = Authority::new()?;
        let identity = authority.server(HOST)?;
        home.write("server.crt", &identity.certificate)?;
        home.write_secret("server.key", &identity.key)?;
        home.write("ca.crt", &authority.certificate)?;
        let password = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
        let users = format!(
            "CREATE USER admin@'127.0.0.1' IDENTIFIED BY '{password}' REQUIRE SSL;\n\
            GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;\n\
            CREATE USER certified@'127.0.0.1' IDENTIFIED BY '{password}' REQUIRE X509;\n\
            GRANT ALL ON *.* TO certified@'127.0.0.1' WITH GRANT OPTION;\n"
        );
        home.write("users.sql", &users)?;
        let mut command = home.command("/usr/sbin/mariadbd");
        command.args([
            "--no-defaults",
            &data,
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
        ]);
        command.args([
            "--innodb-flush-log-at-trx-commit=0",
            "--max-allowed-packet=16M",
        ]);
        command.arg(format!("--port={port}"));
        for (setting, file) in [
            ("socket", "socket"),
            ("pid-file", "pid"),
            ("ssl-ca", "ca.crt"),
            ("ssl-cert", "server.crt"),
            ("ssl-key", "server.key"),
            ("init-file", "users.sql"),
        ] {
            command.arg(format!("--{setting}={}", home.text(file)));
        }
        let mut process = Process::start(command, &home.path("log"), Signal::TERM)?;
        wait_for("the server to be ready", || {
            let log = std::fs::read_to_string(home.path("log"))?;
            ensure!(!process.has_ended()?, "{log}");
            Ok(log.contains("ready for connections").then_some(()))
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
            name: "datastore gold".to_owned(),
            driver: Driver::MySQL,
            endpoints: vec![Endpoint {
                dial: SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
                host: HOST.to_owned(),
                shown: format!("{HOST}:3306"),
            }],
            authority: Some(self.authority.certificate.clone()),
            identity: None,
            basic: Some(BasicAuth {
                user: "admin".to_owned(),
                password: PASSWORD.into(),
            }),
        }
    }

    /// A connection to a database, without the ways that are tested.
    pub async fn database(&self, name: &str) -> Result<MySqlConnection> {
        let options = MySqlConnectOptions::new().socket(self.home.path("socket"));
        Ok(options.username("root").database(name).connect().await?)
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
        let sql = format!("SELECT CAST(({sql}) AS CHAR)");
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
        let name = schema.replace('`', "``");
        self.run("mysql", &format!("CREATE DATABASE `{name}`"))
            .await?;
        self.run(schema, table).await
    }

    /// Writes rows as they are.
    pub async fn write(&self, schema: &str, rows: &[Row]) -> Result<()> {
        let mut connection = self.database(schema).await?;
        connection.execute("BEGIN").await?;
        for row in rows {
            sqlx::query("INSERT INTO kine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
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
        connection.execute("COMMIT").await?;
        Ok(())
    }

    /// Compacts as kine does.
    pub async fn compact(&self, schema: &str, revision: i64) -> Result<u64> {
        let mut connection = self.database(schema).await?;
        let removed = sqlx::query(COMPACT)
            .bind(revision)
            .bind(revision)
            .execute(&mut connection)
            .await?;
        sqlx::query("UPDATE kine SET prev_revision = ? WHERE name = 'compact_rev_key'")
            .bind(revision)
            .execute(&mut connection)
            .await?;
        Ok(removed.rows_affected())
    }

    /// All rows in one digest, by the server's own account.
    pub async fn digest(&self, schema: &str) -> Result<Option<String>> {
        let row = "MD5(CONCAT_WS('|', id, HEX(name), created, deleted, create_revision, prev_revision, lease, \
            COALESCE(MD5(value), 'null'), COALESCE(MD5(old_value), 'null')))";
        let number = format!("CAST(CONV(SUBSTRING({row}, 1, 16), 16, 10) AS UNSIGNED)");
        self.ask(
            schema,
            &format!("SELECT CONCAT(COUNT(*), ':', BIT_XOR({number})) FROM kine"),
        )
        .await
    }
}
