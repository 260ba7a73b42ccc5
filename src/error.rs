//! Endings: the kind alone picks the exit code.
use crate::{
    adapters::{kube::KubeError, s3::S3Error},
    engine::{Failure, JournalError, Kind as FailureKind, RunError, StoreError},
    plan::PlanError,
    state::LockError,
    ui::{OutputError, PromptError},
};

/// How the program ended. The numbers are an API; the README has them in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Done.
    Done,
    /// Anything that has no number of its own.
    Error,
    /// The command line or the plan is wrong.
    Usage,
    /// Nothing was to be done, and `--error-unchanged` was given.
    Unchanged,
    /// Preflight found a blocker, or the world does not allow it.
    Blocked,
    /// Another run holds the migration.
    Locked,
    /// Source and target differ.
    Difference,
    /// The operator has to do something.
    Waiting,
    /// Stopped, and a freeze is still on.
    Frozen,
    /// A bounded wait ran out.
    TimedOut,
    /// Interrupted; it can go on.
    Interrupted,
}

impl Kind {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Unchanged => 3,
            Self::Blocked => 10,
            Self::Locked => 11,
            Self::Difference => 12,
            Self::Waiting => 13,
            Self::Frozen => 14,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
        }
    }

    /// The kind of an error.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        if OutputError::is_closed(error) {
            return Self::Done;
        }
        if let Some(kind) = error.chain().find_map(kind_of_cause) {
            return kind;
        }
        // A right that is taken away while a step is at work is that step's failure.
        let in_a_step = error.downcast_ref::<RunError>().is_some();
        let refused = |cause: &(dyn std::error::Error + 'static)| {
            matches!(kube_error(cause), Some(KubeError::Forbidden { .. }))
        };
        if !in_a_step && error.chain().any(refused) {
            return Self::Blocked;
        }
        // A failure that is only a context is no link of the chain.
        Self::of_failure(Failure::kind_of(error))
    }

    fn of_failure(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Error | FailureKind::FreezeBroken => Self::Error,
            FailureKind::Blocked => Self::Blocked,
            FailureKind::Difference => Self::Difference,
            FailureKind::TimedOut => Self::TimedOut,
            FailureKind::LockLost => Self::Locked,
        }
    }

    /// The same, when a freeze was left on: a difference, a lock and a wait keep their own number.
    #[must_use]
    pub fn while_frozen(self) -> Self {
        match self {
            Self::Error | Self::Blocked | Self::TimedOut | Self::Interrupted => Self::Frozen,
            other => other,
        }
    }
}

fn kind_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Kind> {
    if let Some(error) = cause.downcast_ref::<Stopped>() {
        return Some(error.0);
    }
    if cause.downcast_ref::<PlanError>().is_some() || cause.downcast_ref::<Usage>().is_some() {
        return Some(Kind::Usage);
    }
    match cause.downcast_ref::<PromptError>() {
        Some(PromptError::Interrupted | PromptError::Declined) => return Some(Kind::Interrupted),
        // A flag is missing, or says something else.
        Some(
            PromptError::Unconfirmed { .. }
            | PromptError::OtherName { .. }
            | PromptError::Unanswered { .. },
        ) => return Some(Kind::Usage),
        Some(PromptError::Terminal(_)) | None => {}
    }
    if let Some(LockError::Held { .. } | LockError::FileHeld { .. }) =
        cause.downcast_ref::<LockError>()
    {
        return Some(Kind::Locked);
    }
    match cause.downcast_ref::<RunError>() {
        Some(RunError::Blocked { .. }) => return Some(Kind::Blocked),
        Some(RunError::Failed { kind, .. }) if *kind != FailureKind::Error => {
            return Some(Kind::of_failure(*kind));
        }
        // What shows another error as its own is one link of the chain with it.
        Some(RunError::Journal(error)) => return kind_of_cause(error),
        _ => {}
    }
    if let Some(JournalError::Store(error)) = cause.downcast_ref::<JournalError>() {
        return kind_of_cause(error);
    }
    if let Some(StoreError::Lost(_)) = cause.downcast_ref::<StoreError>() {
        return Some(Kind::Locked);
    }
    match kube_error(cause) {
        Some(KubeError::LockLost { .. }) => return Some(Kind::Locked),
        Some(KubeError::TimedOut { .. }) => return Some(Kind::TimedOut),
        _ => {}
    }
    match cause.downcast_ref::<S3Error>() {
        Some(S3Error::Damaged { .. }) => return Some(Kind::Difference),
        Some(S3Error::Flag { .. }) => return Some(Kind::Usage),
        Some(error) if error.is_refusal() => return Some(Kind::Blocked),
        _ => {}
    }
    let failure = cause.downcast_ref::<Failure>()?;
    Some(Kind::of_failure(failure.kind)).filter(|kind| *kind != Kind::Error)
}

/// A cluster's refusal, also inside of what shows it as its own: that is no link of the chain.
fn kube_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a KubeError> {
    if let Some(LockError::Kube(error)) = cause.downcast_ref::<LockError>() {
        return Some(error);
    }
    match cause.downcast_ref::<S3Error>() {
        Some(S3Error::Cluster(error)) => Some(error),
        _ => cause.downcast_ref::<KubeError>(),
    }
}

/// The command line does not fit what it is about, which only a look at that could tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// An ending that is no error of anything: the text has been said already, only the number is left.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub struct Stopped(pub Kind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_another_runner_was_before_is_a_lost_lock() {
        let lost = || StoreError::Lost("the journal has 20 lines, not 6".to_owned());
        for error in [
            anyhow::Error::from(RunError::Journal(JournalError::Store(lost()))),
            anyhow::Error::from(JournalError::Store(lost())).context("while it marked a step"),
            lost().into(),
        ] {
            assert_eq!(Kind::of(&error), Kind::Locked, "{error:#}");
        }
    }
}
