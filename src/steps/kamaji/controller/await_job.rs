use std::time::Duration;

use anyhow::{Result, bail};
use async_trait::async_trait;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Resource as _, ResourceExt as _};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{
    super::{Switch, stores::meter},
    cause::{Cause, Seen},
    defects::Defect,
    job::{has, is_alive},
    manager::Manager,
    request::REQUESTED,
};
use crate::{
    adapters::kube::job_evidence,
    engine::{Cx, Failure, Holds, Key, Kind, Outcome, Step, UndoPlan, Undone},
};

/// Waits for the end of Kamaji's Job, and looks what it did.
#[derive(Clone, Debug)]
pub struct AwaitJob(pub Switch);

/// What that leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// The Job's uid; none where Kamaji was faster.
    pub job: Option<String>,
    /// What it did wrong.
    pub defects: Vec<Defect>,
}

/// What that leaves in the journal.
pub const JOB: Key<Copied> = Key::new("job");

/// Beside the time that the Job was given: until its pod is placed and its image pulled.
const BESIDE: Duration = Duration::from_mins(2);
/// What may pass by itself is seen so often, one look after another: an image that is pulled at a second try, a store
/// that restarts. Time alone would count what this machine slept through.
const PATIENCE: u32 = 15;
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A Job has no pod in its first moments.
const MAKES_PODS_WITHIN: Duration = Duration::from_secs(3);

impl Switch {
    /// What Job and pods tell.
    pub(super) async fn job_evidence(&self, manager: &Manager) -> Vec<String> {
        job_evidence(&self.place.cluster, &manager.namespace, &self.job_name()).await
    }

    /// Refuses a pod that writes to the target and is not of this Job: of one that was deleted without it.
    pub(super) async fn no_orphans(&self, manager: &Manager, job: &Job) -> Result<()> {
        let owned = |pod: &Pod| {
            let owners = pod.meta().owner_references.iter().flatten();
            owners
                .into_iter()
                .any(|owner| Some(&owner.uid) == job.meta().uid.as_ref())
        };
        let pods = self.job_pods(manager).await?;
        let Some(orphan) = pods.iter().find(|pod| is_alive(pod) && !owned(pod)) else {
            return Ok(());
        };
        let why = format!(
            "pod {}/{} is of an earlier job of the same name, and writes to datastore {} beside the new one: somebody has changed an annotation of {} meanwhile; roll back",
            manager.namespace,
            orphan.name_any(),
            self.tenant.target,
            self.shown()
        );
        Err(Failure::new(Kind::Blocked, why).into())
    }
}

/// How the Job is.
enum State {
    Complete(Box<Job>),
    Flipped,
    Stuck(Cause, Vec<String>),
    Running(String),
}

impl AwaitJob {
    async fn look(&self, manager: &Manager, since: Duration) -> Result<State> {
        let switch = &self.0;
        let tenant = switch.control_plane().await?;
        if switch.is_flipped(&tenant) {
            return Ok(State::Flipped);
        }
        if let Some(why) = switch.still_wanted(&tenant) {
            bail!(Failure::new(Kind::Blocked, format!("{why}: roll back")));
        }
        let (namespace, name) = (&manager.namespace, switch.job_name());
        let Some(job) = switch.job(manager).await? else {
            // The paused controller does not make it again.
            let why = format!("somebody deleted job {namespace}/{name}: roll back");
            bail!(Failure::new(Kind::Blocked, why));
        };
        switch.no_orphans(manager, &job).await?;
        if has(&job, "Complete") {
            return Ok(State::Complete(Box::new(job)));
        }
        let pods = switch.job_pods(manager).await?;
        let seen = |evidence| Seen {
            namespace,
            name: &name,
            job: Some(&job),
            pods: &pods,
            evidence,
        };
        let looks_bad = seen(&[]).cause().is_some() || restarted(&pods) || has(&job, "Failed");
        if looks_bad || (pods.is_empty() && since > MAKES_PODS_WITHIN) {
            let evidence = switch.job_evidence(manager).await;
            if let Some(cause) = seen(&evidence).cause() {
                return Ok(State::Stuck(cause, evidence));
            }
        }
        let phases: Vec<_> = pods.iter().map(phase).collect();
        Ok(State::Running(phases.join(", ")))
    }

