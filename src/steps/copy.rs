//! Copying, warm and final: the same work, with the workload running or frozen.
use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{inventory::Volume, movers::Work};
use crate::transfer::{ControlError, Finding, Inspection, RoundKind, RoundSummary, Side};

mod final_copy;
mod warm;

pub use final_copy::FinalCopy;
pub use warm::WarmCopy;

/// What copying leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// What was done for each volume.
    pub volumes: Vec<CopiedVolume>,
    /// How long writes will have to stop, as far as the warm rounds tell; in seconds.
    pub expected_freeze: Option<f64>,
}

/// What was done for one volume.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct CopiedVolume {
    /// The source's claim.
    pub source: String,
    /// The target's claim.
    pub target: String,
    /// How many rounds.
    pub rounds: u32,
    /// Entries of the source.
    pub files: u64,
    /// Length of all its files.
    pub bytes: u64,
    /// Files whose contents were moved, in all rounds.
    pub files_sent: u64,
    /// Bytes that crossed the network, in all rounds.
    pub bytes_sent: u64,
    /// Seconds of all rounds.
    pub seconds: f64,
    /// Bytes that the last round had to move: about what a final round would have.
    pub left: u64,
    /// What the target cannot keep.
    pub findings: Vec<Finding>,
}

impl CopiedVolume {
    fn new(volume: &Volume) -> Self {
        Self {
            source: volume.source.clone(),
            target: volume.target.clone(),
            rounds: 0,
            files: 0,
            bytes: 0,
            files_sent: 0,
            bytes_sent: 0,
            seconds: 0.0,
            left: 0,
            findings: Vec::new(),
        }
    }

    fn add(&mut self, round: RoundSummary) {
        self.rounds += 1;
        self.files = round.entries;
        self.bytes = round.bytes;
        self.files_sent += round.files_moved;
        self.bytes_sent += round.bytes_sent;
        self.seconds += Duration::from_millis(round.milliseconds).as_secs_f64();
        self.left = round.bytes_moved;
        self.findings = round.findings;
    }
}

/// One round. `began` says that an earlier round of this run may have written to the target.
fn round(kind: RoundKind, began: bool) -> Work<RoundSummary> {
    Arc::new(move |pair| Box::pin(async move { pair.round(kind, began).await }))
}

/// What both sides hold.
fn inspect_both() -> Work<(Inspection, Inspection)> {
    Arc::new(|pair| {
        Box::pin(async move {
            let source = pair.inspect(Side::Source).await?;
            let target = pair.inspect(Side::Target).await?;
            Ok::<_, ControlError>((source, target))
        })
    })
}
