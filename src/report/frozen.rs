use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Seen, seconds_between};
use crate::engine::{Entry, Record};

/// How long nobody could write, neither to the source nor to the target.
///
/// Counted for the worse: from the beginning of the step that stops writes to the end of the step with
/// which they may begin again.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct Frozen {
    /// Whether it is so at the time of the report.
    pub now: bool,
    /// Seconds, all periods together.
    pub seconds: f64,
    /// Seconds that the warm rounds expected it to last; none before they have measured.
    #[serde(rename = "expectedSeconds")]
    pub expected_seconds: Option<f64>,
    /// Each time, oldest first.
    pub periods: Vec<Period>,
}

/// One time that nobody could write.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Period {
    /// When writes stopped.
    pub since: Timestamp,
    /// When they could begin again; none while they cannot.
    pub until: Option<Timestamp>,
    /// Seconds, up to the report where it has not ended.
    pub seconds: f64,
}

impl Frozen {
    /// The same with what the warm rounds left in the journal. Where a volume had no round, what they
    /// expected says nothing of it.
    pub(super) fn with_expected(mut self, outputs: &BTreeMap<String, Value>) -> Self {
        let measured = |warm: &&Value| {
            let volumes = warm["volumes"].as_array();
            let rounds = |volume: &Value| volume["rounds"].as_u64().unwrap_or(0);
            volumes.is_none_or(|volumes| volumes.iter().all(|volume| rounds(volume) > 0))
        };
        // What was measured later counts more.
        let mut warm = ["warm-verify", "warm-copy"]
            .into_iter()
            .filter_map(|step| outputs.get(step))
            .filter(measured);
        self.expected_seconds = warm.find_map(|warm| warm["expected_freeze"].as_f64());
        self
    }

    pub(super) fn of(entries: &[Entry], seen: &Seen<'_>) -> Self {
        let mut frozen = Self::default();
        let mut stopped = false;
        let mut begun_again = false;
        for entry in entries {
            if entry.step == seen.freeze_begin {
                stopped = match entry.record {
                    // What was done before us is frozen, too; what failed half-way may be.
                    Record::Started | Record::Skipped(_) => true,
                    Record::Undone | Record::Broken(_) => false,
                    _ => stopped,
                };
            } else if seen.freeze_ends.contains(&entry.step.as_str()) {
                begun_again = match entry.record {
                    Record::Done(_) | Record::Skipped(_) | Record::Marked(_) => true,
                    Record::UndoStarted | Record::Broken(_) => false,
                    _ => begun_again,
                };
            }
            frozen.turn(stopped && !begun_again, entry.at);
        }
        for period in &mut frozen.periods {
            period.seconds = seconds_between(period.since, period.until.unwrap_or(seen.now));
            frozen.seconds += period.seconds;
        }
        frozen
    }

    fn turn(&mut self, now: bool, at: Timestamp) {
        match (self.now, now) {
            (false, true) => self.periods.push(Period {
                since: at,
                until: None,
                seconds: 0.0,
            }),
            (true, false) => {
                if let Some(period) = self.periods.last_mut() {
                    period.until = Some(at);
                }
            }
            _ => {}
        }
        self.now = now;
    }
}
