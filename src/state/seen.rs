use anyhow::Result;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::Api;

use super::{Keeper, cluster::lines_of, file};
use crate::{
    adapters::kube::{
        Cluster, Selector, get_opt,
        lease::{OtherHolder, PROGRESS_ANNOTATION},
        list_all,
    },
    engine::{Entry, Header, JournalError, Progress, StoreError, decode},
    marks::{self, object_name},
};

/// A migration as anybody with read rights sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it is about.
    pub header: Header,
    /// What happened so far.
    pub entries: Vec<Entry>,
    /// How far the running step is; only while a run is at work.
    pub progress: Option<Progress>,
    /// Who is at work.
    pub holder: Option<OtherHolder>,
}

/// All migrations of a namespace, or of all namespaces; those whose journal cannot be read come as errors
/// beside the others.
pub async fn all(
    cluster: &Cluster,
    namespace: Option<&str>,
    labels: Option<&str>,
) -> Result<Vec<Result<Seen, JournalError>>> {
    let mut selector = format!(
        "{}={},{}=journal",
        marks::MANAGED_BY,
        marks::PROGRAM,
        marks::ROLE
    );
    if let Some(labels) = labels {
        selector = format!("{selector},{labels}");
    }
    let (maps, leases): (Api<ConfigMap>, Api<Lease>) = match namespace {
        Some(namespace) => (cluster.namespaced(namespace), cluster.namespaced(namespace)),
        None => (cluster.everywhere(), cluster.everywhere()),
    };
    let maps = list_all(&maps, &Selector::labels(selector)).await?;
    let ours = Selector::labels(format!("{}={}", marks::MANAGED_BY, marks::PROGRAM));
    let leases = list_all(&leases, &ours).await?;
    let lease_of = |map: &ConfigMap| {
        leases.iter().find(|lease| {
            lease.metadata.name == map.metadata.name
                && lease.metadata.namespace == map.metadata.namespace
        })
    };
    Ok(maps.iter().map(|map| of(map, lease_of(map))).collect())
}

/// One migration; none when there is no journal of it.
pub async fn one(keeper: &Keeper, namespace: &str, migration: &str) -> Result<Option<Seen>> {
    let place = keeper.place(namespace, migration);
    match keeper {
        Keeper::Cluster(cluster) => {
            let name = object_name(migration);
            let Some(map) = get_opt(&cluster.namespaced::<ConfigMap>(namespace), &name).await?
            else {
                return Ok(None);
            };
            let lease = get_opt(&cluster.namespaced::<Lease>(namespace), &name).await?;
            Ok(Some(of(&map, lease.as_ref())?))
        }
        Keeper::File(path) => {
            let mut opened = match std::fs::File::open(path) {
                Ok(opened) => opened,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => {
                    return Err(anyhow::Error::from(error).context(format!("cannot read {place}")));
                }
            };
            let lines = file::lines_of(&mut opened)?;
            if lines.is_empty() {
                return Ok(None);
            }
            let (header, entries) = decode(&place, &lines)?;
            Ok(Some(Seen {
                header,
                entries,
                progress: None,
                holder: None,
            }))
        }
    }
}

fn of(map: &ConfigMap, lease: Option<&Lease>) -> Result<Seen, JournalError> {
    let name = map.metadata.name.as_deref().unwrap_or_default();
    let namespace = map.metadata.namespace.as_deref().unwrap_or_default();
    let place = format!("configmap {namespace}/{name}");
    let lines = lines_of(map).map_err(|why| StoreError::Damaged {
        place: place.clone(),
        why,
    })?;
    let (header, entries) = decode(&place, &lines)?;
    let held = lease.filter(|lease| {
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_ref());
        holder.is_some_and(|holder| !holder.is_empty())
    });
    let progress = held
        .and_then(|lease| {
            lease
                .metadata
                .annotations
                .as_ref()?
                .get(PROGRESS_ANNOTATION)
        })
        .and_then(|text| serde_json::from_str(text).ok());
    Ok(Seen {
        header,
        entries,
        progress,
        holder: held.map(OtherHolder::of),
    })
}
