//! A comparison in two halves: everything while the source goes on, and what changed since once it does not. So
//! nobody has to wait for what a schema's size takes.
use std::collections::BTreeSet;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use etcd_client::{Txn, TxnOp, TxnOpResponse};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    super::{Comparison, DatastoreError, Earlier, FirstHalf, Meter, Position, Reading},
    EtcdPair,
    changes::{self, Lagging},
    compare::{self, Found, Tally},
    copy::Place,
    entry::{Entry, Pairings},
    fault::is_too_large,
    overtaken::once_more,
    store::Store,
    walk::Range,
};

/// Keys that differed in the first half are named in the journal; more of them are no accident.
const OPEN: usize = 200;
/// More changed keys than this are not kept: everything is compared anew.
const CHANGED: usize = 200_000;
/// Keys of one request, of which several are on their way. etcd takes 128 operations (`--max-txn-ops`).
const BATCH: usize = 100;
const PARALLEL: usize = 4;

/// Where both stores were when the first half was read; what its [`FirstHalf::ends`] holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ends {
    source: Place,
    target: Place,
}

/// Compares the source as it was at the end of a copy with the target as it is now.
pub(super) async fn first(
    pair: &EtcdPair,
    copied: &Position,
    meter: &Meter,
) -> Result<Option<FirstHalf>, DatastoreError> {
    let (present, target) =
        try_join(pair.source.head(&pair.range), pair.target.head(&pair.range)).await?;
    let Some(source) = changes::place(pair, copied, present) else {
        return Ok(None);
    };
    if !pair.target.version.tells_progress() {
        return Ok(None);
    }
    let mut open = Vec::new();
    let revisions = [source.revision, target.revision];
    let kept = Found::IsKept(&mut open, OPEN + 1);
    let comparison = compare::between(pair, revisions, kept, meter).await?;
    if open.len() > OPEN {
        return Ok(None);
    }
    let target = Place {
        cluster: target.cluster,
        revision: target.revision,
    };
    Ok(Some(FirstHalf {
        ends: json!(Ends { source, target }),
        comparison,
        open: open.iter().map(|key| BASE64_STANDARD.encode(key)).collect(),
    }))
}

/// Compares what changed at either side since; none where that cannot be told any more.
pub(super) async fn second(
    pair: &EtcdPair,
    first: &FirstHalf,
    meter: &Meter,
) -> Result<Option<Comparison>, DatastoreError> {
    let Ok(ends) = Ends::deserialize(&first.ends) else {
        return Ok(None);
    };
    let decoded = first.open.iter().map(|key| BASE64_STANDARD.decode(key));
    let Ok(mut keys) = decoded.collect::<Result<BTreeSet<_>, _>>() else {
        return Ok(None);
    };
    for (store, from) in [(&pair.source, &ends.source), (&pair.target, &ends.target)] {
        match changed(store, &pair.range, from).await? {
            Some(changed) => keys.extend(changed),
            None => return Ok(None),
        }
    }
    let keys: Vec<_> = keys.into_iter().collect();
    let mut reading = Reading {
        of: keys.len() as u64,
        ..Reading::default()
    };
    let mut tally = Tally::new(pair.range.from.len());
    let both = |keys: &[Vec<u8>]| {
        let keys = keys.to_vec();
        async move { try_join(entries(&pair.source, &keys), entries(&pair.target, &keys)).await }
    };
    let mut read = stream::iter(keys.chunks(BATCH).map(both)).buffered(PARALLEL);
    while let Some((source, target)) = read.try_next().await? {
        reading.keys += BATCH as u64;
        meter.show(reading);
        let pairings = Pairings::of(source, target);
        let different = pairings.filter_map(|pairing| tally.add(&pairing)).collect();
        tally.count(pair, different).await?;
    }
    let now = tally.end();
    Ok(Some(Comparison {
        different: now.different,
        differences: now.differences,
        earlier: Some(Earlier {
            source: ends.source.revision.unsigned_abs(),
            target: ends.target.revision.unsigned_abs(),
            again: keys.len() as u64,
        }),
        ..first.comparison.clone()
    }))
}

/// The keys that were written or removed since; none where the store has forgotten, is another one, or has too many.
async fn changed(
    store: &Store,
    range: &Range,
    from: &Place,
) -> Result<Option<BTreeSet<Vec<u8>>>, DatastoreError> {
    let present = store.head(range).await?;
    let mut keys = BTreeSet::new();
    if present.cluster != from.cluster || present.revision < from.revision {
        return Ok(None);
    }
    let revisions = [from.revision, present.revision];
    let read = changes::each_key(store, range, revisions, |key| {
        // One too many says enough.
        if keys.len() <= CHANGED {
            keys.insert(key.to_vec());
        }
    });
    match Box::pin(read).await {
        Ok(()) => Ok((keys.len() <= CHANGED).then_some(keys)),
        Err(Lagging::Compacted) => Ok(None),
        Err(Lagging::Failed(error)) => Err(error),
    }
}

/// These keys as they are now, in their order, without those that are not there.
async fn entries(store: &Store, keys: &[Vec<u8>]) -> Result<Vec<Entry>, DatastoreError> {
    let ask = || {
        let mut kv = store.kv();
        let gets: Vec<_> = keys
            .iter()
            .map(|key| TxnOp::get(key.clone(), None))
            .collect();
        async move { kv.txn(Txn::new().and_then(gets)).await }
    };
    let answer = match once_more(ask).await {
        Ok(answer) => answer,
        // Each value is below 1.5 MiB by default, and all together may be too much.
        Err(error) if keys.len() > 1 && is_too_large(&error) => {
            let (some, others) = keys.split_at(keys.len() / 2);
            let some = Box::pin(entries(store, some)).await?;
            let others = Box::pin(entries(store, others)).await?;
            return Ok([some, others].concat());
        }
        Err(error) => return Err(store.fault("reading", &error)),
    };
    let mut found = Vec::new();
    for response in answer.op_responses() {
        if let TxnOpResponse::Get(mut got) = response {
            found.extend(got.take_kvs().into_iter().map(Entry::from));
        }
    }
    Ok(found)
}
