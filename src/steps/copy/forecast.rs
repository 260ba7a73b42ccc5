//! How long writes would have to stop, from what was measured while the workload ran.
use std::time::Duration;

use crate::transfer::{RoundSummary, Verification};

/// What was measured of one volume.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Seconds of the last round: the final one has about as much to move.
    last: Option<f64>,
    /// Seconds to read everything on both sides once.
    reading: Option<f64>,
}

/// A round that moved less than this part of a volume tells how long its few files took, and nothing of how
/// fast the rest can be read.
const MOST: u64 = 2;

impl Pace {
    /// Takes in a warm round.
    pub(super) fn round(&mut self, round: &RoundSummary) {
        let seconds = seconds(round.milliseconds);
        self.last = Some(seconds);
        if round.bytes == 0 {
            self.reading = Some(seconds);
        } else if round.bytes_moved >= round.bytes.div_ceil(MOST) {
            // It read on one side what it wrote on the other.
            self.reading = Some(seconds * round.bytes as f64 / round.bytes_moved as f64);
        }
    }

    /// Takes in that everything was read on both sides.
    pub(super) fn read(&mut self, verification: &Verification) {
        self.reading = Some(seconds(verification.milliseconds));
    }

    /// Whether it is known how long reading takes.
    pub(super) fn is_known(&self) -> bool {
        self.reading.is_some()
    }
}

/// A mover counts in milliseconds, and nothing takes no time at all.
fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds.max(1)).as_secs_f64()
}

/// Stopping the workload; then, on all volumes at once, moving what changed and reading everything twice,
/// once for the final round and once for the verification. None where a volume was not measured.
pub(super) fn forecast(stopping: Duration, paces: &[Pace]) -> Option<Duration> {
    let mut slowest = 0.0_f64;
    for pace in paces {
        slowest = slowest.max(pace.last? + 2.0 * pace.reading?);
    }
    let copying = Duration::try_from_secs_f64(slowest).ok()?;
    Some(stopping + copying)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::RoundKind;

    fn round(bytes: u64, bytes_moved: u64, milliseconds: u64) -> RoundSummary {
        RoundSummary {
            kind: RoundKind::Warm,
            entries: 1,
            bytes,
            files_same: 0,
            files_moved: 0,
            bytes_moved,
            bytes_sent: 0,
            others_made: 0,
            metadata_fixed: 0,
            deleted: 0,
            changed: 0,
            changed_examples: Vec::new(),
            findings: Vec::new(),
            milliseconds,
        }
    }

    fn verification(milliseconds: u64) -> Verification {
        let tree =
            serde_json::json!({"digest": "00".repeat(32), "entries": 1, "files": 1, "bytes": 1});
        serde_json::from_value(serde_json::json!({
            "source": tree, "target": tree, "difference_count": 0, "differences": [], "findings": [],
            "milliseconds": milliseconds,
        }))
        .expect("a verification")
    }

    fn pace(rounds: &[RoundSummary]) -> Pace {
        let mut pace = Pace::default();
        for round in rounds {
            pace.round(round);
        }
        pace
    }

    const STOPPING: Duration = Duration::from_secs(30);

    #[test]
    fn everything_is_read_twice_at_the_speed_of_the_copy_and_what_changed_is_moved() {
        let pace = pace(&[round(1 << 30, 1 << 30, 100_000), round(1 << 30, 0, 2000)]);
        assert_eq!(
            forecast(STOPPING, &[pace]),
            Some(Duration::from_secs(30 + 2 + 200))
        );
    }

    #[test]
    fn a_round_that_moved_little_tells_nothing_of_reading() {
        let mut pace = pace(&[round(1 << 40, 4096, 3000)]);
        assert!(!pace.is_known());
        assert_eq!(forecast(STOPPING, &[pace]), None);
        pace.read(&verification(1_000_000));
        assert_eq!(
            forecast(STOPPING, &[pace]),
            Some(Duration::from_secs(30 + 3 + 2000))
        );
    }

    #[test]
    fn the_slowest_volume_counts_and_one_that_was_not_measured_hides_behind_none() {
        let (slow, fast) = (
            pace(&[round(100, 100, 50_000)]),
            pace(&[round(100, 50, 1000)]),
        );
        let both = forecast(Duration::ZERO, &[fast, slow, fast]);
        assert_eq!(both, Some(Duration::from_secs(150)));
        assert_eq!(forecast(STOPPING, &[slow, Pace::default()]), None);
    }

    #[test]
    fn empty_volumes_take_a_moment() {
        let pace = pace(&[round(0, 0, 0)]);
        assert_eq!(
            forecast(Duration::ZERO, &[pace]),
            Some(Duration::from_millis(3))
        );
    }
}
