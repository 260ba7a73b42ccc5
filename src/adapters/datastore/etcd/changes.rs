//! What changed at the source since a copy, by a watch from there to its present.
use std::{collections::HashMap, time::Duration};

use etcd_client::{Event, EventType, WatchOptions, WatchResponse};
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    super::{Copied, DatastoreError, Meter, Position, Reading},
    EtcdPair, copy,
    entry::Entry,
    store::Head,
    writer::{Change, Writer},
};

/// How often the server is asked how far it has told us. It does not answer while it is behind.
const ASK_EACH: Duration = Duration::from_millis(20);
/// For a server that neither tells changes nor how far it is.
const SILENCE: Duration = Duration::from_secs(30);
/// Changes that are kept before they are written.
const MOST_BYTES: usize = 16 << 20;

/// Brings the target from `since` to the source's present.
pub(super) async fn since(
    pair: &EtcdPair,
    since: &Position,
    meter: &Meter,
) -> Result<Copied, DatastoreError> {
    let (present, _) = pair.source.head(&pair.range).await?;
    let place = copy::Place::deserialize(&since.0).ok();
    // The position of another store, or of this one's future, says nothing.
    let from = place
        .filter(|place| place.cluster == present.cluster && place.revision <= present.revision)
        .filter(|_| pair.source.version.tells_progress());
    let Some(from) = from else {
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

async fn anew(pair: &EtcdPair, meter: &Meter) -> Result<Copied, DatastoreError> {
    let copied = copy::everything(pair, meter).await?;
    Ok(Copied {
        anew: true,
        ..copied
    })
}

/// Why the present was not reached.
enum Lagging {
    /// The source has forgotten the changes.
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
        let failed = |error: &_| Lagging::Failed(pair.source.fault("reading changes", error));
        let lost = |cause: String| DatastoreError::Lost {
            store: pair.source.name.to_string(),
            doing: "reading changes".to_owned(),
            cause,
        };
        let options = WatchOptions::new()
            .with_range(pair.range.to.clone())
            .with_start_revision(from + 1)
            .with_fragment();
        let watch = pair
            .source
            .watches()
            .watch(pair.range.from.clone(), Some(options))
            .await
            .map_err(|error| failed(&error))?;
        let (mut asking, mut told) = watch.split();
        let mut asks = interval(ASK_EACH);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                // In this order: what has come says more than a question.
                biased;
                message = told.message() => {
                    heard = Instant::now();
                    let message = message.map_err(|error| failed(&error))?;
                    let message = message.ok_or_else(|| lost("the watch ended".to_owned()))?;
                    if message.canceled() {
                        return Err(canceled(&message, lost));
                    }
                    if let Some(revision) = self.hear(&message, present.revision) {
                        return Ok(Head { revision, ..present });
                    }
                    if self.bytes > MOST_BYTES {
                        self.write().await?;
                    }
                }
                _ = asks.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(lost("the server does not say how far it is".to_owned()).into());
                    }
                    asking.request_progress().await.map_err(|error| failed(&error))?;
                }
            }
        }
    }

    /// Takes what a message tells; the revision up to which all was told, once that is not before `present`.
    fn hear(&mut self, message: &WatchResponse, present: i64) -> Option<i64> {
        let mut newest = 0;
        for event in message.events() {
            newest = newest.max(self.keep(event));
        }
        self.meter.show(self.reading);
        // Changes come in order: behind one that is newer, all up to the present were told.
        if newest > present {
            return Some(present);
        }
        let told = message
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let progress = message.events().is_empty() && !message.created();
        (progress && told >= present).then_some(told)
    }

    fn keep(&mut self, event: &Event) -> i64 {
        let Some(found) = event.kv() else { return 0 };
        let revision = found.mod_revision();
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
        revision
    }

    async fn write(&mut self) -> Result<super::writer::Written, DatastoreError> {
        for (_, change) in self.changes.drain() {
            self.writer.take(change).await?;
        }
        self.bytes = 0;
        self.writer.settle().await
    }
}

fn canceled(message: &WatchResponse, lost: impl Fn(String) -> DatastoreError) -> Lagging {
    if message.compact_revision() > 0 {
        return Lagging::Compacted;
    }
    let reason = message.cancel_reason();
    let reason = if reason.is_empty() {
        "the server ended the watch"
    } else {
        reason
    };
    lost(reason.to_owned()).into()
}
