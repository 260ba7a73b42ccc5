//! A bucket becomes equal to another: whole, by a snapshot, or by the messages that it lacks at its end.
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        Copied, DatastoreError, Meter, Position, Reading,
        kine::{Merge, Selection, Side},
    },
    api::{Bucket, State},
    bucket::BucketRows,
    lead::is_led,
    publish::{Publisher, filler},
    read::{Messages, Parts},
    settings::{is_in_files, place, reads_snapshots, same_settings, without_remarks},
    snapshot::{self, Ended},
};

/// Sequences behind a known position that are filled or written one by one: more take longer than a snapshot.
const MOST_BEHIND: u64 = 500_000;
/// The same where the target is what was found there: the beginning of a bucket whose transfer was broken off passes
/// whole again, for the sake of its times.
const MOST_BEHIND_FOUND: u64 = 10_000;
/// How often, and how long after each other, a server is asked that is still at a transfer which was broken off. It
/// notices after 5 s.
const BUSY_TRIES: u32 = 12;
const BUSY_EACH: Duration = Duration::from_secs(1);
/// How often a source that goes on meanwhile is followed.
const ROUNDS: u32 = 20;
/// Messages between two readings of the meter.
const SHOWN_EACH: u64 = 1_024;
/// Where a copy ended: every message up to this one is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// When the source's bucket was made.
    created: String,
    /// Its last sequence.
    sequence: u64,
}

impl At {
    /// Reads a position that a copy ended at.
    pub fn read(position: &Position, store: &str) -> Result<Self, DatastoreError> {
        serde_json::from_value(position.0.clone()).map_err(|error| DatastoreError::Unexpected {
            store: store.to_owned(),
            what: format!(
                "the position {} is none of a copy of it: {error}",
                position.0
            ),
        })
    }

    /// The last message that was copied, as a row's id. No server gets as far as a number that has no such.
    pub fn id(&self) -> i64 {
        i64::try_from(self.sequence).unwrap_or(i64::MAX)
    }

    /// Whether a bucket has been where this is: else it is another one, or was restored.
    pub fn is_past_of(&self, bucket: &Bucket) -> bool {
        self.created == bucket.created && self.sequence <= bucket.state.last_seq
    }
}

/// A copy in progress.
pub(super) struct Copy<'a> {
    pub source: BucketRows,
    pub target: BucketRows,
    pub meter: &'a Meter,
    /// The source's last sequence, where the target has a lead over that: nothing can be written below it.
    led: Option<u64>,
    read: u64,
    written: u64,
    removed: u64,
    bytes: u64,
}

impl<'a> Copy<'a> {
    pub fn new(source: BucketRows, target: BucketRows, meter: &'a Meter) -> Self {
        Self {
            source,
            target,
            meter,
            led: None,
            read: 0,
            written: 0,
            removed: 0,
            bytes: 0,
        }
    }

    /// Makes the target's bucket equal to the source's.
    pub async fn run(mut self, since: Option<&At>) -> Result<Copied, DatastoreError> {
        let from = self.the_source().await?;
        if let Some(since) = since
            && since.created == from.created
            && since.sequence > from.state.last_seq
        {
            return Err(self.source.server.unexpected(format!(
                "its revision went back from {} to {}: it was restored or replaced; begin the copy anew",
                since.sequence, from.state.last_seq
            )));
        }
        if let Some(target) = self.the_target().await?
            && target.state.last_seq > from.state.last_seq
            && is_led(&self.target, target.state.last_seq).await?
        {
            self.led = Some(from.state.last_seq);
        }
        let anew = match since {
            Some(since) => !self.goes_on(since, &from).await?,
            None => false,
        };
        let whole = since.is_none() || anew;
        if whole && !self.is_beginning(&from).await? {
            self.make(&from).await?;
        }
        let (mut end, mut equal) = self.follow().await?;
        let again = !equal;
        if again {
            // Somebody has removed messages at the source that no newer ones explain.
            self.make(&from).await?;
            (end, equal) = self.follow().await?;
        }
        if !equal {
            tracing::debug!("the source has changed in a way that a comparison has to look at");
        }
        Ok(Copied {
            position: Position(json!({"created": end.created, "sequence": end.state.last_seq})),
            revision: end.state.last_seq,
            read: self.read,
            written: self.written,
            removed: self.removed,
            bytes: self.bytes,
            anew: since.is_some() && (anew || again),
        })
    }

