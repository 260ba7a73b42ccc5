//! A `DataStore` with its credentials.
use anyhow::{Context as _, Result, bail};
use kube::{Client, ResourceExt as _};

use crate::{
    api::{ContentRef, DataStore, KeyPair},
    certificates::Pair,
    cluster,
};

/// What is needed to talk to a store.
pub struct Store {
    pub name: String,
    pub driver: String,
    /// Each `host:port`.
    pub endpoints: Vec<String>,
    /// The servers' authority; of etcd it has a key, too.
    pub authority: Pair,
    /// Whom we are.
    pub identity: Pair,
}

impl Store {
    /// Reads the credentials of an etcd store.
    pub async fn of(client: &Client, datastore: &DataStore) -> Result<Self> {
        let name = datastore.name_any();
        let tls = datastore
            .spec
            .tls_config
            .as_ref()
            .with_context(|| format!("datastore {name} has no tlsConfig"))?;
        let Some(identity) = &tls.client_certificate else {
            bail!("datastore {name} has no client certificate");
        };
        Ok(Self {
            driver: datastore.spec.driver.clone(),
            endpoints: datastore.spec.endpoints.clone(),
            authority: pair(client, &tls.certificate_authority).await?,
            identity: pair(client, identity).await?,
            name,
        })
    }

    /// What a tenant's API server is told.
    pub fn urls(&self) -> Vec<String> {
        self.endpoints
            .iter()
            .map(|endpoint| format!("https://{endpoint}"))
            .collect()
    }
}

async fn pair(client: &Client, pair: &KeyPair) -> Result<Pair> {
    let key = match &pair.private_key {
        Some(key) => text(client, key).await?,
        None => String::new(),
    };
    Ok(Pair {
        certificate: text(client, &pair.certificate).await?,
        key,
    })
}

async fn text(client: &Client, reference: &ContentRef) -> Result<String> {
    if let Some(content) = &reference.content {
        return Ok(String::from_utf8_lossy(&content.0).into_owned());
    }
    let Some(place) = &reference.secret_reference else {
        bail!("a reference with neither content nor secretReference");
    };
    let (namespace, name, key) = (&place.namespace, &place.name, &place.key_path);
    let content = cluster::secret(client, namespace, name)
        .await?
        .with_context(|| format!("secret {namespace}/{name} does not exist"))?;
    cluster::text(&content, key)
        .with_context(|| format!("secret {namespace}/{name} has no key {key}"))
}
