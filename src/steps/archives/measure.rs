use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    engine::{Check, Cx, Key, Outcome, Step, UndoPlan, Undone},
    plan::{Workload, WorkloadCheck},
    steps::{
        Place,
        checks::{self, Measured, first_pod},
    },
};

/// Runs the user's checks while the workload still runs: what they give is kept with the snapshot.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Where it runs.
    pub place: Place,
    /// What runs.
    pub workload: Workload,
    /// The same as the server had it.
    pub object: Value,
    /// What is run in its pods.
    pub checks: Vec<WorkloadCheck>,
}

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Measurements {
    /// What each check gave.
    pub checks: Vec<Measured>,
}

/// What it leaves in the journal.
pub const MEASURED: Key<Measurements> = Key::new("measure");

#[async_trait]
impl Step for Measure {
    fn id(&self) -> &'static str {
        MEASURED.step()
    }

    fn title(&self) -> String {
        let count = self.checks.len();
        let checks = if count == 1 { "check" } else { "checks" };
        format!("run {count} {checks}, and keep what they give")
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let pod = first_pod(&self.place, &self.workload, &self.object).await?;
        let (mut measured, mut refused) = (Vec::new(), Vec::new());
        for check in &self.checks {
            let run = checks::run(&self.place, &pod, check, None, &cx.stop).await;
            let Some(run) = run else {
                return Ok(Outcome::Stopped);
            };
            let judged = &run.judged;
            match run.measured.filter(|_| judged.good) {
                Some(value) => measured.push(value),
                None => refused.push(Check::block(
                    "check",
                    self.place.object("pod", &judged.pod),
                    judged.line(),
                    "a snapshot is of what is good: mend the check or the workload first",
                )),
            }
        }
        if !refused.is_empty() {
            return Ok(Outcome::Blocked(refused));
        }
        Ok(Outcome::Done(serde_json::to_value(Measurements {
            checks: measured,
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
