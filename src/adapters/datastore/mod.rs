//! The stores behind Kubernetes API servers: etcd, and by means of kine PostgreSQL, MySQL and NATS.
//!
//! A tenant's share of a store is its *schema*: a key prefix, a database or a bucket of that name. A [`Pair`]
//! is the same schema in two stores of one driver, and everything that a switch does with them.
pub mod archive;
mod connection;
mod error;
mod etcd;
mod kine;
mod mysql;
mod nats;
mod pair;
mod postgres;
mod tls;

pub use connection::{BasicAuth, Connection, Driver, Endpoint, Identity};
pub use error::DatastoreError;
pub use etcd::EtcdPair;
pub use mysql::MySqlPair;
pub use nats::NatsPair;
pub use pair::{
    Comparison, Copied, Difference, Earlier, Finding, FirstHalf, Ignored, Later, Look, Meter, Pair,
    Position, Raised, Reading, StoreLook,
};
pub use postgres::PostgresPair;
