//! On two real clusters: `tests/run e2e`.
mod bad;
mod freeze;
mod support;
