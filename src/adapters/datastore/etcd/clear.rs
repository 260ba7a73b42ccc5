//! Takes a schema out of a store.
use std::collections::HashSet;

use etcd_client::DeleteOptions;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    super::DatastoreError,
    entry::after,
    fault::is_nobody,
    overtaken::once_more,
    store::{Page, ReadFault, Store},
    walk::Range,
};

/// Keys that are removed at once: others wait for each removal.
const AT_ONCE: usize = 2_000;
/// etcd's own user and role.
const ROOT: &str = "root";
/// Leases that are looked at at once.
const PARALLEL: usize = 32;

/// Removes a range's keys, and the leases that have no key any more.
pub(super) async fn clear(store: &Store, whole: &Range) -> Result<(), DatastoreError> {
    let mut leases = HashSet::new();
    let mut range = whole.clone();
    loop {
        let page = store.page(&range, 0, AT_ONCE, true).await;
        let Page { entries, more } = page.map_err(|fault| match fault {
            ReadFault::Other(error) => error,
            ReadFault::Compacted => DatastoreError::Unexpected {
                store: store.name.to_string(),
                what: "its present is said to be compacted away".to_owned(),
            },
        })?;
        let with_lease = entries.iter().filter(|entry| entry.lease != 0);
        leases.extend(with_lease.map(|entry| entry.lease));
        let last = entries.last().filter(|_| more).map(|last| after(&last.key));
        let to = last.clone().unwrap_or_else(|| range.to.clone());
        if !entries.is_empty() {
            let removed = once_more(|| {
                let options = DeleteOptions::new().with_range(to.clone());
                let (mut kv, from) = (store.kv(), range.from.clone());
                async move { kv.delete(from, Some(options)).await }
            });
            removed
                .await
                .map_err(|error| store.fault("removing keys", &error))?;
        }
        let Some(from) = last else { break };
        range.from = from;
    }
    stream::iter(leases)
        .map(|lease| revoke(store, lease))
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await
}

/// Removes a user and a role. Root is everybody's.
pub(super) async fn user(store: &Store, user: &str, role: &str) -> Result<(), DatastoreError> {
    let mut auth = store.client().auth_client();
    let failed = |error: &_| store.fault("removing the schema's user", error);
    if user != ROOT {
        match auth.user_delete(user).await {
            Err(error) if !is_nobody(&error) => return Err(failed(&error)),
            _ => {}
        }
    }
    if role != ROOT {
        match auth.role_delete(role).await {
            Err(error) if !is_nobody(&error) => return Err(failed(&error)),
            _ => {}
        }
    }
    Ok(())
}

/// Ends a lease, unless a key of another schema has it.
async fn revoke(store: &Store, lease: i64) -> Result<(), DatastoreError> {
    if store.remaining(lease).await?.is_none() || store.keys_of_lease(lease).await? > 0 {
        return Ok(());
    }
    let ended = once_more(|| {
        let mut leases = store.leases();
        async move { leases.revoke(lease).await }
    });
    match ended.await {
        Ok(_) => Ok(()),
        Err(error) if super::fault::is_lease_gone(&error) => Ok(()),
        Err(error) => Err(store.fault("ending leases", &error)),
    }
}
