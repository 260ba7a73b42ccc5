//! The stores behind tenants' API servers, by their drivers, on real servers.
<<<<<<< HEAD
mod etcd;
=======
mod mysql;
mod postgres;
mod sql;
>>>>>>> kamaji-sql
