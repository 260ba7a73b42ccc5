//! MySQL to MySQL, by MariaDB.
mod packet;
mod server;

super::sql::every_case!(crate::datastore::mysql::server::Server);
