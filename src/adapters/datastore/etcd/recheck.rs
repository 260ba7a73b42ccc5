//! A second look at keys with leases: their end is no difference.
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    super::DatastoreError,
    EtcdPair,
    compare::{Different, difference},
    entry::{Entry, Pairing},
    store::Store,
};

/// Keys that are looked at at once.
const PARALLEL: usize = 16;
/// Servers count leases down in whole seconds, each by its own clock.
const ENDING: i64 = 5;

/// Those that still differ, and not because their lease ends.
pub(super) async fn still_different(
    pair: &EtcdPair,
    doubtful: Vec<Different>,
) -> Result<Vec<Different>, DatastoreError> {
    let looked: Vec<Option<Different>> = stream::iter(doubtful)
        .map(|doubtful| look_again(pair, doubtful))
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    Ok(looked.into_iter().flatten().collect())
}

async fn look_again(
    pair: &EtcdPair,
    doubtful: Different,
) -> Result<Option<Different>, DatastoreError> {
    let key = &doubtful.key;
    let (source, target) =
        futures::future::try_join(pair.source.entry(key), pair.target.entry(key)).await?;
    let (pairing, ends) = match (source, target) {
        (None, None) => return Ok(None),
        (Some(source), None) => {
            let ends = ends(&pair.source, &source).await?;
            (Pairing::Source(source), ends)
        }
        (None, Some(target)) => {
            let ends = ends(&pair.target, &target).await?;
            (Pairing::Target(target), ends)
        }
        (Some(source), Some(target)) => (Pairing::Both { source, target }, false),
    };
    let how = difference(&pairing).filter(|_| !ends);
    Ok(how.map(|how| Different { how, ..doubtful }))
}

async fn ends(store: &Store, entry: &Entry) -> Result<bool, DatastoreError> {
    if entry.lease == 0 {
        return Ok(false);
    }
    let left = store.remaining(entry.lease).await?;
    Ok(left.is_none_or(|left| left <= ENDING))
}
