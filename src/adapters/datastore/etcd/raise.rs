//! The target's revision, moved above the source's.
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    super::{DatastoreError, Raised},
    EtcdPair,
    overtaken::once_more,
    store::Store,
};

/// Writes on their way: each is its own transaction, and the server writes many to its disk together. More
/// would make the target's other tenants wait.
const IN_FLIGHT: usize = 256;
/// The source goes on moving: after each round it is looked at again.
const ROUNDS: usize = 20;
/// The part of the margin by which the target is raised beyond it.
const AHEAD: u64 = 4;

/// Raises the target's revision `margin` above the source's.
pub(super) async fn raise(pair: &EtcdPair, margin: u64) -> Result<Raised, DatastoreError> {
    // A call that was dropped may have left it.
    remove_marker(&pair.target, &pair.schema).await?;
    let mut raised = look(pair).await?;
    let before = raised.now;
    for _ in 0..ROUNDS {
        let missing = raised
            .source
            .saturating_add(margin)
            .saturating_sub(raised.now);
        if missing == 0 {
            break;
        }
        // The source moves while this is written: a little more, so that it need not be done again for each write.
        write(&pair.target, &pair.schema, missing + margin / AHEAD).await?;
        remove_marker(&pair.target, &pair.schema).await?;
        raised = look(pair).await?;
    }
    if raised.now < raised.source.saturating_add(margin) {
        return Err(DatastoreError::Unexpected {
            store: pair.source.name.to_string(),
            what: format!(
                "its revision rises as fast as the target's can be raised: {} and {}",
                raised.source, raised.now
            ),
        });
    }
    Ok(Raised { before, ..raised })
}

async fn look(pair: &EtcdPair) -> Result<Raised, DatastoreError> {
    let target = pair.target.head(&pair.range).await?;
    let source = pair.source.head(&pair.range).await?;
    let now = target.revision.unsigned_abs();
    Ok(Raised {
        source: source.revision.unsigned_abs(),
        before: now,
        now,
    })
}

/// Each write adds one to the revision.
async fn write(target: &Store, schema: &str, times: u64) -> Result<(), DatastoreError> {
    let key = marker(schema);
    stream::iter(0..times)
        .map(|_| {
            let (kv, key) = (target.kv(), key.clone());
            once_more(move || {
                let (mut kv, key) = (kv.clone(), key.clone());
                async move { kv.put(key, Vec::new(), None).await }
            })
        })
        .buffer_unordered(IN_FLIGHT)
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
        .map_err(|error| target.fault("raising its revision", &error))
}

/// Removes the key that is written for that. It is outside of all schemas.
pub(super) async fn remove_marker(target: &Store, schema: &str) -> Result<(), DatastoreError> {
    let removed = once_more(|| {
        let mut kv = target.kv();
        async move { kv.delete(marker(schema), None).await }
    });
    removed
        .await
        .map_err(|error| target.fault("raising its revision", &error))?;
    Ok(())
}

fn marker(schema: &str) -> Vec<u8> {
    format!("/kubectl-migrate/{schema}/revision").into_bytes()
}
