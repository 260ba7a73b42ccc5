use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use tokio::sync::mpsc::{Receiver, Sender};

use super::{
    DatastoreError,
    archive::{Piece, Record},
};

/// A schema in two stores of the same driver.
///
/// Every future may be dropped at any point and called again: what is complete is not sent again, and nothing
/// is left that only the dropped call knew.
#[async_trait]
pub trait Pair: Send + Sync {
    /// Looks at both stores. Changes nothing.
    async fn look(&self) -> Result<Look, DatastoreError>;

    /// Makes the target's schema equal to the source's as it is now: from `since`, the end of an earlier call,
    /// only what changed since then; else both are read, and only what differs is sent. Where the source has
    /// forgotten `since` (compaction), it is as if it had not been given, and [`Copied::anew`] says so.
    async fn copy(&self, since: Option<&Position>, meter: &Meter)
    -> Result<Copied, DatastoreError>;

    /// Reads both schemas and compares them by content, but for what a working API server changes by itself.
    async fn compare(&self, meter: &Meter) -> Result<Comparison, DatastoreError>;

    /// Compares what a copy that ended there has made, while the source goes on: the first half of a comparison, which
    /// is true of that moment. None where the driver has no such half, or more differs than can be looked at again.
    async fn compare_first(
        &self,
        _copied: &Position,
        _meter: &Meter,
    ) -> Result<Option<FirstHalf>, DatastoreError> {
        Ok(None)
    }

    /// Compares what changed on either side since the first half, and what differed in it. None where a store has
    /// forgotten what changed: then only [`Pair::compare`] can tell.
    async fn compare_rest(
        &self,
        _first: &FirstHalf,
        _meter: &Meter,
    ) -> Result<Option<Comparison>, DatastoreError> {
        Ok(None)
    }

    /// What was written to the source's schema after a copy ended there, without what [`Pair::compare`] leaves
    /// out: a write that an API server had let in before it was told to refuse them may be stored later. None
    /// where the source cannot tell: it has forgotten, or is another one.
    async fn later(&self, since: &Position) -> Result<Option<Later>, DatastoreError>;

    /// Makes the target's revision at least `margin` above the source's: its next comes behind all that the source
    /// has given, and may still give. A client that goes on from a revision which the target has not reached waits
    /// silently; and if the target gave revisions again that the source has given, to leases of a frozen tenant's
    /// API servers, a client that has seen those would miss the target's.
    ///
    /// etcd's revision is a counter, and may be raised at any time. With kine it is the last row's id: this belongs
    /// between the last copy and the first API server at the target, and another copy may take it away. It writes
    /// nothing where the target is that far already, and changes no key of any schema that is there afterwards.
    async fn lead(&self, margin: u64) -> Result<Raised, DatastoreError>;

    /// Whether the target would go wrong though every key is there: a counter that gives ids again which are taken.
    /// [`Pair::copy`] puts it right.
    async fn wrong_counter(&self) -> Result<Option<String>, DatastoreError> {
        Ok(None)
    }

    /// Puts right what [`Pair::wrong_counter`] finds, in a target that may be in use.
    async fn mend_counter(&self) -> Result<(), DatastoreError> {
        Ok(())
    }

    /// The source's revision now, in the terms of [`Raised::source`].
    async fn source_revision(&self) -> Result<u64, DatastoreError>;

    /// What the source's records are kept in, in the driver's own terms; null where there is nothing to say.
    async fn layout(&self) -> Result<Value, DatastoreError>;

    /// Sends the source's schema as it is at one revision; that revision. The end is left to the caller.
    async fn dump(&self, out: &Sender<Piece>, meter: &Meter) -> Result<u64, DatastoreError>;

    /// Puts records into the target, which has none of the schema, until no more come.
    async fn load(
        &self,
        layout: &Value,
        records: &mut Receiver<Record>,
        meter: &Meter,
    ) -> Result<(), DatastoreError>;

    /// Removes the schema's data from the target, and what else [`Pair::copy`] made there.
    async fn clear_target(&self) -> Result<(), DatastoreError>;

    /// Removes what Kamaji makes beside the data at the target: the schema's user, and its role where the driver
    /// has one. Without them it is as if they were removed. The user that the DataStore names is never removed.
    async fn clear_user(&self, user: &str) -> Result<(), DatastoreError>;
}

