//! Kamaji's stand-in with stores and tenants, and what it does of its own.
mod blocked;
mod certificates;
mod client;
mod direct;
mod forward;
mod gate;
mod job;
mod kills;
mod limits;
mod place;
mod store;
mod stuck;
mod switch;
mod tenant;
