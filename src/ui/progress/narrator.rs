use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    engine::{Entry, Event, Progress, Record},
    ui::{
        Tone, amount,
        status::{amounts, left, limited},
        visible::visible,
    },
};

/// Tells a run in lines, and knows what is being done now.
pub(super) struct Narrator {
    steps: Vec<String>,
    begun: BTreeMap<String, Timestamp>,
    doing: Option<Doing>,
}

/// A line to tell, safe for a terminal.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) tone: Option<Tone>,
    /// It only says that something begins.
    pub(super) begins: bool,
}

/// What the step at hand does.
pub(super) enum Doing {
    /// It was begun, and has said nothing yet.
    Begun { step: String, since: Instant },
    /// It is this far.
    Progress(Progress),
    /// It waits.
    Waiting {
        step: String,
        what: String,
        since: Instant,
    },
}

impl Narrator {
    pub(super) fn new(steps: &[String]) -> Self {
        Self {
            steps: steps.to_vec(),
            begun: BTreeMap::new(),
            doing: None,
        }
    }

    /// Takes an event, and gives the line to tell at once.
    pub(super) fn event(&mut self, event: Event) -> Option<Line> {
        match event {
            Event::Recorded(entry) => Some(self.entry(&entry)),
            Event::Progress(progress) => {
                self.doing = Some(Doing::Progress(progress));
                None
            }
            Event::Waiting { step, what } => {
                // A wait whose text changes (what was last seen) is still the same wait.
                let since = match &self.doing {
                    Some(Doing::Waiting {
                        step: same, since, ..
                    }) if *same == step => *since,
                    _ => Instant::now(),
                };
                self.doing = Some(Doing::Waiting { step, what, since });
                None
            }
            Event::Notice(text) => Some(Line {
                text: visible(&text).into_owned(),
                tone: None,
                begins: false,
            }),
        }
    }

    /// The line of a journal's entry.
    pub(super) fn entry(&mut self, entry: &Entry) -> Line {
        let begins = matches!(entry.record, Record::Started | Record::UndoStarted);
        let took = if begins {
            self.begun.insert(entry.step.clone(), entry.at);
            self.doing = Some(Doing::Begun {
                step: entry.step.clone(),
                since: Instant::now(),
            });
            None
        } else {
            self.doing = None;
            self.begun.remove(&entry.step).and_then(|begun| {
                Duration::try_from(entry.at.duration_since(begun))
                    .ok()
                    .map(amount::duration)
            })
        };
        let after = |word: &str| {
            took.as_ref()
                .map_or_else(|| word.to_owned(), |took| format!("{word} after {took}"))
        };
        let within = |word: &str| {
            took.as_ref()
                .map_or_else(|| word.to_owned(), |took| format!("{word} in {took}"))
        };
        let (text, tone) = match &entry.record {
            Record::Started => ("started".to_owned(), None),
            Record::Done(_) => (within("done"), Some(Tone::Good)),
            Record::Skipped(why) => (format!("skipped: {why}"), Some(Tone::Faint)),
            // Why is told at the end, whole, with what can be done about it.
            Record::Blocked(_) => ("blocked".to_owned(), Some(Tone::Bad)),
            Record::Failed { .. } => (after("failed"), Some(Tone::Bad)),
            Record::UndoFailed(_) => (format!("putting back {}", after("failed")), Some(Tone::Bad)),
            Record::Waiting(_) => ("your turn".to_owned(), Some(Tone::Notice)),
            Record::Stopped => (
                format!("{} at a safe point", after("stopped")),
                Some(Tone::Notice),
            ),
            Record::Marked(reason) => (format!("marked as done: {reason}"), Some(Tone::Notice)),
            Record::Broken(why) => (format!("no longer holds: {why}"), Some(Tone::Notice)),
            Record::UndoStarted => ("being put back".to_owned(), None),
            Record::Undone => (within("put back"), Some(Tone::Good)),
        };
        Line {
            text: format!("{}: {}", self.place(&entry.step), visible(&text)),
            tone,
            begins,
        }
    }

    /// What is being done now, as a line; none between steps and for a step that has said nothing yet.
    pub(super) fn doing(&self) -> Option<String> {
        match self.doing.as_ref()? {
            Doing::Begun { .. } => None,
            Doing::Progress(progress) => Some(format!(
                "{}: {}",
                self.place(&progress.step),
                visible(&told_with_limited(progress))
            )),
            // No time here: a line that only counts would be told each time.
            Doing::Waiting { step, what, .. } => {
                Some(format!("{}: {}", self.place(step), waiting(what)))
            }
        }
    }

    /// What is being done now.
    pub(super) fn now(&self) -> Option<&Doing> {
        self.doing.as_ref()
    }

    /// `4/7 final-copy`.
    pub(super) fn place(&self, step: &str) -> String {
        let name = visible(step);
        match self.steps.iter().position(|known| known == step) {
            Some(at) => format!("{}/{} {name}", at + 1, self.steps.len()),
            None => name.into_owned(),
        }
    }
}

/// `copying 1.1/1.4 GiB  212 MB/s  2s left  limited by: source disk 71 %`.
fn told_with_limited(progress: &Progress) -> String {
    let told = told(progress);
    match limited(progress) {
        Some(limited) => format!("{told}  {limited}"),
        None => told,
    }
}

/// `copying 1.1/1.4 GiB  212 MB/s  2s left`.
pub(super) fn told(progress: &Progress) -> String {
    let mut text = amounts(progress);
    if let Some(left) = left(progress) {
        text = format!("{text}  {} left", amount::duration(left));
    }
    if progress.doing.is_empty() {
        text
    } else {
        format!("{} {text}", progress.doing)
    }
}

/// `waiting for pod shop/orders-db-1 to end`.
pub(super) fn waiting(what: &str) -> String {
    let what = what.strip_prefix("waiting for ").unwrap_or(what);
    format!("waiting for {}", visible(what))
}
