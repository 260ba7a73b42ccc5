//! etcd to etcd: copies, changes, comparisons, and what stands in their way.
pub(super) mod authority;
mod breaks;
mod changes;
mod compare;
mod copy;
mod look;
mod raise;
mod server;
mod speed;
mod trust;

use anyhow::Result;
use kubectl_migrate::adapters::datastore::{EtcdPair, Meter};

use server::{Row, Server, row};

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

fn quiet() -> Meter {
    Meter::new(|_| ())
}

/// So many keys with values of so many bytes, each its own.
fn keys(count: usize, bytes: usize) -> impl Iterator<Item = Row> {
    (0..count).map(move |number| {
        let mut value = format!("{number}-").into_bytes();
        // Not text.
        value.resize(bytes.max(value.len()), 0xfe);
        row(format!("/{SCHEMA}/configmaps/shop/item-{number:07}"), value)
    })
}
