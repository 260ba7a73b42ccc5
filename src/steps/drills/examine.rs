use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    engine::{Check, Cx, Failure, Key, Kind, Outcome, Step, UndoPlan, Undone},
    plan::{Compare, Workload, WorkloadCheck},
    steps::{
        Place,
        checks::{self, Judged, Measured, first_pod},
        ready,
    },
};

/// Runs the user's checks in the workload that was brought back.
#[derive(Clone, Debug)]
pub struct Examine {
    /// Where it runs.
    pub place: Place,
    /// What runs.
    pub workload: Workload,
    /// It as the snapshot has it.
    pub object: Value,
    /// What is run in its pods.
    pub checks: Vec<WorkloadCheck>,
    /// What the checks gave when the snapshot was taken.
    pub taken: Vec<Measured>,
}

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Examined {
    /// How each check is judged.
    pub checks: Vec<Judged>,
}

/// It has to stay ready for so long: not every pod has a probe that tells what becomes of it.
const STAYS: Duration = Duration::from_secs(20);

/// What it leaves in the journal.
pub const EXAMINED: Key<Examined> = Key::new("examine");

impl Examine {
    fn taken(&self, check: &WorkloadCheck) -> Option<&Measured> {
        self.taken.iter().find(|taken| taken.name == check.name)
    }

    /// Whether it stays ready for a while: what crashes on its data may do so only then. False where it was stopped.
    async fn stays(&self, cx: &Cx) -> Result<bool> {
        tokio::select! {
            () = tokio::time::sleep(STAYS) => {}
            () = cx.stop.wait() => return Ok(false),
        }
        let pods = ready::of(&self.place, &self.workload).await?;
        let has_restarted = |pod: &Pod| {
            let statuses = pod.status.as_ref();
            let statuses = statuses.and_then(|status| status.container_statuses.as_ref());
            let mut statuses = statuses.into_iter().flatten();
            statuses.any(|status| status.restart_count > 0)
        };
        let bad = pods
            .iter()
            .filter(|pod| !ready::is_ready(pod) || has_restarted(pod));
        let bad: Vec<_> = bad.filter_map(|pod| pod.metadata.name.clone()).collect();
        if pods.is_empty() || !bad.is_empty() {
            let why = format!(
                "restore-check level 3: no: it was ready and did not stay so: {}",
                if pods.is_empty() {
                    "it has no pods".to_owned()
                } else {
                    format!("pods {}", bad.join(", "))
                }
            );
            return Err(Failure::new(Kind::Difference, why).into());
        }
        Ok(true)
    }

    /// Why a check cannot be compared with what the snapshot has.
    fn is_without(&self, check: &WorkloadCheck) -> Option<String> {
        if check.compare != Some(Compare::Snapshot) {
            return None;
        }
        match self.taken(check) {
            None => Some(format!(
                "the snapshot has no value of check {}: it was taken without it",
                check.name
            )),
            Some(taken) if taken.command != check.command => Some(format!(
                "check {} has another command than when the snapshot was taken",
                check.name
            )),
            Some(_) => None,
        }
    }
}

#[async_trait]
impl Step for Examine {
    fn id(&self) -> &'static str {
        EXAMINED.step()
    }

    fn title(&self) -> String {
        match self.checks.len() {
            0 => "see that it stays ready; there are no checks".to_owned(),
            1 => "run 1 check in its pods".to_owned(),
            count => format!("run {count} checks in its pods"),
        }
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        let without = self.checks.iter().filter_map(|check| {
            let why = self.is_without(check)?;
            let object = format!("check {}", check.name);
            Some(Check::block(
                "checks",
                object,
                why,
                "name an output, or take the next snapshot with --checks",
            ))
        });
        Ok(without.collect())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        if !self.stays(cx).await? {
            return Ok(Outcome::Stopped);
        }
        let mut judged = Vec::new();
        if !self.checks.is_empty() {
            let pod = first_pod(&self.place, &self.workload, &self.object).await?;
            for check in &self.checks {
                let taken = self.taken(check);
                let run = checks::run(&self.place, &pod, check, taken, &cx.stop).await;
                let Some(run) = run else {
                    return Ok(Outcome::Stopped);
                };
                judged.push(run.judged);
            }
        }
        // Also what was found to be bad is told only when all of it is taken away again.
        Ok(Outcome::Done(serde_json::to_value(Examined {
            checks: judged,
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
