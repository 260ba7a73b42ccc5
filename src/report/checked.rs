//! The receipt as it was read once more, the last time.
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    seconds_between,
    volumes::{number, text},
};
use crate::engine::{Entry, Record};

/// The record that tells of it.
const ID: &str = "receipt";

/// What both sides were when they were read once more.
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// When.
    pub at: Timestamp,
    /// Seconds since then.
    pub age_seconds: f64,
    /// Whether both sides of all volumes were what was verified.
    pub equal: bool,
    /// Volume by volume.
    pub volumes: Vec<CheckedVolume>,
}

/// The record of a snapshot's journal that tells of a check that said yes. It is no step: nothing runs or undoes it.
pub const RESTORE_CHECK: &str = "restore-check";
/// The step of a check itself with which it says so.
const ANSWER: &str = "answer";

/// The last time that a snapshot was started and found to be good.
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RestoreChecked {
    /// When.
    pub at: Timestamp,
    /// Seconds since then.
    pub age_seconds: f64,
    /// How closely it was looked at.
    pub level: u64,
}

impl RestoreChecked {
    /// The last one; none where there was none.
    pub(super) fn of(entries: &[Entry], now: Timestamp) -> Option<Self> {
        let told = |entry: &Entry| match &entry.record {
            Record::Done(told) if [RESTORE_CHECK, ANSWER].contains(&entry.step.as_str()) => {
                Some((entry.at, number(told, "level")))
            }
            _ => None,
        };
        let (at, level) = entries.iter().rev().find_map(told)?;
        Some(Self {
            at,
            age_seconds: seconds_between(at, now),
            level,
        })
    }
}

/// Both sides of a volume when they were read once more.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CheckedVolume {
    /// The source's claim.
    pub source: String,
    /// The target's claim.
    pub target: String,
    /// Whether the source was what was verified.
    pub source_equal: bool,
    /// Whether the target was.
    pub target_equal: bool,
    /// The pod that used the source; empty where none did.
    pub source_used_by: String,
    /// The pod that used the target.
    pub target_used_by: String,
    /// In how many places the two differed from each other.
    pub differences: u64,
}

impl Checked {
    /// The last one; none where there was none since the verification.
    pub(super) fn of(entries: &[Entry], now: Timestamp) -> Option<Self> {
        let done = |entry: &&Entry| matches!(entry.record, Record::Done(_));
        let last = entries
            .iter()
            .rev()
            .find(|entry| entry.step == ID && done(entry))?;
        let verified = entries.iter().rev().find(|entry| entry.step == "verify")?;
        if verified.seq > last.seq {
            return None;
        }
        let Record::Done(told) = &last.record else {
            return None;
        };
        let volumes = told.get("volumes")?.as_array()?;
        let volumes: Vec<_> = volumes.iter().map(CheckedVolume::read).collect();
        Some(Self {
            at: last.at,
            age_seconds: seconds_between(last.at, now),
            equal: volumes
                .iter()
                .all(|volume| volume.source_equal && volume.target_equal),
            volumes,
        })
    }
}

impl CheckedVolume {
    fn read(volume: &Value) -> Self {
        let is = |key: &str| volume.get(key).and_then(Value::as_bool).unwrap_or(false);
        Self {
            source: text(volume, "source"),
            target: text(volume, "target"),
            source_equal: is("source_equal"),
            target_equal: is("target_equal"),
            source_used_by: text(volume, "source_used_by"),
            target_used_by: text(volume, "target_used_by"),
            differences: number(volume, "differences"),
        }
    }
}
