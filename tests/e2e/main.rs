//! Real workloads on real clusters; `tests/run e2e` starts them and says where they are.
mod bad;
mod corruption;
mod freeze;
mod migration;
mod processes;
mod support;
mod tree;
mod volumes;
mod workload;
