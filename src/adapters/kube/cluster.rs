//! A cluster that one can talk to: cheap to clone, with its own door.
use std::{fmt, fmt::Debug, sync::Arc};

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{authentication::v1::SelfSubjectReview, core::v1::Namespace},
    apimachinery::pkg::version::Info,
};
use kube::{Api, Resource, api::PostParams};
use tokio::sync::OnceCell;

use super::{FIELD_MANAGER, KubeError, RetryPolicy, WriteGuard, door::Door};

/// A connection to one cluster as one user. Variants of it are made inside of a tokio runtime.
#[derive(Clone)]
pub struct Cluster {
    door: Door,
    client: kube::Client,
    shown: Arc<Shown>,
    identity: Arc<OnceCell<String>>,
}

/// How the cluster is named to people.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub context: String,
    pub server: String,
    pub kubeconfig_user: String,
}

impl Cluster {
    /// Puts our door in front of a client that sends each request once.
    pub(super) fn over(
        inner: kube::Client,
        shown: Shown,
        namespace: &str,
        policy: RetryPolicy,
    ) -> Self {
        let door = Door {
            inner,
            policy,
            guard: None,
            dry_run: false,
            field_manager: FIELD_MANAGER.into(),
            server: shown.server.trim_end_matches('/').into(),
            kubeconfig_user: shown.kubeconfig_user.as_str().into(),
            contacted: Arc::default(),
        };
        let client = kube::Client::new(door.clone(), namespace);
        Self {
            door,
            client,
            shown: Arc::new(shown),
            identity: Arc::default(),
        }
    }

    /// The client: everything sent through it passes this cluster's door.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Objects of one kind in one namespace.
    #[must_use]
    pub fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
    {
        Api::namespaced(self.client(), namespace)
    }

    /// Objects of one kind in all namespaces, or of a kind without namespaces.
    #[must_use]
    pub fn everywhere<K: Resource<DynamicType: Default>>(&self) -> Api<K> {
        Api::all(self.client())
    }

    /// Objects of a kind that has no namespaces.
    #[must_use]
    pub fn cluster_scoped<K>(&self) -> Api<K>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType: Default>,
    {
        Api::all(self.client())
    }

    /// The kubeconfig context's name.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.shown.context
    }

    /// The API server's URL.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.door.server
    }

    /// The namespace of `-n`, of the context, or `default`.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// The same cluster, whose every change first asks this guard.
    #[must_use]
    pub fn guarded(&self, guard: WriteGuard) -> Self {
        self.with_door(Door {
            guard: Some(guard),
            ..self.door.clone()
        })
    }

    /// Whether this runner still has its lock, as the guard tells: for a change elsewhere, such as in a bucket, that
    /// is not to be made after somebody else went on.
    pub async fn is_locked(&self) -> bool {
        match &self.door.guard {
            Some(guard) => guard().await.is_ok(),
            None => true,
        }
    }

    /// The same cluster, whose every change is checked by the server and then dropped (`dryRun=All`).
    ///
    /// What was only checked never becomes visible: do not wait for it.
    #[must_use]
    pub fn dry_run(&self) -> Self {
        self.with_door(Door {
            dry_run: true,
            ..self.door.clone()
        })
    }

    /// True when changes are only checked.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.door.dry_run
    }

    /// The same cluster, whose changes are recorded under this field manager.
    #[must_use]
    pub fn with_field_manager(&self, name: &str) -> Self {
        self.with_door(Door {
            field_manager: name.into(),
            ..self.door.clone()
        })
    }

    /// The same cluster with other bounds for requests.
    #[must_use]
    pub fn with_retry(&self, policy: RetryPolicy) -> Self {
        self.with_door(Door {
            policy,
            ..self.door.clone()
        })
    }

    /// The bounds of this cluster's requests.
    #[must_use]
    pub fn retry(&self) -> RetryPolicy {
        self.door.policy
    }

    /// The server's version.
    pub async fn version(&self) -> Result<Info, KubeError> {
        Ok(self.client.apiserver_version().await?)
    }

    /// What tells this cluster from every other: the UID of its namespace `kube-system`. Read once.
    pub async fn identity(&self) -> Result<&str, KubeError> {
        let uid = self.identity.get_or_try_init(|| async {
            let namespace = self
                .cluster_scoped::<Namespace>()
                .get("kube-system")
                .await
                .map_err(KubeError::from)?;
            namespace.metadata.uid.ok_or_else(|| KubeError::Other {
                what: "cannot tell which cluster this is".to_owned(),
                cause: "namespace kube-system has no uid".to_owned(),
            })
        });
        Ok(uid.await?)
    }

    /// The user as the server knows it. Servers before 1.28 have no such review: `NotServed`.
    pub async fn username(&self) -> Result<String, KubeError> {
        let reviews = self.cluster_scoped::<SelfSubjectReview>();
        let review = reviews
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await?;
        let user = review
            .status
            .and_then(|status| status.user_info)
            .and_then(|user| user.username);
        Ok(user.unwrap_or_else(|| "system:anonymous".to_owned()))
    }

    fn with_door(&self, door: Door) -> Self {
        let client = kube::Client::new(door.clone(), self.default_namespace());
        Self {
            door,
            client,
            shown: Arc::clone(&self.shown),
            identity: Arc::clone(&self.identity),
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.shown.context, self.door.server)
    }
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({self})")
    }
}
