//! The kinds of stores, and what Kamaji asks of each.
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{etcd, mysql, nats, postgres, storage::Share, store::Store};

/// A store that does not answer is tried again by the next reconcile.
const PATIENCE: Duration = Duration::from_secs(5);

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Etcd,
    MySql,
    PostgreSql,
    Nats,
}

impl Driver {
    /// By the name in a `DataStore`.
    pub fn of(name: &str) -> Option<Self> {
        let all = [Self::Etcd, Self::MySql, Self::PostgreSql, Self::Nats];
        all.into_iter().find(|driver| driver.name() == name)
    }

    /// The name in a `DataStore`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::MySql => "MySQL",
            Self::PostgreSql => "PostgreSQL",
            Self::Nats => "NATS",
        }
    }
}

/// Makes a tenant's own part of a store, if it is not there.
pub async fn set_up(store: &Store, share: &Share, password: &str) -> Result<()> {
    let (schema, user) = (&*share.schema, &*share.user);
    let work = Box::pin(async {
        match store.driver {
            Driver::Etcd => etcd::set_up(store, schema, user).await,
            Driver::MySql => mysql::set_up(store, schema, user, password).await,
            Driver::PostgreSql => postgres::set_up(store, schema, user, password).await,
            Driver::Nats => nats::set_up(store).await,
        }
    });
    in_time(store, work)
        .await
        .with_context(|| format!("failed to set up {schema} in datastore {}", store.name))
}

/// Removes a tenant's own part of a store.
pub async fn tear_down(store: &Store, share: &Share) -> Result<()> {
    let (schema, user) = (&*share.schema, &*share.user);
    let work = Box::pin(async {
        match store.driver {
            Driver::Etcd => etcd::tear_down(store, schema, user).await,
            Driver::MySql => mysql::tear_down(store, schema, user).await,
            Driver::PostgreSql => postgres::tear_down(store, schema, user).await,
            Driver::Nats => nats::tear_down(store, schema).await,
        }
    });
    in_time(store, work)
        .await
        .with_context(|| format!("failed to remove {schema} from datastore {}", store.name))
}

/// Copies a tenant's data between two stores of one kind, each kind in its own faulty way.
pub async fn migrate(from: &Store, to: &Store, schema: &str, clean: bool) -> Result<()> {
    match from.driver {
        Driver::Etcd => Box::pin(etcd::migrate(from, to, schema, clean)).await,
        Driver::MySql => mysql::migrate(from, to, schema, clean).await,
        Driver::PostgreSql => postgres::migrate(from, to, schema, clean).await,
        Driver::Nats => nats::migrate(from, to, schema, clean).await,
    }
}

async fn in_time(store: &Store, work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .with_context(|| format!("datastore {} does not answer", store.name))?
}