    /// Waits for its end; none where Kamaji was faster.
    async fn wait(&self, cx: &Cx) -> Result<Option<Job>> {
        let manager = self.0.manager().await?;
        let minutes = cx.get(&REQUESTED)?.timeout_minutes;
        let bound = Duration::from_secs(minutes.saturating_mul(60)).saturating_add(BESIDE);
        let what = format!("job {}/{}", manager.namespace, self.0.job_name());
        let begun = Instant::now();
        let mut stuck = 0;
        loop {
            match self.look(&manager, begun.elapsed()).await? {
                State::Flipped => return Ok(None),
                State::Complete(job) => return Ok(Some(*job)),
                State::Stuck(cause, evidence) => {
                    stuck += 1;
                    if cause.certain || stuck > PATIENCE {
                        let Cause { what, next, .. } = cause;
                        bail!(
                            Failure::new(Kind::Error, what)
                                .with_evidence(evidence)
                                .with_next(next.0, next.1)
                        );
                    }
                    cx.sink
                        .waiting(self.id(), &format!("{what}: {}", cause.what));
                }
                State::Running(seen) => {
                    stuck = 0;
                    cx.sink.waiting(self.id(), &format!("{what}: {seen}"));
                }
            }
            if begun.elapsed() > bound {
                let evidence = self.0.job_evidence(&manager).await;
                let why = format!("{what} has not ended after {bound:?}");
                bail!(Failure::new(Kind::TimedOut, why).with_evidence(evidence));
            }
            sleep(LOOK).await;
        }
    }

    /// What the Job did wrong: what its pods say is not enough to tell.
    async fn defects(&self, cx: &Cx) -> Result<Vec<Defect>> {
        let pair = self.0.stores.pair().await?;
        let found = pair.compare(&meter(cx, self.id(), "comparing")).await?;
        let defects = Defect::all(self.0.tenant.driver, &found, pair.wrong_counter().await?);
        for defect in &defects {
            cx.sink.notice(format!("Kamaji's job: {}", defect.shown()));
        }
        Ok(defects)
    }

    async fn work(&self, cx: &Cx) -> Result<Copied> {
        let job = self.wait(cx).await?;
        let defects = match &job {
            Some(_) => self.defects(cx).await?,
            None => Vec::new(),
        };
        Ok(Copied {
            job: job.and_then(|job| job.metadata.uid),
            defects,
        })
    }
}

fn phase(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    format!("pod {} is {}", pod.name_any(), phase.unwrap_or("Unknown"))
}

/// Whether a container has ended before.
fn restarted(pods: &[Pod]) -> bool {
    let mut containers = pods
        .iter()
        .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref())
        .flatten();
    containers.any(|container| container.restart_count > 0)
}

#[async_trait]
impl Step for AwaitJob {
    fn id(&self) -> &'static str {
        JOB.step()
    }

    fn title(&self) -> String {
        "wait for Kamaji's Job, and look what it did".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete Job and copy, with request".to_owned())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        tokio::select! {
            worked = self.work(cx) => Ok(Outcome::Done(serde_json::to_value(worked?)?)),
            () = cx.stop.wait() => Ok(Outcome::Stopped),
        }
    }

    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        if self.0.is_flipped(&self.0.control_plane().await?) {
            return Ok(Holds::Yes);
        }
        let job = self.0.job(&self.0.manager().await?).await?;
        let uid = job
            .filter(|job| has(job, "Complete"))
            .and_then(|job| job.metadata.uid);
        if uid.is_some() && uid == cx.get(&JOB)?.job {
            return Ok(Holds::Yes);
        }
        Ok(Holds::No("its job is another one by now".to_owned()))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored) // request's undo deletes it
    }
}
