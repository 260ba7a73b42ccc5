//! Copying, warm and final: the same work, with the workload running or frozen.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use anyhow::Result;

use super::{
    freeze::{FROZEN, Watched},
    inventory::Volume,
    movers::{Limit, Rounded, Way, Work},
};
use crate::{
    engine::{Cx, Failure, Kind, Limited},
    plan::Size,
    transfer::{Finding, RoundKind},
};

mod final_copy;
mod forecast;
pub(super) mod target;
mod warm;

pub use final_copy::{FINAL, FinalCopy};
pub use warm::{WARM, WarmCopy};

/// What copying leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// What was done for each volume.
    pub volumes: Vec<CopiedVolume>,
    /// How long writes will have to stop, as far as the warm rounds tell; in seconds.
    pub expected_freeze: Option<f64>,
    /// What all volumes together were limited to at its end, in bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
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
    /// Seconds of each round, in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub round_seconds: Vec<f64>,
    /// Bytes that the last round had to move: about what a final round would have.
    pub left: u64,
    /// What the target cannot keep.
    pub findings: Vec<Finding>,
    /// How the bytes went; none before the first round.
    #[serde(default)]
    pub way: Option<Way>,
    /// What the last of its rounds that took longer than all before it waited for most; none where that was too short
    /// to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<Limited>,
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
            round_seconds: Vec::new(),
            left: 0,
            findings: Vec::new(),
            way: None,
            limited: None,
        }
    }

    /// Whether all of it goes in each round.
    fn goes_whole(&self) -> bool {
        matches!(self.way, Some(Way::Bucket { .. } | Way::Exec))
    }

    fn add(&mut self, rounded: Rounded, way: Option<Way>) {
        let Rounded {
            summary: round,
            limited,
            ..
        } = rounded;
        let seconds = Duration::from_millis(round.milliseconds).as_secs_f64();
        if seconds > self.seconds {
            self.limited = limited;
        }
        self.way = way;
        self.rounds += 1;
        self.files = round.entries;
        self.bytes = round.bytes;
        self.files_sent += round.files_moved;
        self.bytes_sent += round.bytes_sent;
        self.seconds += seconds;
        self.round_seconds.push(seconds);
        self.left = round.bytes_moved;
        self.findings = round.findings;
    }
}

/// Whether bytes went through the bucket, as far as the journal tells.
pub(super) fn went_through(cx: &Cx) -> Result<bool> {
    let copied = [cx.find(&WARM)?, cx.find(&FINAL)?];
    let mut volumes = copied.iter().flatten().flat_map(|copied| &copied.volumes);
    Ok(volumes.any(|volume| matches!(volume.way, Some(Way::Bucket { .. }))))
}

/// One round. `began` says of each volume whether an earlier round of this run may have written to its target.
fn round(kind: RoundKind, began: Vec<bool>) -> Work<Rounded> {
    let began = Began::new(began);
    Arc::new(move |pair| {
        let began = began.now(pair.index);
        Box::pin(async move { pair.round(kind, began).await })
    })
}

/// Which targets may have been written to. A device has no room for a mark: when its mover is lost in the first round,
/// the next try has to know that what is there is ours. It was looked at right before, and its claim says so since: what
/// came later nobody but us had a reason to write.
struct Began(Vec<AtomicBool>);

impl Began {
    fn new(began: Vec<bool>) -> Self {
        Self(began.into_iter().map(AtomicBool::new).collect())
    }

    /// A round begins; whether one may have written there before.
    fn now(&self, index: usize) -> bool {
        let began = self.0.get(index);
        began.is_some_and(|began| began.swap(true, Ordering::Relaxed))
    }
}

/// A limit as people read it.
fn shown(limit: Option<u64>) -> String {
    limit.map_or_else(
        || "not limited".to_owned(),
        |limit| format!("limited to {}/s", Size(limit)),
    )
}

/// Says that a forecast was made with another limit than there is now; none where it was the same.
fn other_limit(copied: &Copied, limit: &Limit) -> Option<String> {
    copied.expected_freeze?;
    let now = limit.whole();
    (copied.limit != now).then(|| {
        format!(
            "when it was forecast how long writes stop, copying was {}, and now it is {}: what is left takes another time",
            shown(copied.limit),
            shown(now)
        )
    })
}

/// Resolves when the freeze that a step relies on is broken; never, where nothing is frozen.
pub(super) async fn broken(guard: Option<&Watched>, cx: &Cx) -> anyhow::Error {
    let Some(guard) = guard else {
        return std::future::pending().await;
    };
    match cx.get(&FROZEN) {
        Ok(frozen) => guard.guard(&frozen).await.into(),
        Err(error) => error,
    }
}

/// One more look at the freeze, after the work that relied on it: what was done while somebody could
/// write does not count.
pub(super) async fn still_frozen(guard: Option<&Watched>, cx: &Cx) -> Result<()> {
    if let Some(guard) = guard
        && let Some(why) = guard.broken(&cx.get(&FROZEN)?).await?
    {
        return Err(Failure::new(Kind::FreezeBroken, why).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_try_of_a_first_round_knows_that_it_has_begun() {
        let began = Began::new(vec![false, true]);
        assert_eq!(
            [began.now(0), began.now(0), began.now(0)],
            [false, true, true]
        );
        assert!(began.now(1));
    }
}
