//! What JetStream is asked and answers, as far as it matters here. What a bucket is configured with stays as it
//! is: newer servers have settings that are not known here.
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a request was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Refusal {
    /// As of HTTP.
    pub code: u16,
    /// Which error exactly.
    #[serde(default)]
    pub err_code: u32,
    /// For people.
    #[serde(default)]
    pub description: String,
}

impl Refusal {
    /// Whether it is for want of room.
    pub fn is_full(&self) -> bool {
        // Insufficient resources; limits of an account; of a server's memory; of its disk; a bucket's own.
        matches!(self.err_code, 10002 | 10023 | 10028 | 10047 | 10077)
            || self.description.contains("maximum bytes exceeded")
            || self.description.contains("no space left")
    }

    /// Whether another message came first.
    pub fn is_overtaken(&self) -> bool {
        self.err_code == 10071
    }

    /// Whether an earlier request for the same is not over yet.
    pub fn is_busy(&self) -> bool {
        let description = self.description.to_lowercase();
        matches!(self.err_code, 10058 | 10130)
            || description.contains("snapshot in progress")
            || description.contains("already in use")
    }

    /// Whether the account has no JetStream, or the server.
    pub fn is_disabled(&self) -> bool {
        matches!(self.err_code, 10035 | 10039 | 10076)
    }
}

/// What is in a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub messages: u64,
    pub bytes: u64,
    pub first_seq: u64,
    pub last_seq: u64,
}

/// A bucket: a stream of messages under the hood.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Bucket {
    pub config: Value,
    /// When it was made: one that was made again is another.
    pub created: String,
    pub state: State,
}

/// A bucket's snapshot, of which the rest follows in chunks.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Snapshot {
    pub config: Value,
    /// All of it is sent back as it came.
    pub state: Value,
}

/// Where a snapshot's chunks are sent to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Restore {
    pub deliver_subject: String,
}

/// What a message's publisher is told.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Stored {
    pub seq: u64,
}

/// A reader of a bucket.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Consumer {
    pub num_pending: u64,
}

/// Whatever is only granted or refused.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Granted {}

/// What an account has, and what it may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Account {
    /// Bytes on disks.
    #[serde(default)]
    pub storage: u64,
    /// Buckets and other streams.
    #[serde(default)]
    pub streams: i64,
    #[serde(default)]
    pub limits: Limits,
    /// Limits by replicas instead: `R1`, `R3`.
    #[serde(default)]
    pub tiers: std::collections::BTreeMap<String, Tier>,
}

/// The part of an account for buckets of some replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Tier {
    #[serde(default)]
    pub storage: u64,
    #[serde(default)]
    pub streams: i64,
    #[serde(default)]
    pub limits: Limits,
}

/// No limit is -1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    pub max_storage: i64,
    pub max_streams: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_storage: -1,
            max_streams: -1,
        }
    }
}
