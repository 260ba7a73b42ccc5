//! Preflight: every check of every step, before anything is begun.
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::About;
use crate::{
    adapters::kube::KubeError,
    engine::{Check, Cx, Key, Outcome, Step, UndoPlan, Undone, Verdict},
};

/// Every check of every step, before anything is begun.
pub struct Preflight {
    /// The steps whose checks are made.
    pub steps: Vec<Arc<dyn Step>>,
    /// What the migration is about; it goes into the journal from here.
    pub about: About,
    /// What is checked beside the steps: rights, versions.
    pub also: Vec<Arc<dyn Look>>,
}

/// A look at the world that belongs to no step.
#[async_trait]
pub trait Look: Send + Sync {
    /// What it found.
    async fn look(&self) -> Result<Vec<Check>>;
}

/// What preflight leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// What the migration is about, as it was when it began.
    pub about: About,
    /// How many checks found all as it should be.
    pub passed: usize,
    /// What the operator was told.
    pub warnings: Vec<Check>,
}

/// What preflight leaves in the journal.
pub const CHECKED: Key<Checked> = Key::new("preflight");

/// The name of the checks that say which rights are there.
pub const RIGHTS: &str = "rights";

fn is_forbidden(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<KubeError>();
    cause.is_some_and(|cause| matches!(cause, KubeError::Forbidden { .. }))
}

impl Preflight {
    /// All checks, in the order of the steps, with the step that made them.
    pub async fn named_checks(&self, cx: &Cx) -> Result<Vec<(String, Check)>> {
        let also = try_join_all(self.also.iter().map(|look| look.look())).await?;
        let refused = also
            .iter()
            .flatten()
            .any(|check| check.name == RIGHTS && check.verdict == Verdict::Block);
        let looks = self.steps.iter().map(|step| async move {
            match step.preflight(cx).await {
                // What is missing is told with the rights, all at once.
                Err(error) if refused && is_forbidden(&error) => Ok(Vec::new()),
                checks => checks,
            }
        });
        let steps = try_join_all(looks).await?;
        let ids = self.steps.iter().map(|step| step.id());
        let named = |(id, checks): (&str, Vec<Check>)| {
            let id = id.to_owned();
            checks.into_iter().map(move |check| (id.clone(), check))
        };
        let also = also
            .into_iter()
            .map(|checks| (self.id(), checks))
            .flat_map(named);
        Ok(also.chain(ids.zip(steps).flat_map(named)).collect())
    }

    async fn checks(&self, cx: &Cx) -> Result<Vec<Check>> {
        let named = self.named_checks(cx).await?;
        Ok(named.into_iter().map(|(_, check)| check).collect())
    }
}

#[async_trait]
impl Step for Preflight {
    fn id(&self) -> &'static str {
        "preflight"
    }

    fn title(&self) -> String {
        "check everything that can be known before".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn preflight(&self, cx: &Cx) -> Result<Vec<Check>> {
        self.checks(cx).await
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let checks = self.checks(cx).await?;
        if checks.iter().any(|check| check.verdict == Verdict::Block) {
            return Ok(Outcome::Blocked(checks));
        }
        let count = checks.len();
        let warnings: Vec<_> = checks
            .into_iter()
            .filter(|check| check.verdict == Verdict::Warn)
            .collect();
        Ok(Outcome::Done(serde_json::to_value(Checked {
            about: self.about.clone(),
            passed: count - warnings.len(),
            warnings,
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
