//! How long writes would have to stop, from what was measured while the workload ran.
//!
//! A limit of the rate holds in the final round as well: whoever gave one shares the network or a disk with others, and
//! they are there in the freeze, too. So how long a limited round took to move what had changed is right as it was
//! measured, for as long as the limit is the same. How fast both sides can be read it does not tell: reading is not
//! limited, and to take the limit for its pace would forecast hours for what takes minutes. That stays unknown until it
//! is measured. Where the limit is lower now than it was, moving is expected to take as long as it needs now; where it is
//! higher, the measured time stays, which is too long rather than too short.
use std::time::Duration;

use crate::{steps::movers::Rounded, transfer::Verification};

/// What was measured of one volume.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Seconds of the last round: the final one has about as much to move.
    last: Option<f64>,
    /// Bytes that crossed the network in it.
    sent: u64,
    /// Seconds to read everything on both sides once.
    reading: Option<f64>,
    /// Whether the last round moved everything, and the final one will.
    whole: bool,
}

/// A round that moved less than this part of a volume tells how long its few files took, and nothing of how
/// fast the rest can be read.
const MOST: u64 = 2;

/// A round that sent less than this part of what its limit allowed was held up by something else.
const HELD_UP: f64 = 0.5;

impl Pace {
    /// Takes in a warm round.
    pub(super) fn round(&mut self, rounded: &Rounded) {
        let round = &rounded.summary;
        let seconds = seconds(round.milliseconds);
        self.last = Some(seconds);
        self.whole = rounded.whole;
        if rounded.whole {
            // What is limited is reading, before it is compressed.
            self.sent = round.bytes;
            return;
        }
        self.sent = round.bytes_sent;
        let limited = |least| round.bytes_sent as f64 >= least as f64 * seconds * HELD_UP;
        if rounded.least.is_some_and(limited) {
            // The limit's pace is not that of the disks.
            return;
        }
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
/// once for the final round and once for the verification. None where a volume was not measured. `limit` is that of
/// each volume, in bytes a second.
pub(super) fn forecast(stopping: Duration, paces: &[Pace], limit: Option<u64>) -> Option<Duration> {
    let mut slowest = 0.0_f64;
    for pace in paces {
        let sending = limit.map_or(0.0, |limit| pace.sent as f64 / limit as f64);
        let last = pace.last?;
        let reading = match pace.reading {
            // The final round is as the last one was. Where nobody measured reading, that is no longer than a round was,
            // which has read the one side and written the other.
            reading if pace.whole => reading.unwrap_or(last),
            reading => 2.0 * reading?,
        };
        slowest = slowest.max(last.max(sending) + reading);
    }
    let copying = Duration::try_from_secs_f64(slowest).ok()?;
    Some(stopping + copying)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{RoundKind, RoundSummary};

    fn round(bytes: u64, bytes_moved: u64, milliseconds: u64) -> Rounded {
        let summary = RoundSummary {
            kind: RoundKind::Warm,
            entries: 1,
            bytes,
            files_same: 0,
            files_moved: 0,
            bytes_moved,
            bytes_sent: bytes_moved,
            others_made: 0,
            metadata_fixed: 0,
            deleted: 0,
            changed: 0,
            changed_examples: Vec::new(),
            findings: Vec::new(),
            milliseconds,
        };
        Rounded {
            summary,
            least: None,
            limited: None,
            whole: false,
        }
    }

    fn verification(milliseconds: u64) -> Verification {
        let tree = serde_json::json!({
            "digest": "00".repeat(32), "entries": 1, "files": 1, "bytes": 1, "directories": 0, "links": 0,
        });
        serde_json::from_value(serde_json::json!({
            "source": tree, "target": tree, "difference_count": 0, "differences": [], "findings": [],
            "milliseconds": milliseconds,
        }))
        .expect("a verification")
    }

    fn pace(rounds: &[Rounded]) -> Pace {
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
            forecast(STOPPING, &[pace], None),
            Some(Duration::from_secs(30 + 2 + 200))
        );
    }

    #[test]
    fn a_round_that_moved_little_tells_nothing_of_reading() {
        let mut pace = pace(&[round(1 << 40, 4096, 3000)]);
        assert!(!pace.is_known());
        assert_eq!(forecast(STOPPING, &[pace], None), None);
        pace.read(&verification(1_000_000));
        assert_eq!(
            forecast(STOPPING, &[pace], None),
            Some(Duration::from_secs(30 + 3 + 2000))
        );
    }

    #[test]
    fn the_slowest_volume_counts_and_one_that_was_not_measured_hides_behind_none() {
        let (slow, fast) = (
            pace(&[round(100, 100, 50_000)]),
            pace(&[round(100, 50, 1000)]),
        );
        let both = forecast(Duration::ZERO, &[fast, slow, fast], None);
        assert_eq!(both, Some(Duration::from_secs(150)));
        assert_eq!(forecast(STOPPING, &[slow, Pace::default()], None), None);
    }

    #[test]
    fn a_limited_round_tells_how_long_moving_takes_and_nothing_of_reading() {
        let limited = |mut rounded: Rounded, least| {
            rounded.least = Some(least);
            rounded
        };
        let first = limited(round(100 << 20, 100 << 20, 100_000), 1 << 20);
        let last = limited(round(100 << 20, 5 << 20, 5000), 1 << 20);
        let mut pace = pace(&[first.clone(), last]);
        assert!(!pace.is_known());
        pace.read(&verification(2000));
        let forecast = |limit| forecast(Duration::ZERO, &[pace], limit);
        let same = Some(Duration::from_secs(5 + 2 * 2));
        assert_eq!(forecast(Some(1 << 20)), same);
        // It was lowered since: what is left takes four times as long.
        assert_eq!(forecast(Some(1 << 18)), Some(Duration::from_secs(20 + 4)));
        // It was raised or lifted: rather too long than too short.
        assert_eq!(forecast(Some(1 << 30)), same);
        assert_eq!(forecast(None), same);
        // A limit that was never reached changed nothing.
        let mut pace = Pace::default();
        pace.round(&limited(first, 1 << 30));
        assert!(pace.is_known());
    }

    #[test]
    fn what_goes_whole_takes_as_long_again_and_is_read_once_more() {
        let mut rounded = round(1 << 30, 1 << 30, 100_000);
        rounded.whole = true;
        let mut pace = pace(&[rounded]);
        assert!(!pace.is_known());
        let seconds = |pace: Pace, limit| {
            let forecast = forecast(STOPPING, &[pace], limit);
            forecast.expect("it went once").as_secs()
        };
        // As long as all of it is the bound of what nobody measured.
        assert_eq!(seconds(pace, None), 30 + 100 + 100);
        pace.read(&verification(7000));
        assert_eq!(seconds(pace, None), 30 + 100 + 7);
        // A limit that was set since: reading, and therefore sending, takes longer.
        assert_eq!(seconds(pace, Some(1 << 20)), 30 + 1024 + 7);
    }

    #[test]
    fn empty_volumes_take_a_moment() {
        let pace = pace(&[round(0, 0, 0)]);
        assert_eq!(
            forecast(Duration::ZERO, &[pace], None),
            Some(Duration::from_millis(3))
        );
    }
}