    async fn the_source(&self) -> Result<Bucket, DatastoreError> {
        self.source.server.the_bucket(&self.source.client).await
    }

    async fn the_target(&self) -> Result<Option<Bucket>, DatastoreError> {
        self.target.server.bucket(&self.target.client).await
    }

    /// Whether the target is where an earlier copy left it, or further.
    async fn goes_on(&self, since: &At, from: &Bucket) -> Result<bool, DatastoreError> {
        let Some(target) = self.the_target().await? else {
            return Ok(false);
        };
        let last = self.led.unwrap_or(target.state.last_seq);
        Ok(since.created == from.created
            && (self.led.is_none() || since.sequence == last)
            && (since.sequence..=from.state.last_seq).contains(&last)
            && !self.is_far(last, from, MOST_BEHIND))
    }

    /// Whether all that the source has up to the target's end is there. What only the target has may be forgotten
    /// as newer messages come.
    async fn is_beginning(&mut self, from: &Bucket) -> Result<bool, DatastoreError> {
        let Some(target) = self.the_target().await? else {
            return Ok(false);
        };
        let last = self.led.unwrap_or(target.state.last_seq);
        if target.state.messages == 0
            || last > from.state.last_seq
            || self.is_far(last, from, MOST_BEHIND_FOUND)
            || !same_settings(&from.config, &target.config)
        {
            return Ok(false);
        }
        let mut merge = Merge::read(&self.source, &self.target, &Selection::All);
        let mut reading = Reading {
            of: from.state.messages,
            ..Reading::default()
        };
        while let Some(side) = merge.next().await? {
            let row = match side {
                Side::Target(_) => continue,
                Side::Both(source, target) if source == target => source,
                Side::Source(row) if row.id.unsigned_abs() > last => break,
                Side::Both(..) | Side::Source(_) => return Ok(false),
            };
            reading.keys += 1;
            reading.bytes += row.bytes().len() as u64;
            if reading.keys.is_multiple_of(SHOWN_EACH) {
                self.meter.show(reading);
            }
        }
        self.read += reading.keys;
        Ok(true)
    }

    /// Whether a snapshot is sooner there than what is missing behind this sequence.
    fn is_far(&self, last: u64, from: &Bucket, most: u64) -> bool {
        from.state.last_seq - last > most && self.passes_whole(from)
    }

    /// Whether the source makes a snapshot, and the target can read it.
    fn passes_whole(&self, from: &Bucket) -> bool {
        let (source, target) = (self.source.client.server(), self.target.client.server());
        is_in_files(&from.config) && reads_snapshots(&target.version, &source.version)
    }

    /// Makes the target's bucket anew.
    async fn make(&mut self, from: &Bucket) -> Result<(), DatastoreError> {
        for _ in 1..BUSY_TRIES {
            match self.try_make(from).await? {
                Ended::Made(bytes) => return self.count_made(bytes).await,
                Ended::Busy(why) => {
                    tracing::debug!(%why, "the bucket is made again");
                    tokio::time::sleep(BUSY_EACH).await;
                }
            }
        }
        match self.try_make(from).await? {
            Ended::Made(bytes) => self.count_made(bytes).await,
            Ended::Busy(why) => Err(why),
        }
    }

    async fn count_made(&mut self, bytes: u64) -> Result<(), DatastoreError> {
        let made = self.target.server.the_bucket(&self.target.client).await?;
        self.bytes += bytes;
        self.read += made.state.messages;
        self.written += made.state.messages;
        Ok(())
    }

