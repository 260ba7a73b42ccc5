//! PostgreSQL to PostgreSQL.
mod compare;
mod copy;
mod ids;
mod look;
mod server;
mod trust;
