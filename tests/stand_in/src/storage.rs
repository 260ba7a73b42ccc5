//! What ties a tenant to its store: the Secret with its settings, its role and user there, its certificate.
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::{self, Tenant},
    cluster::{self, Cluster, apply, secret_of},
    etcd,
    store::Store,
};

/// Holds the Secret until the store is cleaned up.
pub const FINALIZER: &str = "finalizer.kamaji.clastix.io/datastore-secret";

/// The Secret with the settings.
pub fn config(tenant: &Tenant) -> String {
    format!("{}-datastore-config", tenant.name_any())
}

/// The Secret with the certificate.
pub fn certificate(tenant: &Tenant) -> String {
    format!("{}-datastore-certificate", tenant.name_any())
}

/// A tenant's own part of a store.
pub struct Share {
    pub schema: String,
    pub user: String,
}

impl Share {
    /// What was set up is kept; else what is wished; else the tenant's identity.
    pub fn of(tenant: &Tenant) -> Result<Self> {
        let setup = api::status(tenant).storage.setup;
        let identity = api::uid(tenant)?;
        let first = |set_up: Option<String>, wished: &Option<String>| {
            set_up
                .or_else(|| wished.clone())
                .unwrap_or_else(|| identity.clone())
        };
        Ok(Self {
            schema: first(setup.schema, &tenant.spec.data_store_schema),
            user: first(setup.user, &tenant.spec.data_store_username),
        })
    }
}

/// Ties the tenant to `store`; gives the certificate's digest.
pub async fn settle(cluster: &Cluster, tenant: &Tenant, store: &Store) -> Result<String> {
    let share = Share::of(tenant)?;
    settle_config(cluster, tenant, store, &share).await?;
    set_up(cluster, tenant, store, &share).await?;
    settle_certificate(cluster, tenant, store, &share).await
}

/// From here on the tenant is said to be on `store`, though nothing has moved yet.
async fn settle_config(
    cluster: &Cluster,
    tenant: &Tenant,
    store: &Store,
    share: &Share,
) -> Result<()> {
    let namespace = api::namespace(tenant)?;
    let name = config(tenant);
    let found = cluster::secret(&cluster.client, &namespace, &name).await?;
    let text = |key| cluster::text(found.as_ref()?, key);
    let password = text("DB_PASSWORD").unwrap_or_else(password);
    let urls = store.urls().join(",");
    let wanted = [
        ("DB_CONNECTION_STRING", &*urls),
        ("DB_SCHEMA", &share.schema),
        ("DB_USER", &share.user),
        ("DB_PASSWORD", &password),
    ];
    if wanted
        .iter()
        .any(|(key, value)| text(key).as_deref() != Some(value))
    {
        let mut secret = secret_of(tenant, &name, &wanted);
        secret["metadata"]["finalizers"] = json!([FINALIZER]);
        apply(&cluster.of::<Secret>(&namespace), &secret).await?;
    }
    let checksum = digest(&wanted.map(|(_, value)| value));
    let said = api::status(tenant).storage;
    if said.data_store_name.as_ref() != Some(&store.name)
        || said.driver.as_ref() != Some(&store.driver)
        || said.config.checksum.as_ref() != Some(&checksum)
    {
        let config = json!({"secretName": name, "checksum": checksum});
        let said = json!({"driver": store.driver, "dataStoreName": store.name, "config": config});
        cluster.say(tenant, json!({"storage": said})).await?;
        tracing::info!(
            "{namespace}/{} is on datastore {}",
            tenant.name_any(),
            store.name
        );
    }
    Ok(())
}

async fn set_up(cluster: &Cluster, tenant: &Tenant, store: &Store, share: &Share) -> Result<()> {
    let urls = store.urls().join(",");
    let checksum = digest(&[&store.name, &urls, &share.schema, &share.user]);
    if api::status(tenant).storage.setup.checksum.as_ref() == Some(&checksum) {
        return Ok(());
    }
    etcd::set_up(store, &share.schema, &share.user).await?;
    let setup = json!({
        "schema": share.schema, "user": share.user, "checksum": checksum, "lastUpdate": cluster::now(),
    });
    cluster
        .say(tenant, json!({"storage": {"setup": setup}}))
        .await
}

async fn settle_certificate(
    cluster: &Cluster,
    tenant: &Tenant,
    store: &Store,
    share: &Share,
) -> Result<String> {
    let namespace = api::namespace(tenant)?;
    let name = certificate(tenant);
    let authority = &store.authority;
    let said = api::status(tenant).storage.certificate.checksum;
    if let Some(found) = cluster::secret(&cluster.client, &namespace, &name).await?
        && cluster::text(&found, "ca.crt").as_ref() == Some(&authority.certificate)
        && let Some(certificate) = cluster::text(&found, "server.crt")
        && said.as_deref() == Some(&*digest(&[&certificate]))
    {
        return said.context("no digest");
    }
    let made = authority.client(&share.user, None)?;
    let content = [
        ("ca.crt", &*authority.certificate),
        ("server.crt", &made.certificate),
        ("server.key", &made.key),
    ];
    apply(
        &cluster.of::<Secret>(&namespace),
        &secret_of(tenant, &name, &content),
    )
    .await?;
    let checksum = digest(&[&made.certificate]);
    let certificate =
        json!({"secretName": name, "checksum": checksum, "lastUpdate": cluster::now()});
    cluster
        .say(tenant, json!({"storage": {"certificate": certificate}}))
        .await?;
    Ok(checksum)
}

fn password() -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(32)
        .collect()
}

/// The digest of some texts, one after another.
fn digest(texts: &[&str]) -> String {
    let mut all = blake3::Hasher::new();
    for text in texts {
        all.update(text.as_bytes()).update(b"\0");
    }
    all.finalize().to_hex()[..32].to_owned()
}
