use serde::{Deserialize, Serialize};

/// What one check of preflight found.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, in a few words: `target volumes`, `storage class`.
    pub name: String,
    /// The object it was looked at on, as `kind namespace/name`.
    pub object: String,
    /// Whether the migration may go on.
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: String,
    /// What to do about it; empty where nothing is to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cure: String,
}

/// Whether a migration may go on after a [`Check`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// It works, and the operator should know.
    Warn,
    /// It would fail or lose something; nothing is begun.
    Block,
}

impl Check {
    /// A check that found all as it should be.
    pub fn pass(name: &str, object: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self::new(name, object, Verdict::Pass, evidence, "")
    }

    /// A check that found something the operator should know.
    pub fn warn(
        name: &str,
        object: impl Into<String>,
        evidence: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self::new(name, object, Verdict::Warn, evidence, cure)
    }

    /// A check that forbids to begin.
    pub fn block(
        name: &str,
        object: impl Into<String>,
        evidence: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self::new(name, object, Verdict::Block, evidence, cure)
    }

    fn new(
        name: &str,
        object: impl Into<String>,
        verdict: Verdict,
        evidence: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            object: object.into(),
            verdict,
            evidence: evidence.into(),
            cure: cure.into(),
        }
    }
}
