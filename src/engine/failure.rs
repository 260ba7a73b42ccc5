use std::fmt;

use serde::{Deserialize, Serialize};

/// Which ending a failure is; it alone picks the exit code.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Anything that has no kind of its own.
    Error,
    /// The world does not allow to begin or to go on.
    Blocked,
    /// Source and target are not the same.
    Difference,
    /// Somebody wrote to the source, or could have, while it was frozen.
    FreezeBroken,
    /// A bounded wait ran out.
    TimedOut,
    /// The lock was lost to another runner.
    LockLost,
}

/// An error of a step that knows which ending it is and what was seen.
///
/// Steps return [`anyhow::Error`]; this one is put into its chain where more than "error" is known.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which ending.
    pub kind: Kind,
    /// A lower-case fragment that names the object and the cause.
    pub message: String,
    /// What was seen, a line each.
    pub evidence: Vec<String>,
    /// Commands that help from here, with what they do.
    pub next: Vec<(String, String)>,
}

impl Failure {
    /// A failure with no evidence beyond its message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            evidence: Vec::new(),
            next: Vec::new(),
        }
    }

    /// The same with one more command that helps from here.
    #[must_use]
    pub fn with_next(mut self, command: impl Into<String>, what: impl Into<String>) -> Self {
        self.next.push((command.into(), what.into()));
        self
    }

    /// The same with what was seen.
    #[must_use]
    pub fn with_evidence(mut self, evidence: Vec<String>) -> Self {
        self.evidence = evidence;
        self
    }

    /// The kind of an error: of the first [`Failure`] in its chain, else [`Kind::Error`].
    #[must_use]
    pub fn kind_of(error: &anyhow::Error) -> Kind {
        Self::in_chain(error).map_or(Kind::Error, |failure| failure.kind)
    }

    /// What was seen, from the first [`Failure`] in the error's chain.
    #[must_use]
    pub fn evidence_of(error: &anyhow::Error) -> Vec<String> {
        Self::in_chain(error).map_or_else(Vec::new, |failure| failure.evidence.clone())
    }

    /// Commands that help, from the first [`Failure`] in the error's chain.
    #[must_use]
    pub fn next_of(error: &anyhow::Error) -> Vec<(String, String)> {
        Self::in_chain(error).map_or_else(Vec::new, |failure| failure.next.clone())
    }

    fn in_chain(error: &anyhow::Error) -> Option<&Self> {
        // A Failure may be the error, a cause or a context: downcast_ref sees the last, chain the others.
        error
            .downcast_ref::<Self>()
            .or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<Self>()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
