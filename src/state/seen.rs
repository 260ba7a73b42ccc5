use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::Api;

use super::{Keeper, cluster::lines_of, file, limit};
use crate::{
    adapters::kube::{
        Cluster, Selector, get_opt,
        lease::{OtherHolder, PROGRESS_ANNOTATION, limit_of},
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
    /// What others wrote of how fast it may copy, as they wrote it.
    pub limit: Option<String>,
}

/// A migration whose journal cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its name, as that of its journal tells it.
    pub migration: String,
    /// The namespace of its journal.
    pub namespace: String,
    /// When its journal was made.
    pub created: Option<Timestamp>,
    /// What is wrong with it.
    pub error: JournalError,
}

/// All migrations of a namespace, or of all namespaces; those whose journal cannot be read come as errors
/// beside the others.
pub async fn all(
    cluster: &Cluster,
    namespace: Option<&str>,
    labels: Option<&str>,
) -> Result<Vec<Result<Seen, Box<Unreadable>>>> {
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
    let seen = |map: &ConfigMap| of(map, lease_of(map)).map_err(|error| unreadable(map, error));
    Ok(maps.iter().map(seen).collect())
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
                limit: limit::read(&limit::beside(path)).unwrap_or_default(),
            }))
        }
    }
}

/// What is known of a journal by its object alone.
fn unreadable(map: &ConfigMap, error: JournalError) -> Box<Unreadable> {
    let meta = &map.metadata;
    let label = |name| meta.labels.as_ref().and_then(|labels| labels.get(name));
    let name = label(marks::MIGRATION).or(meta.name.as_ref());
    let created = meta.creation_timestamp.as_ref();
    Box::new(Unreadable {
        migration: name.cloned().unwrap_or_default(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        created: created.map(|created| created.0),
        error,
    })
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
        limit: lease.and_then(limit_of),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_cannot_be_read_still_has_its_name() {
        let map: ConfigMap = serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": "migrate-orders-db", "namespace": "shop",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "labels": {"kubectl-migrate/migration": "orders-db"},
            },
            "data": {"journal": "x\n", "lines": "2"},
        }))
        .expect("a ConfigMap");
        let error = of(&map, None).expect_err("a line is lost");
        let found = unreadable(&map, error);
        assert_eq!(
            (found.migration.as_str(), found.namespace.as_str()),
            ("orders-db", "shop")
        );
        assert!(found.created.is_some());
        assert_eq!(
            found.error.to_string(),
            "configmap shop/migrate-orders-db is damaged: it has 1 lines and says that it has 2"
        );
    }
}
