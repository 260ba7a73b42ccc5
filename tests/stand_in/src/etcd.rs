//! etcd as Kamaji uses it: a role and a user for each tenant, and the copy from store to store.
use anyhow::{Context as _, Result, bail};
use etcd_client::{Channel, Client, DeleteOptions, Error, GetOptions, Permission, UserAddOptions};

use crate::{channel, store::Store};

/// The first version that has `AuthStatus`.
const FIRST_WITH_AUTH_STATUS: (u32, u32) = (3, 5);

/// Connects as the store's root, on first use.
async fn connect(store: &Store) -> Result<Client> {
    Client::from_channel(Channel::Tonic(channel::to(store)?), None)
        .await
        .with_context(|| format!("failed to connect to datastore {}", store.name))
}

/// Makes the tenant's role and user, if they are not there.
pub async fn set_up(store: &Store, schema: &str, user: &str) -> Result<()> {
    let mut auth = connect(store).await?.auth_client();
    unless_there(auth.role_add(schema).await)?;
    let range = Permission::read_write(prefix(schema)).with_prefix();
    auth.role_grant_permission(schema, range).await?;
    let no_password = UserAddOptions::new().with_no_pwd();
    unless_there(auth.user_add(user, "", Some(no_password)).await)?;
    auth.user_grant_role(user, schema).await?;
    Ok(())
}

/// Removes a tenant's data, role and user.
pub async fn tear_down(store: &Store, schema: &str, user: &str) -> Result<()> {
    let client = connect(store).await?;
    clean(&client, schema).await?;
    let mut auth = client.auth_client();
    if_there(auth.user_delete(user).await)?;
    if_there(auth.role_delete(schema).await)?;
    Ok(())
}

/// Copies a tenant's keys; what is on the target stays, unless it is to be deleted first.
pub async fn migrate(from: &Store, to: &Store, schema: &str, clean_first: bool) -> Result<()> {
    let (from, to) = (connect(from).await?, connect(to).await?);
    ask_auth_status(&from).await?;
    ask_auth_status(&to).await?;
    if clean_first {
        let deleted = clean(&to, schema).await?;
        tracing::info!("{deleted} keys of an earlier migration deleted");
    }
    let copied = copy(&from, &to, schema).await?;
    tracing::info!("{copied} keys copied");
    Ok(())
}

/// Fails as Kamaji's first call does where the store is too old for it.
async fn ask_auth_status(client: &Client) -> Result<()> {
    let answer = client.maintenance_client().status().await?;
    let version = answer.version();
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    let known = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    if known < FIRST_WITH_AUTH_STATUS {
        bail!(
            "rpc error: code = Unimplemented desc = unknown method AuthStatus for service etcdserverpb.Auth"
        );
    }
    Ok(())
}

/// Deletes everything of a tenant.
async fn clean(client: &Client, schema: &str) -> Result<i64> {
    let all = DeleteOptions::new().with_prefix();
    let answer = client.kv_client().delete(prefix(schema), Some(all)).await?;
    Ok(answer.deleted())
}

/// Copies a tenant's keys: read in one piece, written one after another, without their leases, into
/// whatever is there already.
async fn copy(from: &Client, to: &Client, schema: &str) -> Result<usize> {
    let mut from = from.kv_client().max_decoding_message_size(usize::MAX);
    let mut to = to.kv_client();
    let whole = GetOptions::new().with_prefix();
    let answer = from.get(prefix(schema), Some(whole)).await?;
    for pair in answer.kvs() {
        to.put(pair.key(), pair.value(), None).await?;
    }
    Ok(answer.kvs().len())
}

/// With the slash at its end, for `/t1` is the begin of `/t10`, too.
fn prefix(schema: &str) -> String {
    format!("/{schema}/")
}

fn unless_there<T>(answer: Result<T, Error>) -> Result<(), Error> {
    unless(answer, "already exists")
}

fn if_there<T>(answer: Result<T, Error>) -> Result<(), Error> {
    unless(answer, "not found")
}

fn unless<T>(answer: Result<T, Error>, said: &str) -> Result<(), Error> {
    match answer {
        Err(Error::GRpcStatus(status)) if status.message().contains(said) => Ok(()),
        other => other.map(drop),
    }
}
