//! NATS to NATS: real servers, and real kine before them.
mod breaks;
mod carry;
mod changes;
mod compare;
mod copy;
mod kine;
mod lead;
mod look;
mod server;
mod speed;
mod tenants;
mod trust;

use anyhow::Result;
use kubectl_migrate::adapters::datastore::NatsPair;

use server::Server;

/// The tenant's schema.
const SCHEMA: &str = "t1";

/// Two stores without a bucket.
async fn stores() -> Result<(Server, Server)> {
    let (bronze, silver) = tokio::join!(Server::start("bronze"), Server::start("silver"));
    Ok((bronze?, silver?))
}

fn pair(source: &Server, target: &Server) -> Result<NatsPair> {
    let (source, target) = (source.connection(), target.connection());
    Ok(NatsPair::open(&source, &target, SCHEMA)?)
}
