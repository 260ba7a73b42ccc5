//! What changed at the source since a copy, by a watch from there to its present.
use std::{collections::HashMap, time::Duration};

use etcd_client::{Event, EventType, WatchOptions, WatchResponse, WatchStream};
use serde::Deserialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::{
    super::{Copied, DatastoreError, Later, Meter, Position, Reading},
    EtcdPair,
    class::class_of,
    copy,
    entry::Entry,
    overtaken::says_overtaken,
    store::{Head, Store},
    walk::Range,
    writer::{Change, Writer},
};

/// How often the server is asked how far it has told us. It does not answer while it is behind.
const ASK_EACH: Duration = Duration::from_millis(20);
/// For a server that neither tells changes nor how far it is.
const SILENCE: Duration = Duration::from_secs(30);
/// Changes that are kept before they are written.
const MOST_BYTES: usize = 16 << 20;
/// What errors say was being done.
const READING: &str = "reading changes";

/// Brings the target from `since` to the source's present.
pub(super) async fn since(
    pair: &EtcdPair,
    since: &Position,
    meter: &Meter,
) -> Result<Copied, DatastoreError> {
    let present = pair.source.head(&pair.range).await?;
    let Some(from) = place(pair, since, present) else {
        return anew(pair, meter).await;
    };
    let mut following = Following {
        writer: Writer::new(&pair.source, &pair.target),
        changes: HashMap::new(),
        bytes: 0,
        reading: Reading::default(),
        meter,
    };
    let reached = match following.follow(pair, from.revision, present).await {
        Ok(reached) => reached,
        Err(Lagging::Compacted) => {
            following.write().await?;
            return anew(pair, meter).await;
        }
        Err(Lagging::Failed(error)) => return Err(error),
    };
    let written = following.write().await?;
    Ok(Copied {
        position: copy::position(reached),
        revision: reached.revision.unsigned_abs(),
        read: following.reading.keys,
        written: written.keys,
        removed: written.removed,
        bytes: written.bytes,
        anew: false,
    })
}

/// What was written after `since`, without what a comparison leaves out.
pub(super) async fn later(
    pair: &EtcdPair,
    since: &Position,
) -> Result<Option<Later>, DatastoreError> {
    let present = pair.source.head(&pair.range).await?;
    let Some(from) = place(pair, since, present) else {
        return Ok(None);
    };
    let mut later = Later::default();
    let read = each_key(
        &pair.source,
        &pair.range,
        [from.revision, present.revision],
        |key| {
            let key = &key[pair.range.from.len()..];
            if class_of(key).is_none() {
                later.add(key);
            }
        },
    );
    match read.await {
        Ok(()) => Ok(Some(later)),
        Err(Lagging::Compacted) => Ok(None),
        Err(Lagging::Failed(error)) => Err(error),
    }
}

/// Tells the key of each change of a range after one revision, up to another.
pub(super) async fn each_key(
    store: &Store,
    range: &Range,
    [from, present]: [i64; 2],
    mut changed: impl FnMut(&[u8]) + Send,
) -> Result<(), Lagging> {
    if from == present {
        return Ok(());
    }
    let mut changes = Changes::watch(store, range, from, present).await?;
    loop {
        let (message, reached) = changes.next().await?;
        for change in message.events().iter().filter_map(Event::kv) {
            changed(change.key());
        }
        if reached.is_some() {
            return Ok(());
        }
    }
}

/// Where a copy ended; none where that says nothing: of another store, or of this one's future.
pub(super) fn place(pair: &EtcdPair, since: &Position, present: Head) -> Option<copy::Place> {
    copy::Place::deserialize(&since.0)
        .ok()
        .filter(|place| place.cluster == present.cluster && place.revision <= present.revision)
        .filter(|_| pair.source.version.tells_progress())
}

async fn anew(pair: &EtcdPair, meter: &Meter) -> Result<Copied, DatastoreError> {
    let copied = copy::everything(pair, meter).await?;
    Ok(Copied {
        anew: true,
        ..copied
    })
}

/// Why the present was not reached.
pub(super) enum Lagging {
    /// The store has forgotten the changes.
    Compacted,
    Failed(DatastoreError),
}

impl From<DatastoreError> for Lagging {
    fn from(error: DatastoreError) -> Self {
        Self::Failed(error)
    }
}

/// Changes that come, the last of each key.
struct Following<'a> {
    writer: Writer,
    changes: HashMap<Vec<u8>, Change>,
    bytes: usize,
    reading: Reading,
    meter: &'a Meter,
}

