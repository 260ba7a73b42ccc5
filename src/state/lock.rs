use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

use super::{
    cluster::{ClusterStore, last_fence_of},
    file::FileStore,
};
use crate::{
    adapters::kube::{
        Cluster, KubeError, Wait, WriteGuard, delete_and_wait, get_opt,
        lease::{Acquired, Held, HolderIdentity, Lock, Lost, OtherHolder, acquire},
    },
    engine::Store,
    marks::object_name,
};

/// A ConfigMap has nothing that holds it.
const GONE: Duration = Duration::from_mins(2);

/// Where the journal of a migration is kept.
#[derive(Clone, Debug)]
pub enum Keeper {
    /// In the cluster of the source.
    Cluster(Box<Cluster>),
    /// In this file.
    File(PathBuf),
}

/// Why a migration could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run is at work.
    #[error("migration {migration} is held by {holder}")]
    Held {
        /// The namespace of its journal.
        namespace: String,
        /// The migration.
        migration: String,
        /// The other runner.
        holder: Box<OtherHolder>,
    },
    /// Another process has the journal's file.
    #[error("migration {migration} is held by another process that has {} open", .file.display())]
    FileHeld {
        /// The migration.
        migration: String,
        /// The journal.
        file: PathBuf,
    },
    /// The file cannot be used.
    #[error("cannot use {} as a journal: {cause}", .file.display())]
    File {
        /// The journal.
        file: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The cluster refused.
    #[error(transparent)]
    Kube(#[from] KubeError),
}

/// A migration that only this run may change.
pub enum Locked {
    /// By its Lease.
    Cluster {
        /// The Lease.
        held: Arc<Held>,
        /// The journal's cluster.
        cluster: Box<Cluster>,
        /// The journal's namespace.
        namespace: String,
        /// The migration.
        migration: String,
    },
    /// By its file.
    File {
        /// The file.
        path: PathBuf,
        /// Opens it as a store, which shares the lock.
        store: Box<dyn Fn() -> Box<dyn Store> + Send + Sync>,
    },
}

impl Keeper {
    /// Locks a migration. `progress` is what colleagues see while it is held.
    pub async fn lock(
        &self,
        namespace: &str,
        migration: &str,
        take_over: bool,
        progress: watch::Receiver<String>,
    ) -> Result<Locked, LockError> {
        match self {
            Self::Cluster(cluster) => {
                let name = object_name(migration);
                // Somebody may have deleted the Lease, and with it the number that was used last.
                let journal = get_opt(&cluster.namespaced::<ConfigMap>(namespace), &name).await?;
                let used = journal.map_or(0, |journal| last_fence_of(&journal));
                let lock = Lock {
                    take_over,
                    used: i32::try_from(used).unwrap_or(i32::MAX),
                    ..Lock::new(namespace, &name, migration)
                };
                let holder = HolderIdentity::of_this_process();
                match acquire(cluster, &lock, &holder, progress).await? {
                    Acquired::Held(held) => Ok(Locked::Cluster {
                        held: Arc::new(held),
                        cluster: cluster.clone(),
                        namespace: namespace.to_owned(),
                        migration: migration.to_owned(),
                    }),
                    Acquired::ByOther(holder) => Err(LockError::Held {
                        namespace: namespace.to_owned(),
                        migration: migration.to_owned(),
                        holder: Box::new(holder),
                    }),
                }
            }
            Self::File(file) => match FileStore::lock(file) {
                Ok(Some(store)) => Ok(Locked::File {
                    path: file.clone(),
                    store: Box::new(move || Box::new(store.clone())),
                }),
                Ok(None) => Err(LockError::FileHeld {
                    migration: migration.to_owned(),
                    file: file.clone(),
                }),
                Err(cause) => Err(LockError::File {
                    file: file.clone(),
                    cause,
                }),
            },
        }
    }

    /// What the journal of a migration is called.
    #[must_use]
    pub fn place(&self, namespace: &str, migration: &str) -> String {
        match self {
            Self::Cluster(_) => format!("configmap {namespace}/{}", object_name(migration)),
            Self::File(file) => file.display().to_string(),
        }
    }
}

impl Locked {
    /// Where to keep the journal.
    #[must_use]
    pub fn store(&self) -> Box<dyn Store> {
        match self {
            Self::Cluster {
                held,
                cluster,
                namespace,
                migration,
            } => {
                // Not only the Lease but every write of the journal itself asks the guard first.
                let guarded = cluster.guarded(held.guard());
                Box::new(ClusterStore::new(
                    &guarded,
                    namespace,
                    migration,
                    Arc::clone(held),
                ))
            }
            Self::File { store, .. } => store(),
        }
    }

    /// Asked before every change to any cluster.
    #[must_use]
    pub fn guard(&self) -> WriteGuard {
        match self {
            Self::Cluster { held, .. } => held.guard(),
            Self::File { .. } => Arc::new(|| Box::pin(async { Ok(()) })),
        }
    }

    /// Deletes the journal; the lock stays.
    pub async fn forget(&self) -> Result<()> {
        match self {
            Self::Cluster {
                held,
                cluster,
                namespace,
                migration,
            } => {
                let cluster = cluster.guarded(held.guard());
                let name = object_name(migration);
                let what = format!("configmap {namespace}/{name} to be gone");
                let wait = Wait::new(&what, GONE);
                delete_and_wait(
                    &cluster.namespaced::<ConfigMap>(namespace),
                    &name,
                    None,
                    &wait,
                )
                .await?;
            }
            Self::File { path, .. } => {
                std::fs::write(path, "")
                    .with_context(|| format!("cannot empty {}", path.display()))?;
                super::limit::forget(path)?;
            }
        }
        Ok(())
    }

    /// Resolves with the reason when the lock is lost; never for a file.
    pub async fn lost(&self) -> Lost {
        match self {
            Self::Cluster { held, .. } => held.lost().await,
            Self::File { .. } => std::future::pending().await,
        }
    }

    /// The reason, if the lock is lost now.
    pub async fn why_lost(&self) -> Option<Lost> {
        match self {
            Self::Cluster { held, .. } => held.why_lost().await,
            Self::File { .. } => None,
        }
    }

    /// Frees it for the next runner.
    pub async fn release(self) -> Result<(), KubeError> {
        match self {
            Self::Cluster { held, .. } => match Arc::try_unwrap(held) {
                Ok(held) => held.release().await,
                // Whoever still has a part of it keeps it until the Lease runs out.
                Err(_) => Ok(()),
            },
            Self::File { .. } => Ok(()),
        }
    }
}