    async fn try_make(&mut self, from: &Bucket) -> Result<Ended, DatastoreError> {
        self.led = None;
        let (source, target) = (&self.source, &self.target);
        let there = self.the_target().await?;
        let clustered = target.client.server().cluster.is_some();
        if let Some(there) = &there {
            self.removed += there.state.messages;
            target.server.remove(&target.client).await?;
        }
        let there = there.map(|there| there.config);
        let placed = |config: &mut Value| place(config, there.as_ref(), clustered);
        if self.passes_whole(from) {
            return snapshot::transfer(
                (&source.server, &source.client),
                (&target.server, &target.client),
                placed,
                self.meter,
            )
            .await;
        }
        let mut config = from.config.clone();
        placed(&mut config);
        without_remarks(&mut config);
        target.server.create(&target.client, &config).await?;
        // Not by a setting: kine starts only where the bucket has those that it would make it with.
        target
            .server
            .begin_at(&target.client, from.state.first_seq)
            .await?;
        Ok(Ended::Made(0))
    }

    /// Writes what the source has behind the target's end, until there is no more; whether both are equal then, as
    /// far as figures tell.
    async fn follow(&mut self) -> Result<(Bucket, bool), DatastoreError> {
        for _ in 0..ROUNDS {
            let from = self.the_source().await?;
            let target = self.target.server.the_bucket(&self.target.client).await?;
            let (wanted, last) = (from.state.last_seq, target.state.last_seq);
            if last >= wanted {
                let target = self.without_fillers().await?;
                let reading = Reading {
                    keys: from.state.messages,
                    of: from.state.messages,
                    bytes: self.bytes,
                };
                self.meter.show(reading);
                let equal = match self.led {
                    Some(end) => end == wanted && target.state.messages == from.state.messages + 1,
                    None => last == wanted && figures(&from.state) == figures(&target.state),
                };
                return Ok((from, equal));
            }
            self.append(last, wanted).await?;
        }
        let last = self.without_fillers().await?;
        // A source that is not at rest is copied again when it is.
        let mut from = self.the_source().await?;
        from.state.last_seq = last.state.last_seq;
        Ok((from, true))
    }

    /// Removes what fills gaps, also that of a copy that was broken off.
    async fn without_fillers(&self) -> Result<Bucket, DatastoreError> {
        let (server, client) = (&self.target.server, &self.target.client);
        server.purge(client, &filler(server)).await?;
        server.the_bucket(client).await
    }

    async fn append(&mut self, last: u64, wanted: u64) -> Result<(), DatastoreError> {
        let target = &self.target;
        let mut publisher = Publisher::behind(&target.client, &target.server, last).await?;
        let appended = self.append_with(&mut publisher, last, wanted).await;
        let reading = match appended {
            Ok(reading) => reading,
            // What is there says where to go on.
            Err(_) if publisher.overtaken => return Ok(()),
            Err(error) => return Err(error),
        };
        self.read += reading.keys;
        self.written += reading.keys;
        self.bytes += reading.bytes;
        Ok(())
    }

    async fn append_with(
        &self,
        publisher: &mut Publisher<'_>,
        last: u64,
        wanted: u64,
    ) -> Result<Reading, DatastoreError> {
        let source = &self.source;
        let mut messages =
            Messages::read(&source.client, &source.server, last + 1, Parts::Whole).await?;
        let mut reading = Reading {
            of: wanted - last,
            ..Reading::default()
        };
        while let Some(message) = messages.next().await? {
            if message.sequence > wanted {
                break;
            }
            reading.keys += 1;
            reading.bytes += message.payload.len() as u64;
            publisher.put(message).await?;
            if reading.keys.is_multiple_of(SHOWN_EACH) {
                self.meter.show(reading);
            }
        }
        publisher.fill(wanted).await?;
        publisher.finish().await?;
        Ok(reading)
    }
}

/// What is the same in equal buckets.
fn figures(state: &State) -> (u64, u64) {
    (state.messages, state.last_seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_strictly() {
        let read = |value| At::read(&Position(value), "datastore silver");
        let at = read(json!({"created": "then", "sequence": 17})).expect("a position");
        assert_eq!(at.sequence, 17);
        for other in [
            json!({"id": 17}),
            json!({"created": "then", "sequence": 17, "of": 1}),
            json!(17),
        ] {
            let error = read(other).expect_err("no position of ours").to_string();
            assert!(
                error.starts_with("datastore silver: the position"),
                "{error}"
            );
        }
    }
}
