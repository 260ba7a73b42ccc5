use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Check, Kind};

/// What happened to a step.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The world is about to be changed; after a crash: perhaps it was.
    Started,
    /// The change is made. The value is what the step hands to later steps.
    Done(Value),
    /// It was already so before us; rollback leaves it alone.
    Skipped(String),
    /// Preflight or the step's own look forbids to begin; nothing was changed.
    Blocked(Vec<Check>),
    /// The step stopped with an error; the change may be half made.
    Failed {
        /// Which ending it was.
        kind: Kind,
        /// The error with its causes, in one line.
        error: String,
        /// What was seen at the time: pod states, events, the end of a log.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<String>,
    },
    /// The operator interrupted the step at a safe point.
    Stopped,
    /// The operator has to do something first.
    Waiting(String),
    /// The operator decided that a waiting or failed step is done, for this reason.
    Marked(String),
    /// What was done no longer holds (somebody changed it), so it has to be done again.
    Broken(String),
    /// The step is about to be put back.
    UndoStarted,
    /// The world is as it was before the step.
    Undone,
    /// Putting back stopped with this error.
    UndoFailed(String),
}

/// One line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Counts from 1, without a gap.
    pub seq: u32,
    /// Fencing number of the runner that wrote it: grows with each take-over.
    pub fence: u64,
    /// When, for readers; nothing is decided by it.
    pub at: Timestamp,
    /// Which step.
    pub step: String,
    /// What happened to it.
    pub record: Record,
}

/// A history that cannot be.
#[derive(Debug, thiserror::Error)]
#[error(
    "entry {seq} of the journal says that step `{step}` went from {from} to {to}, which cannot happen"
)]
pub struct IllegalTransition {
    /// The entry's number.
    pub seq: u32,
    /// The step.
    pub step: String,
    /// The record before, by name.
    pub from: &'static str,
    /// The record that cannot follow it, by name.
    pub to: &'static str,
}

impl Record {
    /// The record's name as it stands in the journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Done(_) => "done",
            Self::Skipped(_) => "skipped",
            Self::Blocked(_) => "blocked",
            Self::Failed { .. } => "failed",
            Self::Stopped => "stopped",
            Self::Waiting(_) => "waiting",
            Self::Marked(_) => "marked",
            Self::Broken(_) => "broken",
            Self::UndoStarted => "undo_started",
            Self::Undone => "undone",
            Self::UndoFailed(_) => "undo_failed",
        }
    }

    /// Whether the step needs nothing more from `run`.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Skipped(_) | Self::Marked(_))
    }

    /// Whether `to` may follow `from` (none: the step has no record yet).
    #[must_use]
    pub fn may_follow(from: Option<&Self>, to: &Self) -> bool {
        match to {
            // After a rollback that did not end, only the rollback may go on.
            Self::Started => matches!(
                from,
                None | Some(
                    Self::Started
                        | Self::Blocked(_)
                        | Self::Failed { .. }
                        | Self::Stopped
                        | Self::Waiting(_)
                        | Self::Broken(_)
                        | Self::Undone
                )
            ),
            Self::Skipped(_) => matches!(from, None | Some(Self::Blocked(_) | Self::Undone)),
            // By its probe before it began, or by its apply before it changed anything.
            Self::Blocked(_) => {
                matches!(
                    from,
                    None | Some(Self::Started | Self::Blocked(_) | Self::Undone)
                )
            }
            Self::Done(_) | Self::Failed { .. } | Self::Stopped | Self::Waiting(_) => {
                matches!(from, Some(Self::Started))
            }
            Self::Marked(_) => matches!(from, Some(Self::Waiting(_) | Self::Failed { .. })),
            Self::Broken(_) => matches!(from, Some(Self::Done(_) | Self::Marked(_))),
            Self::UndoStarted => !matches!(
                from,
                None | Some(Self::Skipped(_) | Self::Blocked(_) | Self::Undone)
            ),
            Self::Undone | Self::UndoFailed(_) => matches!(from, Some(Self::UndoStarted)),
        }
    }
}
