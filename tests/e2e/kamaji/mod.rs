//! Kamaji's stand-in with stores and tenants, and what it does of its own.
mod certificates;
mod direct;
mod forward;
mod gate;
mod job;
mod limits;
mod mysql;
mod nats;
mod place;
mod postgres;
mod served;
mod store;
mod stuck;
mod switch;
mod tenant;
