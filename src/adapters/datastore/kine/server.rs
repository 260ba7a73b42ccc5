//! A server, whatever it speaks: what it is called, the connections to it, and what its failures mean.
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use sqlx::Connection as _;

use super::{CONNECT_BOUND, check_credentials, within};
use crate::adapters::datastore::{Connection, DatastoreError, Endpoint};

/// What differs between servers.
pub(in super::super) trait Dialect: sqlx::Database {
    /// Whether a tenant's database can have this name.
    fn takes(schema: &str) -> bool;

    /// What a failure means, by the server's own code.
    fn meaning(error: &sqlx::Error) -> Meaning;
}

/// What a server's failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Meaning {
    /// It is starting or stopping, or has no connection left.
    Busy,
    /// Wrong password, an unknown user, no right.
    Refused,
    /// Its disk or the table is full.
    Full,
    /// None of these.
    Other,
}

/// A server, and the schema's database there.
pub(in super::super) struct Server<D: Dialect> {
    /// What it is called for people.
    pub store: String,
    /// The schema: a database of that name.
    pub schema: String,
    /// How it is logged in to.
    pub connection: Connection,
    /// Its first server, which is the one that Kamaji gives to kine, too.
    pub endpoint: Endpoint,
    /// Connections that nobody uses: to log in takes ten round trips, of which the last copy of a switch has none to
    /// give away.
    idle: Mutex<Vec<D::Connection>>,
}

impl<D: Dialect> Server<D> {
    /// Nothing is dialled yet.
    pub fn new(connection: &Connection, schema: &str) -> Result<Self, DatastoreError> {
        check_credentials(connection)?;
        let store = connection.name.clone();
        let Some(endpoint) = connection.endpoints.first() else {
            return Err(DatastoreError::Unexpected {
                store,
                what: "its DataStore names no endpoint".to_owned(),
            });
        };
        if schema.is_empty() || schema.contains(char::is_control) || !D::takes(schema) {
            return Err(DatastoreError::Unexpected {
                store,
                what: format!(
                    "`{}` cannot be a tenant's database; look at the schema's name",
                    schema.escape_debug()
                ),
            });
        }
        Ok(Self {
            store,
            schema: schema.to_owned(),
            connection: connection.clone(),
            endpoint: endpoint.clone(),
            idle: Mutex::default(),
        })
    }

    /// The schema's place for people.
    pub fn place(&self) -> String {
        format!("database {} of {}", self.schema, self.store)
    }

    /// A connection to the schema's database that was given back and still works.
    pub async fn idle(&self) -> Option<D::Connection> {
        loop {
            let mut connection = self.connections().pop()?;
            if within(CONNECT_BOUND, connection.ping()).await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next use. It must be in no transaction, and its last answer must have been read:
    /// after a failure it is dropped instead.
    pub fn give_back(&self, connection: D::Connection) {
        self.connections().push(connection);
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<D::Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a failure to log in means.
    pub fn unreachable(&self, error: &sqlx::Error) -> DatastoreError {
        match error {
            sqlx::Error::Database(_) if D::meaning(error) != Meaning::Busy => {
                self.failed("logging in", error)
            }
            _ => DatastoreError::Unreachable {
                store: self.store.clone(),
                endpoint: self.endpoint.shown.clone(),
                cause: cause_of(error),
            },
        }
    }

    /// What a failure of a request means.
    pub fn failed(&self, doing: &str, error: &sqlx::Error) -> DatastoreError {
        let (store, cause) = (self.store.clone(), cause_of(error));
        match D::meaning(error) {
            Meaning::Refused => DatastoreError::Refused { store, cause },
            Meaning::Full => DatastoreError::Full { store, cause },
            Meaning::Busy | Meaning::Other => DatastoreError::Lost {
                store,
                doing: doing.to_owned(),
                cause,
            },
        }
    }

    /// What cannot be copied safely.
    pub fn unexpected(&self, what: impl Into<String>) -> DatastoreError {
        DatastoreError::Unexpected {
            store: self.store.clone(),
            what: what.into(),
        }
    }

    /// What is told where kine's table should be.
    pub fn no_table(&self) -> DatastoreError {
        self.unexpected(format!("database {} has no table kine", self.schema))
    }

    /// Refuses to remove a database that holds more than kine's table.
    pub fn refuse_others(&self, others: &[String]) -> Result<(), DatastoreError> {
        if others.is_empty() {
            return Ok(());
        }
        Err(self.unexpected(format!(
            "database {} also holds {}: nothing is removed; move them elsewhere first",
            self.schema,
            others.join(", ")
        )))
    }
}

impl<D: Dialect> fmt::Debug for Server<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Server");
        shown.field("store", &self.store);
        shown.field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// The cause, without the driver's words around it.
fn cause_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => error.to_string(),
        other => other.to_string(),
    }
}
