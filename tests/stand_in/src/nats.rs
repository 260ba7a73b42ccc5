//! NATS as Kamaji uses it: a bucket for each tenant, and the copy from store to store.
use anyhow::{Context as _, Result};
use async_nats::{ConnectOptions, jetstream};
use futures::TryStreamExt as _;

use crate::{channel, store::Store};

/// Sees that the server lets us in. The bucket is left to kine, which makes it when it starts: one that has other
/// settings than its own, such as Kamaji's history of one entry, it refuses.
pub async fn set_up(store: &Store) -> Result<()> {
    connect(store).await.map(drop)
}

/// Removes a tenant's bucket.
pub async fn tear_down(store: &Store, schema: &str) -> Result<()> {
    delete(&connect(store).await?, schema).await
}

/// Copies a tenant's entries, one after another, into whatever is in the target's bucket. That one is never made
/// here; so where it is deleted first, this cannot but fail.
pub async fn migrate(from: &Store, to: &Store, schema: &str, clean: bool) -> Result<()> {
    let (from, to) = (connect(from).await?, connect(to).await?);
    if clean {
        delete(&to, schema).await?;
    }
    let origin = from.get_key_value(schema).await?;
    let target = to.get_key_value(schema).await;
    let target = target.with_context(|| format!("nats: bucket {schema} not found"))?;
    let keys: Vec<String> = origin.keys().await?.try_collect().await?;
    for key in &keys {
        if let Some(value) = origin.get(key).await? {
            target.put(key, value).await?;
        }
    }
    tracing::info!("{} entries copied", keys.len());
    Ok(())
}

/// Deletes a bucket that may be gone already.
async fn delete(server: &jetstream::Context, schema: &str) -> Result<()> {
    if server.get_key_value(schema).await.is_ok() {
        server.delete_key_value(schema).await?;
    }
    Ok(())
}

async fn connect(store: &Store) -> Result<jetstream::Context> {
    let login = store.login()?;
    let options =
        ConnectOptions::with_user_and_password(login.user.clone(), login.password.clone());
    let client = if store.authority.is_some() {
        let options = options.require_tls(true);
        let options = options.tls_client_config(channel::tls(store)?);
        options.connect(format!("tls://{}", store.endpoint())).await
    } else {
        options.connect(store.endpoint()).await
    };
    let client =
        client.with_context(|| format!("failed to connect to datastore {}", store.name))?;
    Ok(jetstream::new(client))
}
