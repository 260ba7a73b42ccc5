//! A MySQL or MariaDB server: how it is logged in to, and what its failures mean.
use secrecy::ExposeSecret as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, MySql, MySqlConnection,
    mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlRow, MySqlSslMode},
};

use super::super::{
    DatastoreError, Endpoint,
    kine::{self, CONNECT_BOUND, Dialect, Meaning, Relay, STATEMENT_BOUND, within},
};

/// The server's own limit of a name.
const LONGEST_NAME: usize = 64;
/// No name of these is a tenant's.
const RESERVED: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];
/// For each connection: what does not fit is an error and is never cut off, nobody hangs up on a reader that waits
/// for a writer, and a lock is not waited for for ever.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', \
    net_write_timeout = 600, net_read_timeout = 600, lock_wait_timeout = 60, innodb_lock_wait_timeout = 60";

/// A server, and the schema's database there.
pub(super) type Server = kine::Server<MySql>;

impl Dialect for MySql {
    fn takes(schema: &str) -> bool {
        let mut reserved = RESERVED.iter();
        schema.chars().count() <= LONGEST_NAME
            && !schema.ends_with(' ')
            && !reserved.any(|name| schema.eq_ignore_ascii_case(name))
    }

    fn meaning(error: &sqlx::Error) -> Meaning {
        match number(error) {
            // Too many connections, it ends, too many of this user.
            Some(1040 | 1053 | 1203) => Meaning::Busy,
            // No right to a database, wrong password, no right to a statement or table, none at all.
            Some(1044 | 1045 | 1142 | 1227 | 1698) => Meaning::Refused,
            // Disk full, table full.
            Some(1021 | 1114) => Meaning::Full,
            _ => Meaning::Other,
        }
    }
}

impl Server {
    /// Logs in, to no database.
    pub async fn connect(&self) -> Result<MySqlConnection, DatastoreError> {
        if let Some(connection) = self.idle().await {
            return Ok(connection);
        }
        within(CONNECT_BOUND, self.dial())
            .await
            .map_err(|error| self.unreachable(&error))
    }

    async fn dial(&self) -> Result<MySqlConnection, sqlx::Error> {
        let Endpoint { dial, host, .. } = &self.endpoint;
        let mut options = MySqlConnectOptions::new().ssl_mode(MySqlSslMode::Disabled);
        if let Some(basic) = &self.connection.basic {
            options = options
                .username(&basic.user)
                .password(basic.password.expose_secret());
        }
        let mut relay = None;
        if let Some(authority) = &self.connection.authority {
            options = options
                .ssl_mode(MySqlSslMode::VerifyIdentity)
                .ssl_ca_from_pem(authority.clone().into_bytes());
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
            Some(relay) => options.host(host).socket(relay.socket()),
            None => options.host(&dial.ip().to_string()).port(dial.port()),
        };
        let mut connection = options.disable_statement_logging().connect().await?;
        if let Some(relay) = relay {
            relay.keep();
        }
        connection.execute(SESSION).await?;
        Ok(connection)
    }

    /// The table's name for a statement.
    pub fn table(&self) -> String {
        format!("{}.kine", quoted(&self.schema))
    }

    /// Asks for rows. Names in the statement are quoted, values are bound.
    pub async fn ask(
        &self,
        connection: &mut MySqlConnection,
        doing: &str,
        sql: String,
        values: &[&str],
    ) -> Result<Vec<MySqlRow>, DatastoreError> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = query.bind(*value);
        }
        within(STATEMENT_BOUND, query.fetch_all(connection))
            .await
            .map_err(|error| self.failed(doing, &error))
    }

    /// Runs a statement that gives no rows. Names in it are quoted.
    pub async fn run(
        &self,
        connection: &mut MySqlConnection,
        doing: &str,
        sql: String,
    ) -> Result<(), DatastoreError> {
        let run = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql)));
        within(STATEMENT_BOUND, run)
            .await
            .map(drop)
            .map_err(|error| self.failed(doing, &error))
    }
}

/// The server's number of an error.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error
        .as_database_error()?
        .try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

/// A name as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
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
            name: "datastore gold".to_owned(),
            driver: Driver::MySQL,
            endpoints: vec![Endpoint {
                dial: SocketAddr::from((Ipv4Addr::LOCALHOST, 3306)),
                host: "mysql.kamaji.svc".to_owned(),
                shown: "mysql.kamaji.svc:3306".to_owned(),
            }],
            authority: None,
            identity: None,
            basic: None,
        };
        for name in ["a", "shop_web-1.eu", "50%\"'`", &"x".repeat(64)] {
            assert!(Server::new(&connection, name).is_ok(), "{name}");
        }
        for name in ["", "MySQL", "sys", "a\0b", "a\nb", "a ", &"x".repeat(65)] {
            let error = Server::new(&connection, name).expect_err(name).to_string();
            assert!(error.contains("cannot be a tenant's database"), "{error}");
        }
    }

    #[test]
    fn quotes_do_not_end_a_name() {
        assert_eq!(quoted("a`; DROP DATABASE `b"), "`a``; DROP DATABASE ``b`");
    }
}
