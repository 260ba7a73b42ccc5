use std::fmt;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::Entry;

/// Something on its way to a screen or a file.
#[derive(Clone, Debug)]
pub enum Event {
    /// An entry was written to the journal.
    Recorded(Entry),
    /// How far the running step is.
    Progress(Progress),
    /// The running step waits; the text says for what, and what was last seen.
    Waiting {
        /// Which step.
        step: String,
        /// For what it waits.
        what: String,
    },
    /// Something the operator should see that is no entry: a retry, a mover that was placed again.
    Notice(String),
}

/// How far a step is. Published to everybody with read rights; it is not journal.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Which step.
    pub step: String,
    /// What is being done, in a word or two: `copying`, `verifying`.
    pub doing: String,
    /// How much of `total` is done.
    pub done: u64,
    /// How much there is, as far as it is known; grows while listing.
    pub total: u64,
    /// What `done` and `total` count.
    pub unit: Unit,
    /// Units per second over the last seconds.
    pub rate: f64,
    /// The parts that make it up, one per volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// What it waits for most; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<Limited>,
}

/// What something waited for most.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Limited {
    /// `source disk`, `network`, `target disk`, `CPU`, or the `limit` that was set.
    pub by: String,
    /// In how much of the time, from 0 to 1.
    pub share: f64,
}

impl fmt::Display for Limited {
    /// `source disk 71 %`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:.0} %", self.by, self.share * 100.0)
    }
}

/// What a [`Progress`] counts.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    #[default]
    Bytes,
    /// Things.
    Count,
}

/// One volume's share of a [`Progress`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The volume's claim.
    pub name: String,
    /// How much of `total` is done.
    pub done: u64,
    /// How much there is.
    pub total: u64,
}

/// Where a run sends its events.
///
/// The last progress is also kept for whoever publishes it at their own pace.
#[derive(Clone, Debug)]
pub struct Sink {
    events: mpsc::UnboundedSender<Event>,
    latest: watch::Sender<Option<Progress>>,
}

impl Sink {
    /// A sink, the end that reads its events, and the end that sees the last progress.
    #[must_use]
    pub fn new() -> (
        Self,
        mpsc::UnboundedReceiver<Event>,
        watch::Receiver<Option<Progress>>,
    ) {
        let (events, incoming) = mpsc::unbounded_channel();
        let (latest, seen) = watch::channel(None);
        (Self { events, latest }, incoming, seen)
    }

    /// Sends an event. A reader that has gone away is no error: the journal is the truth.
    pub fn send(&self, event: Event) {
        match &event {
            Event::Progress(progress) => {
                self.latest.send_replace(Some(progress.clone()));
            }
            // Whoever looks sees at least which step is at work.
            Event::Recorded(entry) => {
                let step = entry.step.clone();
                let doing = entry.record.name().replace('_', " ");
                let progress = Progress {
                    step,
                    doing,
                    ..Progress::default()
                };
                self.latest.send_replace(Some(progress));
            }
            Event::Waiting { .. } | Event::Notice(_) => {}
        }
        self.events.send(event).ok();
    }

    /// Says what the step waits for, in words that fit after "waiting for".
    pub fn waiting(&self, step: &str, what: &str) {
        let what = what.strip_prefix("still waiting for ").unwrap_or(what);
        self.send(Event::Waiting {
            step: step.to_owned(),
            what: what.to_owned(),
        });
    }

    /// Says something that is no entry.
    pub fn notice(&self, text: impl Into<String>) {
        self.send(Event::Notice(text.into()));
    }
}
