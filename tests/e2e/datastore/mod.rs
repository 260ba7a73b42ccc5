//! The stores behind tenants' API servers, by their drivers, on real servers.
pub mod authority;
mod carry;
pub mod etcd;
mod kine;
mod lead;
mod mysql;
mod nats;
mod postgres;
mod sql;

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};
use kubectl_migrate::adapters::datastore::{Comparison, Meter};

/// A meter that nobody reads.
pub fn quiet() -> Meter {
    Meter::new(|_| ())
}

/// The differences, as `key: how`.
fn differences(comparison: &Comparison) -> Vec<String> {
    let told = comparison.differences.iter();
    told.map(|difference| format!("{}: {}", difference.key, difference.how))
        .collect()
}

/// Ports that nobody listens on, for now.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// How many keys a figure is of: `BENCH_KEYS`, or so many.
pub fn wanted(keys: usize) -> Result<usize> {
    match std::env::var("BENCH_KEYS") {
        Ok(keys) => keys.parse().context("BENCH_KEYS is no number"),
        Err(_) => Ok(keys),
    }
}

/// What this process has held at most since `clear_refs` was written to, in MiB.
fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let digits: String = line
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    Ok(digits.parse::<u64>()? / 1024)
}
