//! What happened, from a journal: one pure fold that feeds `status` and `report` in every format.
//!
//! Nothing is read here, not even the time: the same journal seen at the same time gives the same report.
mod checked;
mod fold;
mod frozen;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
pub(crate) mod sample_switch;
mod stores;
mod volumes;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::engine::{Check, Entry, Header};

pub use checked::{Checked, CheckedVolume, RESTORE_CHECK, RestoreChecked};
pub use frozen::{Frozen, Period};
pub use stores::{ComparedSchema, CopiedSchema};
pub use volumes::{CopiedVolume, Finding, Readers, VerifiedVolume};

/// Version of what `-o json` and `-o yaml` give; it changes when a field goes away or means something else.
pub const API_VERSION: &str = "kubectl-migrate/v1";

/// What the journal alone does not tell.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The time of the look.
    pub now: Timestamp,
    /// Whether a runner holds the lock: a step that was begun runs, else it was interrupted.
    pub locked: bool,
    /// The step with which writes stop.
    pub freeze_begin: &'a str,
    /// The steps with which writes may begin again; a migration has one of them.
    pub freeze_ends: &'a [&'a str],
}

impl Seen<'static> {
    /// A look at this time, at a migration that stops writes with `freeze` and ends that with
    /// `start-target`, with `start` where it is moved in place, or with `thaw` where the tenant goes on at the target.
    #[must_use]
    pub const fn at(now: Timestamp, locked: bool) -> Self {
        Self {
            now,
            locked,
            freeze_begin: "freeze",
            freeze_ends: &["start-target", "start", "thaw"],
        }
    }
}

/// All that is known about a migration.
#[derive(Clone, Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `Report`.
    pub kind: &'static str,
    /// The migration's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Identity of the cluster that holds the journal.
    pub cluster: String,
    /// The playbook's name.
    pub playbook: String,
    /// The program that began it, with its version.
    pub tool: String,
    /// What every object made for it carries.
    pub run: String,
    /// When it was begun.
    pub created: Timestamp,
    /// When something happened last.
    pub updated: Timestamp,
    /// When this report was made.
    pub seen: Timestamp,
    /// How the whole is.
    pub state: State,
    /// The step where it is: the running, failed or waiting one, else the next. None when there is no more.
    pub current: Option<Current>,
    /// How long nobody could write.
    pub frozen: Frozen,
    /// Every step, in order.
    pub steps: Vec<StepReport>,
    /// Who ran it: one per take-over of the lock, oldest first.
    pub runners: Vec<Runner>,
    /// How both sides were when they were read once more; none where that was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
    /// When a snapshot was last started and found to be good; none where that was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_checked: Option<RestoreChecked>,
    /// What the copies and the verification found on volumes.
    pub findings: Vec<Finding>,
    /// What the steps left, by step, as they left it.
    pub outputs: BTreeMap<String, Value>,
}

/// How a migration is.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing was begun.
    Planned,
    /// A runner is at work.
    Running,
    /// The operator has to do something first.
    Waiting,
    /// A step failed.
    Failed,
    /// A step must not begin.
    Blocked,
    /// No runner is at work, and there is more to do.
    Interrupted,
    /// Every step is done.
    Done,
    /// It is being rolled back.
    RollingBack,
    /// Rolling back was interrupted.
    RollbackInterrupted,
    /// Rolling back failed at a step.
    RollbackFailed,
    /// Steps were put back, and others before them kept.
    PartlyRolledBack,
    /// Everything was put back.
    RolledBack,
    /// Its journal cannot be read, so that nobody knows.
    Unreadable,
}

/// Where a migration is.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Current {
    /// Which step, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// Its name.
    pub step: String,
}

/// What happened to a step.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct StepReport {
    /// Its place, from 1.
    pub number: usize,
    /// Its name.
    pub step: String,
    /// How it is.
    pub state: StepState,
    /// When it was begun first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended last; none while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Seconds that it ran, all attempts together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it is in its state: the error, what it waits for, why it was skipped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What was seen when it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// What blocked it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The operator's reason, where they marked it as done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marked: Option<String>,
    /// Why it had to be done again, where it no longer held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// How a step is.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Being done.
    Running,
    /// Begun by a runner that is gone; the change may be half made.
    Interrupted,
    /// Done.
    Done,
    /// It was already so.
    Skipped,
    /// It must not begin.
    Blocked,
    /// It failed; the change may be half made.
    Failed,
    /// Stopped at a safe point by the operator.
    Stopped,
    /// It waits for the operator.
    Waiting,
    /// The operator decided that it is done.
    Marked,
    /// It was done and no longer holds.
    Broken,
    /// Being put back.
    Undoing,
    /// Put back.
    Undone,
    /// Putting back failed.
    UndoFailed,
}

/// One who ran the migration.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Runner {
    /// The fencing number.
    pub fence: u64,
    /// The first entry it wrote.
    pub since: Timestamp,
    /// How many it wrote.
    pub entries: u32,
}

impl Report {
    /// Folds a journal.
    #[must_use]
    pub fn of(header: &Header, entries: &[Entry], seen: &Seen<'_>) -> Self {
        fold::fold(header, entries, seen)
    }

    /// A step, by its name.
    #[must_use]
    pub fn step(&self, step: &str) -> Option<&StepReport> {
        self.steps.iter().find(|report| report.step == step)
    }

    /// What the copying steps did per volume, in the order of the steps.
    #[must_use]
    pub fn copied(&self) -> Vec<CopiedVolume> {
        self.in_order(CopiedVolume::read)
    }

    /// What the verification compared per volume.
    #[must_use]
    pub fn verified(&self) -> Vec<VerifiedVolume> {
        self.in_order(VerifiedVolume::read)
    }

    /// What read both sides for the verification; none where nothing was verified, or it was not written down.
    #[must_use]
    pub fn readers(&self) -> Option<Readers> {
        Readers::of(&self.outputs, &self.verified())
    }

    /// What the copying steps did with a tenant's schema, in the order of the steps.
    #[must_use]
    pub fn copied_schema(&self) -> Vec<CopiedSchema> {
        CopiedSchema::all(self.ids(), &self.outputs)
    }

    /// How a tenant's schema compares in both its stores.
    #[must_use]
    pub fn compared_schema(&self) -> Option<ComparedSchema> {
        ComparedSchema::read(&self.outputs)
    }

    /// What the steps have to say at the end, by step.
    #[must_use]
    pub fn said(&self) -> Vec<(String, String)> {
        stores::notes(&self.outputs)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.step.as_str())
    }

    fn in_order<T>(&self, read: fn(&str, &Value) -> Option<T>) -> Vec<T> {
        volumes::each(self.ids(), &self.outputs, read)
    }
}

impl State {
    /// As it is shown and serialized.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Interrupted => "interrupted",
            Self::Done => "done",
            Self::RollingBack => "rolling-back",
            Self::RollbackInterrupted => "rollback-interrupted",
            Self::RollbackFailed => "rollback-failed",
            Self::PartlyRolledBack => "partly-rolled-back",
            Self::RolledBack => "rolled-back",
            Self::Unreadable => "unreadable",
        }
    }
}

impl StepState {
    /// As it is shown and serialized.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Marked => "marked",
            Self::Broken => "broken",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::UndoFailed => "undo-failed",
        }
    }
}

/// Seconds from one time to a later one; none at all where the clocks disagree.
fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests;
