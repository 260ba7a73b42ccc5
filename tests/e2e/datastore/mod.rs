//! The stores behind tenants' API servers, by their drivers, on real servers.
mod etcd;
mod mysql;
mod nats;
mod postgres;
mod sql;