/// How far a call is: told now and then, never awaited.
#[derive(Clone)]
pub struct Meter(Arc<dyn Fn(Reading) + Send + Sync>);

/// What a [`Meter`] shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Keys that were worked on.
    pub keys: u64,
    /// How many there are, as far as it is known.
    pub of: u64,
    /// Bytes of those keys and their values.
    pub bytes: u64,
}

impl Meter {
    /// A meter that calls this.
    pub fn new(tell: impl Fn(Reading) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Shows a reading.
    pub fn show(&self, reading: Reading) {
        (self.0)(reading);
    }
}

/// Both stores, before anything is begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// From where.
    pub source: StoreLook,
    /// To where.
    pub target: StoreLook,
    /// What the driver found that makes a copy impossible or unwise.
    pub findings: Vec<Finding>,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreLook {
    /// The server's version.
    pub version: String,
    /// Its own counter of changes: etcd's revision, kine's largest id, a bucket's last sequence.
    pub revision: u64,
    /// Keys of the schema; rows with kine.
    pub keys: u64,
    /// Their and their values' bytes, or what the server estimates.
    pub bytes: u64,
}

/// Something that a driver found beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The check's name, lower case: `etcd alarm`.
    pub check: String,
    /// Whether nothing may be begun with it.
    pub blocks: bool,
    /// What was seen.
    pub evidence: String,
    /// What to do about it.
    pub cure: String,
}

/// Where a copy ended, in the driver's own terms; goes into the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub Value);

/// What a copy did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// From where the next one goes on.
    pub position: Position,
    /// The source's revision that was copied.
    pub revision: u64,
    /// Keys that were read, or changes.
    pub read: u64,
    /// Keys that were written to the target.
    pub written: u64,
    /// Keys that were removed from it.
    pub removed: u64,
    /// Bytes of what was written.
    pub bytes: u64,
    /// Whether it began anew because the source had forgotten the position.
    pub anew: bool,
}

/// What was written later than it should have been.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Later {
    /// How many writes.
    pub writes: u64,
    /// The keys of the first of them, without the schema's prefix; bytes that are no text are escaped.
    pub keys: Vec<String>,
}

impl Later {
    /// Names that are kept.
    const NAMED: usize = 20;

    /// Counts a write to this key.
    pub fn add(&mut self, key: &[u8]) {
        self.writes += 1;
        if self.keys.len() < Self::NAMED {
            self.keys.push(key.escape_ascii().to_string());
        }
    }
}

/// What raising the target's revision did, or its lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raised {
    /// The source's revision.
    pub source: u64,
    /// The target's before.
    pub before: u64,
    /// The target's now.
    pub now: u64,
}

/// How two schemas compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Keys that were compared by content.
    pub keys: u64,
    /// Their and their values' bytes.
    pub bytes: u64,
    /// BLAKE3 over keys and values of the source, in order, as hexadecimal digits.
    pub digest: String,
    /// What was left out, by its class.
    pub ignored: Vec<Ignored>,
    /// How many keys differ.
    pub different: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Where most of it was compared before: `keys`, `bytes`, `digest` and `ignored` are of then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Earlier>,
}

/// When most of a comparison was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The source's revision that was compared.
    pub source: u64,
    /// The target's.
    pub target: u64,
    /// Keys that changed on either side since, and were compared again.
    pub again: u64,
}

/// The first half of a comparison; goes into the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstHalf {
    /// What was read of both stores, in the driver's own terms.
    pub ends: Value,
    /// What was found; differences are left to the second half.
    pub comparison: Comparison,
    /// Keys that differed then, in Base64: they are compared again.
    pub open: Vec<String>,
}

/// Keys that a comparison leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ignored {
    /// Which: `node leases`, `events`.
    pub class: String,
    /// How many of them differ, out of `keys`.
    pub different: u64,
    /// How many there are.
    pub keys: u64,
}

/// A key that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The key, without the schema's prefix; bytes that are no text are escaped.
    pub key: String,
    /// How: `missing at the target`, `only at the target`, `other value`, `without its lease`.
    pub how: String,
}
