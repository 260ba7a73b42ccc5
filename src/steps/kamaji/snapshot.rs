//! A tenant's schema into a file, and out of it into a DataStore.
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::{JoinError, JoinHandle, spawn_blocking},
};

use super::{
    Stores, Switch, Tenant,
    neighbours::{holders, home_of},
    stores::Ends,
    tenant::find_selector,
};
use crate::{
    adapters::{
        datastore::{
            DatastoreError, Driver, Meter, Pair,
            archive::{self, End, FORMAT, Head, Piece, Reader, Record},
        },
        kamaji::{DataStore, TenantControlPlane, data_stores},
        kube::{Cluster, Selector, get_opt, list_all},
    },
    engine::{Failure, Kind},
    steps::Place,
};

/// Records between two that work on them.
const AHEAD: usize = 256;
/// How often the source may be compacted under one snapshot.
const TRIES: usize = 5;
/// Keys that are named of those that differ.
const NAMED: usize = 20;

/// Takes a tenant's schema out of its DataStore into a new file, and reads that again.
///
/// # Errors
///
/// The file is there already or cannot be written, or the store cannot be read. Then there is no new file.
pub async fn snapshot(
    place: &Place,
    name: &str,
    path: &Path,
    meter: &Meter,
) -> Result<(Head, End)> {
    take(place, Tenant::as_it_is(place, name).await?, path, meter).await
}

impl Switch {
    /// Takes what the tenant has left in its old DataStore into a new file.
    ///
    /// # Errors
    ///
    /// As [`snapshot`]'s.
    pub async fn back_up_old_data(&self, path: &Path, meter: &Meter) -> Result<End> {
        let taken = take(&self.place, self.tenant.clone(), path, meter).await;
        Ok(taken?.1)
    }
}

/// Takes what a tenant has in its source.
async fn take(place: &Place, tenant: Tenant, path: &Path, meter: &Meter) -> Result<(Head, End)> {
    let ends = Ends::within(tenant.driver, &tenant.source, &tenant.schema);
    let stores = Stores::between(place.cluster.clone(), ends);
    let pair = stores.pair().await?;
    let head = Head {
        kubectl_migrate_tenant_snapshot: FORMAT,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        taken: Timestamp::now().to_string(),
        tenant: format!("{}/{}", place.namespace, tenant.name),
        kubernetes: tenant.version,
        data_store: tenant.source,
        driver: tenant.driver,
        server: pair.look().await?.source.version,
        schema: tenant.schema,
        layout: pair.layout().await?,
    };
    let file = Arc::new(create(path)?);
    // From here on the file is ours, and what is not whole is of no use to anybody.
    let whole = match write(pair, &file, path, &head, meter).await {
        Ok(()) => check(path.to_owned()).await,
        Err(error) => Err(error),
    };
    if whole.is_err() {
        std::fs::remove_file(path).ok();
    }
    whole
}

/// Makes the file; one that is there is nobody's to remove.
fn create(path: &Path) -> Result<File> {
    let shown = path.display();
    archive::create(path).map_err(|error| {
        let cause = error.downcast_ref::<io::Error>();
        if cause.is_none_or(|cause| cause.kind() != io::ErrorKind::AlreadyExists) {
            return error;
        }
        let failure = Failure::new(Kind::Blocked, format!("{shown} is kept as it is"));
        let next = format!("zstd -dc {shown} | head -n 1");
        error.context(failure.with_next(next, "tells whose snapshot it is; else name another file"))
    })
}

/// Writes it, anew where the store is compacted meanwhile.
async fn write(
    pair: &dyn Pair,
    file: &Arc<File>,
    path: &Path,
    head: &Head,
    meter: &Meter,
) -> Result<()> {
    for _ in 1..TRIES {
        match write_once(pair, file, path, head, meter).await {
            Err(error) if is_compacted(&error) => {}
            written => return written,
        }
    }
    write_once(pair, file, path, head, meter).await
}

async fn write_once(
    pair: &dyn Pair,
    file: &Arc<File>,
    path: &Path,
    head: &Head,
    meter: &Meter,
) -> Result<()> {
    let (sender, pieces) = channel(AHEAD);
    let (file, path, head) = (Arc::clone(file), path.to_owned(), head.clone());
    let writing = spawn_blocking(move || archive::write(&file, &path, &head, pieces));
    let dumped = pair.dump(&sender, meter).await;
    if let Ok(revision) = dumped {
        // Who writes says by itself why it takes no more.
        sender.send(Piece::End(revision)).await.ok();
    }
    drop(sender);
    let written = writing.await.map_err(ended)?;
    dumped?;
    written?.context("the snapshot has no end")?;
    Ok(())
}

fn is_compacted(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<DatastoreError>();
    matches!(error, Some(DatastoreError::Compacted { .. }))
}

fn ended(error: JoinError) -> anyhow::Error {
    anyhow::Error::new(error).context("a thread ended")
}

/// Reads all of a snapshot; what it is of, and what it ends with.
async fn check(path: PathBuf) -> Result<(Head, End)> {
    spawn_blocking(move || archive::check(&path))
        .await
        .map_err(ended)?
}

