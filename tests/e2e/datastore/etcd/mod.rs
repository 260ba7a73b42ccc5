//! etcd to etcd: copies, changes, comparisons, and what stands in their way.
mod breaks;
mod carry;
mod changes;
mod compare;
mod copy;
mod halves;
mod look;
mod neighbours;
mod raise;
mod server;
mod speed;
mod trust;

use anyhow::Result;
use kubectl_migrate::adapters::datastore::EtcdPair;

use super::{authority, free_ports, quiet};
pub use server::Server;
use server::{Row, row};
pub use speed::ROOM;

/// The tenant's schema; `/t10/` is a neighbour whose name begins with it.
const SCHEMA: &str = "t1";

/// Two empty stores.
async fn stores() -> Result<(Server, Server)> {
    let (bronze, silver) = tokio::join!(
        Box::pin(Server::start("bronze")),
        Box::pin(Server::start("silver"))
    );
    Ok((bronze?, silver?))
}

async fn pair(source: &Server, target: &Server) -> Result<EtcdPair> {
    let (source, target) = (source.connection(), target.connection());
    Ok(Box::pin(EtcdPair::open(&source, &target, SCHEMA)).await?)
}

/// So many keys with values of so many bytes, each its own.
fn keys(count: usize, bytes: usize) -> impl Iterator<Item = Row> {
    keys_of(SCHEMA, "configmaps", count, bytes)
}

/// The same of a resource in a schema.
pub fn keys_of(
    schema: &str,
    resource: &str,
    count: usize,
    bytes: usize,
) -> impl Iterator<Item = Row> {
    let prefix = format!("/{schema}/{resource}/shop/item-");
    (0..count).map(move |number| {
        let mut value = format!("{number}-").into_bytes();
        // Not text.
        value.resize(bytes.max(value.len()), 0xfe);
        row(format!("{prefix}{number:07}"), value)
    })
}
