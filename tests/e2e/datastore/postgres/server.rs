//! A PostgreSQL server on loopback: TLS and passwords for all who come by TCP.
use std::{
    process::Command,
    sync::{Mutex, Weak},
};

use anyhow::{Result, ensure};
use kubectl_migrate::adapters::datastore::{Connection, DatastoreError, Driver, PostgresPair};
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, postgres::PgConnectOptions};

use super::super::{
    super::support::wait_for,
    authority::Authority,
    free_ports,
    sql::{HOST, Home, PASSWORD, Process, Running, Shared, Sql},
};

/// A server.
pub struct Server(Running);

static SHARED: Shared<Server> = Mutex::new(Weak::new());

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

impl Sql for Server {
    type Pair = PostgresPair;
    type Client = PgConnection;

    const DRIVER: Driver = Driver::PostgreSQL;
    const STORE: &'static str = "datastore silver";
    const PORT: u16 = 5432;
    const USER: &'static str = "postgres";
    const MAINTENANCE: &'static str = "postgres";
    const QUOTE: char = '"';
    const TEXT: &'static str = "text";
    const KINE: &'static str = "
        CREATE TABLE kine (id BIGSERIAL PRIMARY KEY, name VARCHAR(630), created INTEGER, deleted INTEGER,
            create_revision BIGINT, prev_revision BIGINT, lease INTEGER, value bytea, old_value bytea);
        CREATE INDEX kine_name_index ON kine (name);
        CREATE INDEX kine_name_id_index ON kine (name,id);
        CREATE INDEX kine_id_deleted_index ON kine (id,deleted);
        CREATE INDEX kine_prev_revision_index ON kine (prev_revision);
        CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)";
    /// As Kamaji's own migration makes it.
    const NARROW: &'static str = "
        CREATE TABLE kine (id SERIAL PRIMARY KEY, name VARCHAR(630), created INTEGER, deleted INTEGER,
            create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value bytea, old_value bytea);
        CREATE INDEX kine_name_index ON kine (name);
        CREATE INDEX kine_name_id_index ON kine (name,id);
        CREATE INDEX kine_id_deleted_index ON kine (id,deleted);
        CREATE INDEX kine_prev_revision_index ON kine (prev_revision);
        CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)";
    const WRITTEN: &'static str = "SELECT setval('kine_id_seq', max(id)) FROM kine;";
    /// The trap: a COPY leaves the sequence where it was, and kine's next rows get ids that are taken or old.
    const LOST_IDS: &'static str = "SELECT setval('kine_id_seq', 1, false)";
    const LATE: [&'static str; 2] = ["INSERT INTO kine (name, prev_revision, value) VALUES ('/registry/a', nextval('kine_id_seq'), 'x')";
        2];
    const FLIPPED: &'static str = "set_byte(value, 40, get_byte(value, 40) # 1)";
    const DIGEST: &'static str =
        "SELECT count(*) || md5(string_agg(md5(k::text), '' ORDER BY id)) FROM kine k";
    const DEFINITION: &'static str = "SELECT string_agg(d, ';' ORDER BY d) FROM (
        SELECT indexdef d FROM pg_indexes WHERE tablename = 'kine' UNION ALL
        SELECT column_name || data_type || coalesce(column_default, '') FROM information_schema.columns
        WHERE table_name = 'kine') all_of_it";
    const DATABASES: &'static str = "SELECT count(*) FROM pg_database";
    const STRANGE: [&'static str; 3] = ["50%_of \"it\"; DROP TABLE kine", "it's\\n", "größe-1.eu"];
    const NO_SCHEMA: &'static str = "has no database findings";
    const REFUSALS: [&'static str; 3] = [
        "password authentication failed for user \"postgres\"",
        "no encryption",
        "certificate",
    ];

    fn start() -> Result<Self> {
        let home = Home::new()?;
        let ([port], data) = (free_ports()?, home.text("data"));
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
        home.certify(&authority, HOST)?;
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
    ) -> Result<PostgresPair, DatastoreError> {
        PostgresPair::open(source, target, schema)
    }

    async fn database(&self, name: &str) -> Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.0.home.path(""))
            .port(self.0.port);
        Ok(options
            .username("postgres")
            .database(name)
            .connect()
            .await?)
    }

    async fn execute(client: &mut PgConnection, sql: String) -> Result<u64> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(client).await?;
        Ok(done.rows_affected())
    }

    async fn text(client: &mut PgConnection, sql: String) -> Result<Option<String>> {
        Ok(sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(client)
            .await?)
    }

    fn many(rows: u32) -> String {
        format!(
            "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value)
            SELECT '/registry/configmaps/shop/' || n, 1, 0, 0, 0, 0, decode(repeat(md5(n::text), 64), 'hex')
            FROM generate_series(1, {rows}) n"
        )
    }

    fn bytes(digits: &str) -> String {
        format!("'\\x{digits}'")
    }

    fn compaction(revision: i64) -> String {
        format!(
            "DELETE FROM kine AS kv USING (
                SELECT kp.prev_revision AS id FROM kine AS kp
                    WHERE kp.name != 'compact_rev_key' AND kp.prev_revision != 0 AND kp.id <= {revision}
                UNION SELECT kd.id AS id FROM kine AS kd WHERE kd.deleted != 0 AND kd.id <= {revision}
            ) AS ks WHERE kv.id = ks.id"
        )
    }

    fn arguments(&self, schema: &str) -> Vec<String> {
        // The password as it stands in an address.
        let password = PASSWORD.replace('\'', "%27").replace('\\', "%5C");
        let password = password.replace(' ', "%20").replace('"', "%22");
        let port = self.0.port;
        vec![format!(
            "--endpoint=postgres://postgres:{password}@127.0.0.1:{port}/{schema}?sslmode=require"
        )]
    }

    fn dump(&self, schema: &str) -> Command {
        let mut command = Command::new("psql");
        let port = self.0.port.to_string();
        command.args(["--no-psqlrc", "--username", "postgres", "--dbname", schema]);
        command.args(["--host", &self.0.home.text(""), "--port", &port]);
        command.args(["--command", "COPY kine TO STDOUT"]);
        command
    }

    fn make_certified() -> String {
        "CREATE ROLE certified LOGIN SUPERUSER".to_owned()
    }
}
