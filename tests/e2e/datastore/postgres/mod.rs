//! PostgreSQL to PostgreSQL.
mod rights;
mod server;

super::sql::every_case!(crate::datastore::postgres::server::Server);
