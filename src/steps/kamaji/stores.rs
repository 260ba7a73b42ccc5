use std::{fmt, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::OnceCell;

use super::Tenant;
use crate::{
    adapters::{
        datastore::{
            Connection, Driver, Endpoint, EtcdPair, Meter, MySqlPair, NatsPair, Pair, PostgresPair,
            Reading,
        },
        kamaji::{DataStore, data_stores, read_credentials},
        kube::{Cluster, Tunnel, get_opt},
    },
    engine::{Cx, Event, Failure, Kind, Progress, Unit},
};

/// Between which stores, and what of them.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    driver: Driver,
    source: String,
    target: String,
    schema: String,
}

impl Ends {
    /// A schema in one store, which is both.
    pub(super) fn within(driver: Driver, data_store: &str, schema: &str) -> Self {
        Self {
            driver,
            source: data_store.to_owned(),
            target: data_store.to_owned(),
            schema: schema.to_owned(),
        }
    }
}

/// A tenant's schema in both its stores, connected to on first use.
#[derive(Clone)]
pub struct Stores {
    cluster: Cluster,
    ends: Ends,
    open: Arc<OnceCell<Open>>,
}

struct Open {
    pair: Box<dyn Pair>,
    /// They lead to the stores for as long as they are kept.
    _tunnels: Vec<Tunnel>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ends { source, target, .. } = &self.ends;
        write!(formatter, "Stores({source} → {target})")
    }
}

impl Stores {
    /// Dials nothing.
    #[must_use]
    pub fn new(cluster: Cluster, tenant: Tenant) -> Self {
        let ends = Ends {
            driver: tenant.driver,
            source: tenant.source,
            target: tenant.target,
            schema: tenant.schema,
        };
        Self::between(cluster, ends)
    }

    pub(super) fn between(cluster: Cluster, ends: Ends) -> Self {
        Self {
            cluster,
            ends,
            open: Arc::default(),
        }
    }

    /// Both stores.
    pub async fn pair(&self) -> Result<&dyn Pair> {
        let open = self.open.get_or_try_init(|| self.open()).await?;
        Ok(open.pair.as_ref())
    }

    async fn open(&self) -> Result<Open> {
        let mut tunnels = Vec::new();
        let source = self.connection(&self.ends.source, &mut tunnels).await?;
        let target = self.connection(&self.ends.target, &mut tunnels).await?;
        let schema = &self.ends.schema;
        let pair: Box<dyn Pair> = match self.ends.driver {
            Driver::Etcd => Box::new(EtcdPair::open(&source, &target, schema).await?),
            Driver::PostgreSQL => Box::new(PostgresPair::open(&source, &target, schema)?),
            Driver::MySQL => Box::new(MySqlPair::open(&source, &target, schema)?),
            Driver::Nats => Box::new(NatsPair::open(&source, &target, schema)?),
        };
        Ok(Open {
            pair,
            _tunnels: tunnels,
        })
    }

    /// How a DataStore is reached: tunnels for servers inside of the cluster, which this machine cannot dial.
    async fn connection(&self, name: &str, tunnels: &mut Vec<Tunnel>) -> Result<Connection> {
        let found = get_opt(&data_stores(&self.cluster), name).await?;
        let found = found.ok_or_else(|| {
            Failure::new(Kind::Blocked, format!("datastore {name} does not exist"))
                .with_next("kubectl get datastores", "shows what does")
        })?;
        let store = DataStore::new(found)?;
        let shown = store.shown();
        let driver: Driver = store.spec.driver.parse().map_err(|why: String| {
            Failure::new(Kind::Blocked, format!("{shown}: spec.driver: {why}"))
        })?;
        ensure!(
            driver == self.ends.driver,
            Failure::new(
                Kind::Blocked,
                format!(
                    "{shown} is {driver}, and the tenant's data is in {}: drivers cannot be changed",
                    self.ends.driver
                ),
            )
        );
        let credentials = read_credentials(&self.cluster, &store, driver).await;
        let credentials = credentials.map_err(|flaws| {
            let evidence = flaws.iter().map(ToString::to_string).collect();
            Failure::new(Kind::Blocked, format!("{shown} cannot be logged in to"))
                .with_evidence(evidence)
        })?;
        let mut endpoints = Vec::new();
        for shown_endpoint in &store.spec.endpoints {
            let tunnel = Tunnel::open(&self.cluster, shown_endpoint)
                .await
                .with_context(|| format!("{shown} cannot be reached"))?;
            let dial = match &tunnel {
                Some(tunnel) => tunnel.address(),
                None => resolve(shown_endpoint)
                    .await
                    .with_context(|| format!("{shown} cannot be reached"))?,
            };
            let host = shown_endpoint
                .rsplit_once(':')
                .map_or(shown_endpoint.as_str(), |(host, _)| host);
            endpoints.push(Endpoint {
                dial,
                host: host.to_owned(),
                shown: shown_endpoint.clone(),
            });
            tunnels.extend(tunnel);
        }
        Ok(Connection {
            name: shown,
            driver,
            endpoints,
            authority: credentials.authority,
            identity: credentials.identity,
            basic: credentials.basic,
        })
    }
}

/// The address of a server outside of the cluster.
async fn resolve(endpoint: &str) -> Result<SocketAddr> {
    let mut found = tokio::net::lookup_host(endpoint)
        .await
        .with_context(|| format!("cannot resolve {endpoint}"))?;
    found
        .next()
        .with_context(|| format!("{endpoint} has no address"))
}

/// A meter that shows a step's progress in keys.
pub(super) fn meter(cx: &Cx, step: &'static str, doing: &'static str) -> Meter {
    let sink = cx.sink.clone();
    let begun = std::time::Instant::now();
    Meter::new(move |reading: Reading| {
        let seconds = begun.elapsed().as_secs_f64();
        sink.send(Event::Progress(Progress {
            step: step.to_owned(),
            doing: doing.to_owned(),
            done: reading.keys,
            total: reading.of.max(reading.keys),
            unit: Unit::Count,
            rate: if seconds > 0.0 {
                reading.keys as f64 / seconds
            } else {
                0.0
            },
            ..Progress::default()
        }));
    })
}
