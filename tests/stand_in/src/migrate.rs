//! What a migration's pod runs: a tenant's data from the store that it uses to another one.
use anyhow::{Context as _, Result, bail, ensure};
use clap::{ArgAction, Args};
use jiff::SignedDuration;
use kube::{Api, Client, ResourceExt as _};

use crate::{
    api::{self, DataStore, Tenant},
    driver,
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
    let (from, to) = (
        Store::of(&client, &origin).await?,
        Store::of(&client, &target).await?,
    );
    driver::migrate(&from, &to, &schema, options.cleanup_prior_migration).await
}
