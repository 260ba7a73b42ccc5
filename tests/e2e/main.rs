//! Real workloads on real clusters; `tests/run e2e` starts them and says where they are.
mod freeze;
mod migration;
mod support;
mod tree;
mod workload;
