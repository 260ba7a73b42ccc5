//! A snapshot goes into a DataStore.
use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc::channel;

use super::{
    super::{
        Stores,
        neighbours::{holders, home_of},
        stores::Ends,
        tenant::find_selector,
    },
    AHEAD, Origin,
    differences::differences,
    ended,
};
use crate::{
    adapters::{
        datastore::{
            Driver, Meter, Pair,
            archive::{End, Head},
        },
        kamaji::{DataStore, TenantControlPlane, data_stores},
        kube::{Cluster, Selector, get_opt, list_all},
    },
    engine::{Failure, Kind},
    steps::Place,
};

/// A snapshot on its way into a DataStore.
#[derive(Debug)]
pub struct Restore {
    origin: Origin,
    /// What it is of.
    pub head: Head,
    /// What it ends with.
    pub end: End,
    /// The DataStore.
    pub data_store: String,
    /// The key prefix, database or bucket there.
    pub schema: String,
    /// Keys that this schema has there now.
    pub there: u64,
    cluster: Cluster,
    stores: Stores,
}

impl Restore {
    /// Reads all of a snapshot, and looks whether it may go there.
    ///
    /// # Errors
    ///
    /// The snapshot is not whole, the DataStore is another driver's or cannot be reached, or a running tenant has
    /// this schema there.
    pub async fn prepare(
        cluster: &Cluster,
        origin: Origin,
        data_store: &str,
        schema: Option<&str>,
    ) -> Result<Self> {
        let (head, end) = origin.check().await?;
        let schema = schema.unwrap_or(&head.schema).to_owned();
        check_driver(cluster, data_store, &head).await?;
        check_unused(cluster, data_store, &schema).await?;
        let ends = Ends::within(head.driver, data_store, &schema);
        let stores = Stores::between(cluster.clone(), ends);
        let there = stores.pair().await?.look().await?.target.keys;
        Ok(Self {
            origin,
            data_store: data_store.to_owned(),
            schema,
            there,
            cluster: cluster.clone(),
            stores,
            head,
            end,
        })
    }

    /// Removes what the schema has there.
    ///
    /// # Errors
    ///
    /// A control plane has it by now, or the store does not do it.
    pub async fn clear(&self) -> Result<()> {
        self.check_unused().await?;
        self.stores.pair().await?.clear_target().await?;
        Ok(())
    }

    /// Somebody took time to type the schema's name, and records take time to come.
    async fn check_unused(&self) -> Result<()> {
        check_unused(&self.cluster, &self.data_store, &self.schema).await
    }

    /// Brings it in, and compares what is there then with the snapshot. If anything fails, it is taken out again.
    ///
    /// # Errors
    ///
    /// A control plane has the schema by now, or the store does not take it, or has something else afterwards.
    pub async fn bring(&self, meter: &Meter) -> Result<()> {
        self.check_unused().await?;
        let pair = self.stores.pair().await?;
        let Err(error) = self.try_bring(pair, meter).await else {
            return Ok(());
        };
        // Whoever began to use it meanwhile may have written there: then it is no longer ours to remove.
        let cleared = match self.check_unused().await {
            Ok(()) => pair.clear_target().await.map_err(anyhow::Error::from),
            Err(used) => Err(used),
        };
        match cleared {
            Ok(()) => Err(error),
            Err(left) => Err(error.context(format!(
                "a part of schema {} is left in datastore {} ({left:#})",
                self.schema, self.data_store
            ))),
        }
    }

    async fn try_bring(&self, pair: &dyn Pair, meter: &Meter) -> Result<()> {
        let (mut records, reading) = self.origin.records();
        let loaded = pair.load(&self.head.layout, &mut records, meter).await;
        drop(records);
        let read = reading.await.map_err(ended)?;
        loaded?;
        read?;
        // A bucket comes as its servers' own snapshot, which they have verified.
        if self.head.driver == Driver::Nats {
            return Ok(());
        }
        self.compare(pair, meter).await
    }

    /// Compares the store with the snapshot.
    async fn compare(&self, pair: &dyn Pair, meter: &Meter) -> Result<()> {
        let (records, reading) = self.origin.records();
        let (sender, there) = channel(AHEAD);
        let dumping = async {
            let dumped = pair.dump(&sender, meter).await;
            drop(sender);
            dumped
        };
        let (dumped, found) = tokio::join!(dumping, differences(records, there));
        dumped?;
        reading.await.map_err(ended)??;
        if found.keys == 0 {
            return Ok(());
        }
        let why = format!(
            "{} of {} keys of schema {} in datastore {} are not as in {}",
            found.keys, self.end.records, self.schema, self.data_store, self.origin
        );
        Err(Failure::new(Kind::Difference, why)
            .with_evidence(found.named)
            .into())
    }
}

async fn check_driver(cluster: &Cluster, name: &str, head: &Head) -> Result<()> {
    let found = get_opt(&data_stores(cluster), name).await?;
    let found = found.ok_or_else(|| {
        Failure::new(Kind::Blocked, format!("datastore {name} does not exist"))
            .with_next("kubectl get datastores", "shows what does")
    })?;
    let store = DataStore::new(found)?;
    if store.spec.driver == head.driver.to_string() {
        return Ok(());
    }
    let why = format!(
        "datastore {name} is {}, and the snapshot is of {}: a driver cannot be changed",
        store.spec.driver, head.driver
    );
    Err(Failure::new(Kind::Blocked, why).into())
}

/// Refuses what a control plane has there that does not sleep: its API servers keep what they have read in memory,
/// and would write it over what comes.
async fn check_unused(cluster: &Cluster, data_store: &str, schema: &str) -> Result<()> {
    for tenant in holders(cluster, data_store, schema, None).await? {
        let place = home_of(cluster, &tenant);
        let pods = api_servers(&place, &tenant).await?;
        let replicas = tenant.spec.control_plane.deployment.replicas;
        if replicas == 0 && pods == 0 {
            continue;
        }
        let name = tenant.object.metadata.name.as_deref().unwrap_or_default();
        let why = format!(
            "{} has this schema in datastore {data_store}, is to have {replicas} API servers, and {pods} of its API servers run",
            place.object("tenantcontrolplane", name),
        );
        let stop = format!(
            "kubectl scale tcp {name} --replicas=0 -n {}",
            place.namespace
        );
        return Err(Failure::new(Kind::Blocked, why)
            .with_next(stop, "stops them")
            .into());
    }
    Ok(())
}

/// How many API servers a control plane has: none where its Deployment is lost, as after a disaster.
async fn api_servers(place: &Place, tenant: &TenantControlPlane) -> Result<usize> {
    let deployment = &tenant.status.kubernetes_resources.deployment.name;
    let Some(selector) = find_selector(place, deployment).await? else {
        return Ok(0);
    };
    Ok(list_all(&place.api::<Pod>(), &Selector::labels(&selector))
        .await?
        .len())
}
