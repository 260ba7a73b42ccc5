//! A PostgreSQL server: how it is logged in to, and what its failures mean.
use secrecy::ExposeSecret as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, Postgres, Row as _,
    error::DatabaseError,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::super::{
    DatastoreError, Endpoint,
    kine::{self, CONNECT_BOUND, Dialect, Meaning, Relay, STATEMENT_BOUND, within},
};

/// The database that is always there, from which others are made.
const MAINTENANCE: &str = "postgres";
/// A longer name is cut off by the server without a word.
const LONGEST_NAME: usize = 63;
/// No name of these is a tenant's.
const RESERVED: [&str; 3] = [MAINTENANCE, "template0", "template1"];
/// For each connection: nothing ends by itself but what waits for a lock, rows are read along their index (a sort
/// of a big table goes to the disk), and names mean what they mean to kine.
const SESSION: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
    SET lock_timeout = '60s'; SET enable_sort = off; SET jit = off; SET search_path = public";

/// A server, and the schema's database there.
pub(super) type Server = kine::Server<Postgres>;

impl Dialect for Postgres {
    fn takes(schema: &str) -> bool {
        schema.len() <= LONGEST_NAME && !RESERVED.contains(&schema)
    }

    fn meaning(error: &sqlx::Error) -> Meaning {
        let code = error.as_database_error().and_then(DatabaseError::code);
        match code.as_deref() {
            // It ends, it crashed, it begins, too many connections.
            Some("57P01" | "57P02" | "57P03" | "53300") => Meaning::Busy,
            // Invalid authorization, wrong password, no right.
            Some("28000" | "28P01" | "42501") => Meaning::Refused,
            // Disk full.
            Some("53100") => Meaning::Full,
            _ => Meaning::Other,
        }
    }
}

impl Server {
    /// Logs in to the database of the schema; none where there is no such database.
    pub async fn connect(&self) -> Result<Option<PgConnection>, DatastoreError> {
        if let Some(connection) = self.idle().await {
            return Ok(Some(connection));
        }
        match self.log_in(&self.schema).await {
            Ok(connection) => Ok(Some(connection)),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("3D000") => {
                Ok(None)
            }
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// Logs in to the database that is always there.
    pub async fn connect_maintenance(&self) -> Result<PgConnection, DatastoreError> {
        self.log_in(MAINTENANCE)
            .await
            .map_err(|error| self.unreachable(&error))
    }

    async fn log_in(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        within(CONNECT_BOUND, self.dial(database)).await
    }

    async fn dial(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        let Endpoint { dial, host, .. } = &self.endpoint;
        let mut options = PgConnectOptions::new_without_pgpass()
            .database(database)
            .application_name("kubectl-migrate")
            .ssl_mode(PgSslMode::Disable);
        if let Some(basic) = &self.connection.basic {
            options = options
                .username(&basic.user)
                .password(basic.password.expose_secret());
        }
        let mut relay = None;
        if let Some(authority) = &self.connection.authority {
            options = options
                .ssl_mode(PgSslMode::VerifyFull)
                .ssl_root_cert_from_pem(authority.clone().into_bytes());
            if host.parse() != Ok(dial.ip()) {
                relay = Some(Relay::open(*dial).await?);
            }
        }
        if let Some(identity) = &self.connection.identity {
            options = options
                .ssl_client_cert_from_pem(&identity.certificate)
                .ssl_client_key_from_pem(identity.key.expose_secret());
        }
        options = match &relay {
            Some(relay) => options.host(host).port(Relay::PORT).socket(relay.folder()),
            None => options.host(&dial.ip().to_string()).port(dial.port()),
        };
        let mut connection = options.disable_statement_logging().connect().await?;
        if let Some(relay) = relay {
            relay.keep();
        }
        connection.execute(SESSION).await?;
        Ok(connection)
    }

    /// Asks for one row.
    pub async fn ask(
        &self,
        connection: &mut PgConnection,
        doing: &str,
        sql: &'static str,
    ) -> Result<sqlx::postgres::PgRow, DatastoreError> {
        within(STATEMENT_BOUND, sqlx::query(sql).fetch_one(connection))
            .await
            .map_err(|error| self.failed(doing, &error))
    }

    /// Runs statements that give no rows. Names in them are quoted.
    pub async fn run(
        &self,
        connection: &mut PgConnection,
        doing: &str,
        sql: String,
    ) -> Result<(), DatastoreError> {
        let run = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        within(STATEMENT_BOUND, run)
            .await
            .map(drop)
            .map_err(|error| self.failed(doing, &error))
    }

    /// The server's version.
    pub async fn version(&self, connection: &mut PgConnection) -> Result<String, DatastoreError> {
        let row = self
            .ask(connection, "asking for its version", "SHOW server_version")
            .await?;
        row.try_get(0)
            .map_err(|error| self.failed("asking for its version", &error))
    }
}

/// Whether the server named one of these errors.
pub(super) fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| codes.contains(&code.as_ref()))
}

/// A name as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::{
        super::super::{Connection, Driver},
        *,
    };

    #[test]
    fn only_a_tenants_name_is_taken() {
        let connection = Connection {
            name: "datastore silver".to_owned(),
            driver: Driver::PostgreSQL,
            endpoints: vec![Endpoint {
                dial: SocketAddr::from((Ipv4Addr::LOCALHOST, 5432)),
                host: "postgres.kamaji.svc".to_owned(),
                shown: "postgres.kamaji.svc:5432".to_owned(),
            }],
            authority: None,
            identity: None,
            basic: None,
        };
        for name in ["a", "shop_web-1.eu", "50%\"'", &"x".repeat(63)] {
            assert!(Server::new(&connection, name).is_ok(), "{name}");
        }
        for name in ["", "postgres", "template1", "a\0b", "a\nb", &"x".repeat(64)] {
            let error = Server::new(&connection, name).expect_err(name).to_string();
            assert!(error.contains("cannot be a tenant's database"), "{error}");
        }
    }

    #[test]
    fn quotes_do_not_end_a_name() {
        assert_eq!(
            quoted("a\"; DROP DATABASE \"b"),
            "\"a\"\"; DROP DATABASE \"\"b\""
        );
    }
}
