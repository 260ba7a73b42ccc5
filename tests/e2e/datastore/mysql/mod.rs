//! MySQL to MySQL, by MariaDB.
mod compare;
mod copy;
mod ids;
mod look;
mod server;
mod trust;
