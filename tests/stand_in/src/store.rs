//! A `DataStore` with its credentials.
use anyhow::{Context as _, Result, bail};
use kube::{Client, ResourceExt as _};

use crate::{
    api::{ContentRef, DataStore, KeyPair},
    certificates::Pair,
    cluster,
    driver::Driver,
};

/// What is needed to talk to a store.
pub struct Store {
    pub name: String,
    pub driver: Driver,
    /// Each `host:port`.
    pub endpoints: Vec<String>,
    /// The servers' authority; of etcd it has a key, too.
    pub authority: Option<Pair>,
    /// Whom we are, by certificate.
    pub identity: Option<Pair>,
    /// Whom we are, by password.
    pub login: Option<Login>,
    /// Its tenants, as they were last told.
    pub used_by: Vec<String>,
}

/// A user with its password.
pub struct Login {
    pub user: String,
    pub password: String,
}

impl Store {
    /// Reads the credentials of a store.
    pub async fn of(client: &Client, datastore: &DataStore) -> Result<Self> {
        let (name, spec) = (datastore.name_any(), &datastore.spec);
        let mut authority = None;
        let mut identity = None;
        if let Some(tls) = &spec.tls_config {
            authority = Some(pair(client, &tls.certificate_authority).await?);
            if let Some(certificate) = &tls.client_certificate {
                identity = Some(pair(client, certificate).await?);
            }
        }
        let login = match &spec.basic_auth {
            Some(basic) => Some(Login {
                user: text(client, &basic.username).await?,
                password: text(client, &basic.password).await?,
            }),
            None => None,
        };
        Ok(Self {
            driver: Driver::of(&spec.driver)
                .with_context(|| format!("datastore {name} has no known driver"))?,
            endpoints: spec.endpoints.clone(),
            authority,
            identity,
            login,
            used_by: datastore.status.clone().unwrap_or_default().used_by,
            name,
        })
    }

    /// Where it is, in the form that its tenants' settings have.
    pub fn connection_string(&self) -> String {
        if self.driver == Driver::Etcd {
            self.urls().join(",")
        } else {
            self.endpoint().to_owned()
        }
    }

    /// What a tenant's API server is told of an etcd.
    pub fn urls(&self) -> Vec<String> {
        self.endpoints
            .iter()
            .map(|endpoint| format!("https://{endpoint}"))
            .collect()
    }

    /// The only endpoint that is used of all stores but etcd.
    pub fn endpoint(&self) -> &str {
        self.endpoints.first().map_or("", String::as_str)
    }

    /// Its host and port.
    pub fn address(&self) -> Result<(&str, u16)> {
        let parts = self.endpoint().rsplit_once(':');
        let (host, port) = parts.with_context(|| format!("{}: no port", self.name))?;
        Ok((host, port.parse()?))
    }

    /// With which password somebody logs in as its administrator.
    pub fn login(&self) -> Result<&Login> {
        let login = self.login.as_ref();
        login.with_context(|| format!("datastore {} has no basicAuth", self.name))
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