impl Following<'_> {
    async fn follow(&mut self, pair: &EtcdPair, from: i64, present: Head) -> Result<Head, Lagging> {
        if from == present.revision {
            return Ok(present);
        }
        let mut changes = Changes::watch(&pair.source, &pair.range, from, present.revision).await?;
        loop {
            let (message, reached) = changes.next().await?;
            for event in message.events() {
                self.keep(event);
            }
            self.meter.show(self.reading);
            if let Some(revision) = reached {
                return Ok(Head {
                    revision,
                    ..present
                });
            }
            if self.bytes > MOST_BYTES {
                self.write().await?;
            }
        }
    }

    fn keep(&mut self, event: &Event) {
        let Some(found) = event.kv() else { return };
        let change = match event.event_type() {
            EventType::Put => Change::Put(Entry::from(found.clone())),
            EventType::Delete => Change::Remove(found.key().to_vec()),
        };
        let bytes = found.key().len() + found.value().len();
        self.reading.keys += 1;
        self.reading.of = self.reading.keys;
        self.reading.bytes += bytes as u64;
        self.bytes += bytes;
        self.changes.insert(found.key().to_vec(), change);
    }

    async fn write(&mut self) -> Result<super::writer::Written, DatastoreError> {
        for (_, change) in self.changes.drain() {
            self.writer.take(change).await?;
        }
        self.bytes = 0;
        self.writer.settle().await
    }
}

/// A watch from a revision to the present.
struct Changes<'a> {
    store: &'a Store,
    range: &'a Range,
    from: i64,
    present: i64,
    told: WatchStream,
    asks: Interval,
    heard: Instant,
}

impl<'a> Changes<'a> {
    async fn watch(
        store: &'a Store,
        range: &'a Range,
        from: i64,
        present: i64,
    ) -> Result<Self, Lagging> {
        let told = begin(store, range, from).await?;
        let mut asks = interval(ASK_EACH);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            store,
            range,
            from,
            present,
            told,
            asks,
            heard: Instant::now(),
        })
    }

    /// What comes next, and the revision up to which all was told, once that is not before the present.
    async fn next(&mut self) -> Result<(WatchResponse, Option<i64>), Lagging> {
        loop {
            tokio::select! {
                // In this order: what has come says more than a question.
                biased;
                message = self.told.message() => {
                    self.heard = Instant::now();
                    let message = message.map_err(|error| self.store.fault(READING, &error))?;
                    let message = message.ok_or_else(|| self.lost("the watch ended"))?;
                    // It ends before it tells anything.
                    if message.created() && says_overtaken(message.cancel_reason()) {
                        self.told = begin(self.store, self.range, self.from).await?;
                        continue;
                    }
                    if message.canceled() {
                        return Err(self.canceled(&message));
                    }
                    let reached = self.reached(&message);
                    return Ok((message, reached));
                }
                _ = self.asks.tick() => {
                    if self.heard.elapsed() > SILENCE {
                        return Err(self.lost("the server does not say how far it is").into());
                    }
                    let asked = self.told.request_progress().await;
                    asked.map_err(|error| self.store.fault(READING, &error))?;
                }
            }
        }
    }

    fn reached(&self, message: &WatchResponse) -> Option<i64> {
        let changed = message.events().iter().filter_map(Event::kv);
        let newest = changed.map(etcd_client::KeyValue::mod_revision).max();
        // Changes come in order: behind one that is newer, all up to the present were told.
        if newest.is_some_and(|newest| newest > self.present) {
            return Some(self.present);
        }
        let told = message
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let progress = message.events().is_empty() && !message.created();
        (progress && told >= self.present).then_some(told)
    }

    fn canceled(&self, message: &WatchResponse) -> Lagging {
        if message.compact_revision() > 0 {
            return Lagging::Compacted;
        }
        let reason = match message.cancel_reason() {
            "" => "the server ended the watch",
            reason => reason,
        };
        self.lost(reason).into()
    }

    fn lost(&self, cause: &str) -> DatastoreError {
        DatastoreError::Lost {
            store: self.store.name.to_string(),
            doing: READING.to_owned(),
            cause: cause.to_owned(),
        }
    }
}

async fn begin(store: &Store, range: &Range, from: i64) -> Result<WatchStream, DatastoreError> {
    let options = WatchOptions::new()
        .with_range(range.to.clone())
        .with_start_revision(from + 1)
        .with_fragment();
    store
        .watches()
        .watch(range.from.clone(), Some(options))
        .await
        .map_err(|error| store.fault(READING, &error))
}
