//! The stores behind tenants' API servers, by their drivers, on real servers.
mod authority;
mod etcd;
mod kine;
mod lead;
mod mysql;
mod nats;
mod postgres;
mod sql;

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Result;
use kubectl_migrate::adapters::datastore::{Comparison, Meter};

/// A meter that nobody reads.
fn quiet() -> Meter {
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
