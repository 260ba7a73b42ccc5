//! What a migration's pod runs: a tenant's keys from the store that it uses to another one.
use anyhow::{Context as _, Result, bail, ensure};
use clap::{ArgAction, Args};
use jiff::SignedDuration;
use kube::{Api, Client, ResourceExt as _};

use crate::{
    api::{self, DataStore, Tenant},
    etcd,
    store::Store,
};

/// What is to be copied, and how.
#[derive(Args)]
pub struct Options {
    /// The tenant, as NAMESPACE/NAME
    #[arg(long)]
    tenant_control_plane: String,
    /// The store to copy to
    #[arg(long)]
    target_datastore: String,
    /// Whether what the target has of the tenant is deleted first
    #[arg(long, default_value_t = false, action = ArgAction::Set)]
    cleanup_prior_migration: bool,
    /// How long all of it may take
    #[arg(long, default_value = "5m")]
    timeout: SignedDuration,
}

/// Copies, or says why it cannot.
pub async fn run(options: Options) -> Result<()> {
    let timeout = options.timeout.try_into().context("a timeout below zero")?;
    tokio::time::timeout(timeout, Box::pin(migrate(&options)))
        .await
        .context("context deadline exceeded")?
}

async fn migrate(options: &Options) -> Result<()> {
    let client = Client::try_default().await?;
    let Some((namespace, name)) = options.tenant_control_plane.split_once('/') else {
        bail!("--tenant-control-plane takes NAMESPACE/NAME");
    };
    let tenants: Api<Tenant> = Api::namespaced_with(client.clone(), namespace, &api::tenants());
    let tenant = tenants.get(name).await?;
    let storage = api::status(&tenant).storage;
    let used = storage
        .data_store_name
        .context("the tenant has no datastore yet")?;
    let stores: Api<DataStore> = Api::all_with(client.clone(), &api::datastores());
    let origin = stores.get(&used).await?;
    let target = stores.get(&options.target_datastore).await?;
    ensure!(
        storage.driver.as_ref() == Some(&target.spec.driver),
        "migration between different drivers is not supported: {} to {}",
        storage.driver.unwrap_or_default(),
        target.spec.driver
    );
    ensure!(
        used != target.name_any(),
        "origin and target are the same datastore"
    );
    let schema = storage
        .setup
        .schema
        .context("the tenant has no schema yet")?;
    let from = etcd::connect(&Store::of(&client, &origin).await?).await?;
    let to = etcd::connect(&Store::of(&client, &target).await?).await?;
    etcd::ask_auth_status(&from).await?;
    etcd::ask_auth_status(&to).await?;
    if options.cleanup_prior_migration {
        let deleted = etcd::clean(&to, &schema).await?;
        tracing::info!("{deleted} keys of an earlier migration deleted");
    }
    let copied = etcd::copy(&from, &to, &schema).await?;
    tracing::info!("{copied} keys copied");
    Ok(())
}