/// A snapshot on its way into a DataStore.
#[derive(Debug)]
pub struct Restore {
    path: PathBuf,
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
        path: &Path,
        data_store: &str,
        schema: Option<&str>,
    ) -> Result<Self> {
        let (head, end) = check(path.to_owned()).await?;
        let schema = schema.unwrap_or(&head.schema).to_owned();
        check_driver(cluster, data_store, &head).await?;
        check_unused(cluster, data_store, &schema).await?;
        let ends = Ends::within(head.driver, data_store, &schema);
        let stores = Stores::between(cluster.clone(), ends);
        let there = stores.pair().await?.look().await?.target.keys;
        Ok(Self {
            path: path.to_owned(),
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

    /// Brings it in, and compares what is there then with the file. If anything fails, it is taken out again.
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
        let (mut records, reading) = self.records();
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

    /// The file's records, from a thread that reads them.
    fn records(&self) -> (Receiver<Record>, JoinHandle<Result<()>>) {
        let (sender, records) = channel(AHEAD);
        let path = self.path.clone();
        let reading = spawn_blocking(move || {
            let mut reader = Reader::open(&path)?;
            while let Some(record) = reader.read()? {
                if sender.blocking_send(record).is_err() {
                    break;
                }
            }
            Ok(())
        });
        (records, reading)
    }

    /// Compares the store with the file: both are in the same order.
    async fn compare(&self, pair: &dyn Pair, meter: &Meter) -> Result<()> {
        let (records, reading) = self.records();
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
            found.keys,
            self.end.records,
            self.schema,
            self.data_store,
            self.path.display()
        );
        Err(Failure::new(Kind::Difference, why)
            .with_evidence(found.named)
            .into())
    }
}

#[derive(Debug, Default)]
struct Differences {
    keys: u64,
    named: Vec<String>,
}

impl Differences {
    fn add(&mut self, record: &Record, how: &str) {
        self.keys += 1;
        if self.named.len() < NAMED {
            self.named
                .push(format!("{}: {how}", record.key.escape_ascii()));
        }
    }
}

async fn differences(mut wanted: Receiver<Record>, mut there: Receiver<Piece>) -> Differences {
    let mut differences = Differences::default();
    let mut found = next(&mut there).await;
    while let Some(wanted) = wanted.recv().await {
        while let Some(record) = found.take_if(|record| place_of(record) < place_of(&wanted)) {
            differences.add(&record, "only in the datastore");
            found = next(&mut there).await;
        }
        match found.take_if(|record| place_of(record) == place_of(&wanted)) {
            Some(record) => {
                if !same(&record, &wanted) {
                    differences.add(&wanted, "other value");
                }
                found = next(&mut there).await;
            }
            // Its lease may be over by now.
            None if wanted.lease.is_some() => {}
            None => differences.add(&wanted, "missing in the datastore"),
        }
    }
    while let Some(record) = found {
        differences.add(&record, "only in the datastore");
        found = next(&mut there).await;
    }
    differences
}

/// By what records are in order.
fn place_of(record: &Record) -> (u64, &[u8]) {
    (record.number, &record.key)
}

/// A lease's seconds pass.
fn same(one: &Record, other: &Record) -> bool {
    let lease = |record: &Record| record.lease.map(|lease| lease.id);
    one.fields == other.fields && lease(one) == lease(other)
}

async fn next(pieces: &mut Receiver<Piece>) -> Option<Record> {
    match pieces.recv().await {
        Some(Piece::Record(record)) => Some(record),
        Some(Piece::End(_)) | None => None,
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::adapters::datastore::archive::Lease;

    fn record(key: &str, value: &'static str, lease: i64) -> Record {
        Record {
            number: 0,
            key: key.into(),
            fields: vec![Some(Bytes::from_static(value.as_bytes()))],
            lease: (lease > 0).then_some(Lease {
                id: lease,
                seconds: 30,
            }),
        }
    }

    async fn compared(file: Vec<Record>, store: Vec<Record>) -> Vec<String> {
        let (records, wanted) = channel(file.len().max(1));
        let (pieces, there) = channel(store.len().max(1));
        for record in file {
            records.try_send(record).expect("room");
        }
        for record in store {
            pieces
                .try_send(Piece::Record(record))
                .unwrap_or_else(|_| panic!("no room"));
        }
        drop((records, pieces));
        let found = differences(wanted, there).await;
        assert_eq!(found.keys, found.named.len() as u64);
        found.named
    }

    #[tokio::test]
    async fn a_store_is_compared_with_a_file() {
        let all = || {
            vec![
                record("a", "1", 0),
                record("b", "2", 7),
                record("c", "3", 0),
            ]
        };
        assert_eq!(compared(all(), all()).await, Vec::<String>::new());
        assert_eq!(compared(Vec::new(), Vec::new()).await, Vec::<String>::new());
        // Over by now.
        let without = vec![record("a", "1", 0), record("c", "3", 0)];
        assert_eq!(compared(all(), without).await, Vec::<String>::new());
        let other = vec![
            record("a", "x", 0),
            record("aa", "1", 0),
            record("b", "2", 8),
            record("d", "4", 0),
        ];
        assert_eq!(
            compared(all(), other).await,
            [
                "a: other value",
                "aa: only in the datastore",
                "b: other value",
                "c: missing in the datastore",
                "d: only in the datastore"
            ]
        );
    }
}
