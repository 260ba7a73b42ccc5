//! Real workloads on real clusters; `tests/run e2e` starts them and says where they are.
mod crash;
mod faults;
mod freeze;
mod migration;
mod proxy;
mod runners;
mod small;
mod support;
mod tree;
mod workload;
