//! Real workloads on real clusters; `tests/run e2e` starts them and says where they are.
#![expect(
    clippy::print_stdout,
    reason = "a test tells its figures, such as how many cuts it made"
)]
mod archive_kills;
mod archive_ways;
mod archives;
mod bad;
mod blocks;
mod buckets;
mod cleanup;
mod corruption;
mod crash;
mod datastore;
mod drill;
mod exec;
mod faults;
mod forecast;
mod freeze;
mod full;
mod gate;
mod guard;
mod in_place;
mod interrupt;
mod kamaji;
mod kills;
mod limit;
mod lost;
mod migration;
mod moto;
mod movers;
mod nodes;
mod onlooker;
mod postgres;
mod processes;
mod proxy;
mod prune;
mod put;
mod revoked;
mod rights;
mod runners;
mod s3;
mod scene;
mod shortfalls;
mod small;
mod support;
mod taken;
mod thaw;
mod through;
mod tree;
mod tunnel;
mod volumes;
mod ways;
mod wire;
mod workload;
