use std::fmt;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource};

use crate::adapters::kube::Cluster;

/// One side of a migration: a namespace in a cluster.
#[derive(Clone, Debug)]
pub struct Place {
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace.
    pub namespace: String,
    /// Whether the other side is in another cluster, so that names must say which one is meant.
    pub remote: bool,
}

impl Place {
    /// Objects of one kind in this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
    {
        self.cluster.namespaced(&self.namespace)
    }

    /// An object's name for people: `pod shop/orders-db-1`, in another cluster
    /// `prod-eu: pod shop/orders-db-1`.
    #[must_use]
    pub fn object(&self, kind: &str, name: &str) -> String {
        let namespace = &self.namespace;
        if self.remote {
            format!("{}: {kind} {namespace}/{name}", self.cluster.context())
        } else {
            format!("{kind} {namespace}/{name}")
        }
    }
}

impl Place {
    /// The namespace itself, for people.
    #[must_use]
    pub fn itself(&self) -> String {
        if self.remote {
            format!("{}: namespace {}", self.cluster.context(), self.namespace)
        } else {
            format!("namespace {}", self.namespace)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.remote {
            write!(formatter, "{}: ", self.cluster.context())?;
        }
        formatter.write_str(&self.namespace)
    }
}
