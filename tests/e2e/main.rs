//! Real workloads on real clusters; `tests/run e2e` starts them and says where they are.
mod corruption;
mod freeze;
mod migration;
mod movers;
mod processes;
mod support;
mod tree;
mod volumes;
mod workload;
