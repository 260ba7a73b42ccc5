//! A MariaDB server on loopback: TLS and passwords for all who come by TCP.
use std::{
    process::Command,
    sync::{Mutex, Weak},
};

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{Connection, DatastoreError, Driver, MySqlPair};
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlConnection, mysql::MySqlConnectOptions};

use super::super::{
    super::support::wait_for,
    authority::Authority,
    free_ports,
    sql::{HOST, Home, PASSWORD, Process, Running, Shared, Sql},
};

/// A server.
pub struct Server(Running);

static SHARED: Shared<Server> = Mutex::new(Weak::new());

/// A user who comes by TCP and may do everything.
fn make_user(name: &str, how: &str) -> String {
    let password = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
    format!(
        "CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{password}' REQUIRE {how};\n\
        GRANT ALL ON *.* TO {name}@'127.0.0.1' WITH GRANT OPTION;\n"
    )
}

impl Sql for Server {
    type Pair = MySqlPair;
    type Client = MySqlConnection;

    const DRIVER: Driver = Driver::MySQL;
    const STORE: &'static str = "datastore gold";
    const PORT: u16 = 3306;
    const USER: &'static str = "admin";
    const MAINTENANCE: &'static str = "mysql";
    const QUOTE: char = '`';
    const TEXT: &'static str = "CHAR";
    const KINE: &'static str = "
        CREATE TABLE kine (id BIGINT UNSIGNED AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii,
            created INTEGER, deleted INTEGER, create_revision BIGINT UNSIGNED, prev_revision BIGINT UNSIGNED,
            lease INTEGER, value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id));
        CREATE INDEX kine_name_index ON kine (name);
        CREATE INDEX kine_name_id_index ON kine (name,id);
        CREATE INDEX kine_id_deleted_index ON kine (id,deleted);
        CREATE INDEX kine_prev_revision_index ON kine (prev_revision);
        CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)";
    /// As kine made it once.
    const NARROW: &'static str = "
        CREATE TABLE kine (id INTEGER AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii,
            created INTEGER, deleted INTEGER, create_revision INTEGER, prev_revision INTEGER,
            lease INTEGER, value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id));
        CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)";
    const WRITTEN: &'static str = "";
    const LOST_IDS: &'static str = "ALTER TABLE kine AUTO_INCREMENT = 500000";
    const LATE: [&'static str; 2] = [
        "INSERT INTO kine (name, prev_revision) VALUES ('/registry/a', 1)",
        "INSERT INTO kine (name, prev_revision) VALUES ('/registry/a', 2)",
    ];
    const FLIPPED: &'static str = "INSERT(value, 41, 1, CHAR(ASCII(SUBSTRING(value, 41, 1)) ^ 1))";
    const DIGEST: &'static str = "SELECT CONCAT(COUNT(*), ':', BIT_XOR(CAST(CONV(SUBSTRING(
        MD5(CONCAT_WS('|', id, HEX(name), created, deleted, create_revision, prev_revision, lease,
            COALESCE(MD5(value), 'null'), COALESCE(MD5(old_value), 'null'))), 1, 16), 16, 10) AS UNSIGNED)))
        FROM kine";
    const DEFINITION: &'static str = "SELECT GROUP_CONCAT(CONCAT_WS(' ', index_name, non_unique, column_name)
        ORDER BY index_name, seq_in_index) FROM information_schema.statistics WHERE table_schema = DATABASE()";
    const DATABASES: &'static str = "SELECT COUNT(*) FROM information_schema.schemata";
    const STRANGE: [&'static str; 3] = ["50%_of `it`; DROP TABLE kine", "it's\\n\"", "größe-1.eu"];
    const NO_SCHEMA: &'static str = "has no table kine";
    const REFUSALS: [&'static str; 3] = [
        "Access denied for user 'admin'@",
        "Access denied",
        "Access denied for user 'certified'@",
    ];

    fn start() -> Result<Self> {
        let home = Home::new()?;
        let ([port], data) = (free_ports()?, format!("--datadir={}", home.text("data")));
        // Whichever begins removes what looks left over where temporary tables are: in /tmp those of all.
        let temporary = format!("--tmpdir={}", home.text(""));
        let init = [
            "--no-defaults",
            &data,
            &temporary,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ];
        home.run("mariadb-install-db", &init)?;
        let authority = Authority::new()?;
        home.certify(&authority, HOST)?;
        home.write("users.sql", &make_user(Self::USER, "SSL"))?;
        let mut command = home.command("/usr/sbin/mariadbd");
        command.args([
            "--no-defaults",
            &data,
            &temporary,
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
        Ok(Self(Running::new(process, home, port, authority)))
    }

    fn running(&self) -> &Running {
        &self.0
    }

    fn shared() -> &'static Shared<Self> {
        &SHARED
    }

    fn open(
        source: &Connection,
        target: &Connection,
        schema: &str,
    ) -> Result<MySqlPair, DatastoreError> {
        MySqlPair::open(source, target, schema)
    }

    async fn database(&self, name: &str) -> Result<MySqlConnection> {
        let options = MySqlConnectOptions::new().socket(self.0.home.path("socket"));
        Ok(options.username("root").database(name).connect().await?)
    }

    async fn execute(client: &mut MySqlConnection, sql: String) -> Result<u64> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(client).await?;
        Ok(done.rows_affected())
    }

    async fn text(client: &mut MySqlConnection, sql: String) -> Result<Option<String>> {
        Ok(sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(client)
            .await?)
    }

    fn many(rows: u32) -> String {
        format!(
            "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value)
            SELECT CONCAT('/registry/configmaps/shop/', seq), 1, 0, 0, 0, 0, UNHEX(REPEAT(MD5(seq), 64))
            FROM seq_1_to_{rows}"
        )
    }

    fn bytes(digits: &str) -> String {
        format!("x'{digits}'")
    }

    fn compaction(revision: i64) -> String {
        format!(
            "DELETE kv FROM kine AS kv INNER JOIN (
                SELECT kp.prev_revision AS id FROM kine AS kp
                    WHERE kp.name != 'compact_rev_key' AND kp.prev_revision != 0 AND kp.id <= {revision}
                UNION SELECT kd.id AS id FROM kine AS kd WHERE kd.deleted != 0 AND kd.id <= {revision}
            ) AS ks ON kv.id = ks.id"
        )
    }

    fn arguments(&self, schema: &str) -> Vec<String> {
        let (user, port) = (Self::USER, self.0.port);
        vec![format!(
            "--endpoint=mysql://{user}:{PASSWORD}@tcp(127.0.0.1:{port})/{schema}?tls=skip-verify"
        )]
    }

    fn dump(&self, schema: &str) -> Command {
        let mut command = Command::new("mariadb-dump");
        let socket = format!("--socket={}", self.0.home.text("socket"));
        command.args(["--no-defaults", &socket, "--user=root"]);
        command.args(["--no-create-info", schema, "kine"]);
        command
    }

    fn make_certified() -> String {
        make_user("certified", "X509")
    }
}
