//! What ties a tenant to its store: the Secret with its settings, its role and user there, its certificate.
use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::{self, Tenant},
    certificates::Pair,
    cluster::{self, Cluster, apply, secret_of},
    driver::{self, Driver},
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
    let password = settle_config(cluster, tenant, store, &share).await?;
    must_be_alone(tenant, store)?;
    set_up(cluster, tenant, store, &share, &password).await?;
    settle_certificate(cluster, tenant, store, &share).await
}

/// NATS is for one tenant, which is found out when the tenant is said to be there already.
fn must_be_alone(tenant: &Tenant, store: &Store) -> Result<()> {
    let mine = format!("{}/{}", api::namespace(tenant)?, tenant.name_any());
    if store.driver == Driver::Nats && store.used_by.iter().any(|other| *other != mine) {
        bail!(
            "NATS doesn't support multi-tenancy: datastore {} has a tenant",
            store.name
        );
    }
    Ok(())
}

/// From here on the tenant is said to be on `store`, though nothing has moved yet. Gives its password there.
async fn settle_config(
    cluster: &Cluster,
    tenant: &Tenant,
    store: &Store,
    share: &Share,
) -> Result<String> {
    let namespace = api::namespace(tenant)?;
    let name = config(tenant);
    let found = cluster::secret(&cluster.client, &namespace, &name).await?;
    let text = |key| cluster::text(found.as_ref()?, key);
    let (user, password) = if store.driver == Driver::Nats {
        // Users of NATS are in its configuration: kine logs in as Kamaji does.
        let login = store.login()?;
        (login.user.clone(), login.password.clone())
    } else {
        let kept = text("DB_PASSWORD");
        (share.user.clone(), kept.unwrap_or_else(new_password))
    };
    let place = store.connection_string();
    let wanted = [
        ("DB_CONNECTION_STRING", &*place),
        ("DB_SCHEMA", &share.schema),
        ("DB_USER", &user),
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
    let driver = store.driver.name();
    if said.data_store_name.as_ref() != Some(&store.name)
        || said.driver.as_deref() != Some(driver)
        || said.config.checksum.as_ref() != Some(&checksum)
    {
        let config = json!({"secretName": name, "checksum": checksum});
        let said = json!({"driver": driver, "dataStoreName": store.name, "config": config});
        cluster.say(tenant, json!({"storage": said})).await?;
        tracing::info!(
            "{namespace}/{} is on datastore {}",
            tenant.name_any(),
            store.name
        );
    }
    Ok(password)
}

async fn set_up(
    cluster: &Cluster,
    tenant: &Tenant,
    store: &Store,
    share: &Share,
    password: &str,
) -> Result<()> {
    let place = store.connection_string();
    let checksum = digest(&[&store.name, &place, &share.schema, &share.user, password]);
    if api::status(tenant).storage.setup.checksum.as_ref() == Some(&checksum) {
        return Ok(());
    }
    driver::set_up(store, share, password).await?;
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
    let authority = store.authority.as_ref();
    let authority = authority.map_or("", |pair| &*pair.certificate);
    let found = cluster::secret(&cluster.client, &namespace, &name).await?;
    let found = found.unwrap_or_default();
    let text = |key| cluster::text(&found, key).unwrap_or_default();
    let checksum = digest(&[&text("server.crt")]);
    let made = identity(store, share)?;
    let said = api::status(tenant).storage.certificate.checksum;
    if said.as_ref() == Some(&checksum)
        && text("ca.crt") == authority
        && (store.driver == Driver::Etcd || text("server.crt") == made.certificate)
    {
        return Ok(checksum);
    }
    let content = [
        ("ca.crt", authority),
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

/// Whom a tenant's pods are to a store: in etcd its own user; elsewhere all that the store's administrator is, or
/// nobody.
fn identity(store: &Store, share: &Share) -> Result<Pair> {
    match (store.driver, &store.authority, &store.identity) {
        (Driver::Etcd, Some(authority), _) => authority.client(&share.user, None),
        (Driver::Etcd, None, _) => bail!("datastore {} has no authority", store.name),
        (_, _, Some(identity)) => Ok(identity.clone()),
        (_, _, None) => Ok(Pair::default()),
    }
}

fn new_password() -> String {
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
