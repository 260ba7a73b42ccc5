use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use futures::future::try_join_all;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ContainerState, Event, Pod, Secret},
};

use super::{Mover, Movers, Opened, keys::Keys, put::Undelivered};
use crate::{
    adapters::kube::{
        Created, KubeError, Look, Selector, Wait, create_owned, delete_and_wait, job_evidence,
        pod_ending, wait_for, wait_for_all,
    },
    engine::{Failure, Kind, Sink},
    steps::Users,
    transfer::Side,
};

/// How long a mover may take to run: pulling a small image and mounting a volume. A plan may say more,
/// for clusters that first have to add a node.
pub const STARTS_WITHIN: Duration = Duration::from_mins(5);
/// How long a Job may have no pod after one was refused: a quota or a policy that was mended a moment ago
/// is not known everywhere yet, and the Job's controller asks again after 1, 2 and 4 seconds, one after another.
const REFUSED: Duration = Duration::from_secs(10);
/// A Job that ends so often while its mover is waited for does not end by accident.
const ANEW: u32 = 4;
/// A mover's executable may be lost so often on its way, with the pod or the connection.
const PUTS: u32 = 10;
/// Between such a loss and the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the objects of a mover may take to go.
const GONE: Duration = Duration::from_mins(2);

/// A mover that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) mover: Mover,
    /// Its pod.
    pub(super) pod: String,
    /// The pod's address.
    pub(super) address: String,
    /// Its image, by digest; empty where the node does not tell.
    pub(super) image: String,
}

/// A mover's pod, as far as it has come.
#[derive(Debug)]
enum Came {
    /// The mover runs.
    Runs(Running),
    /// The pod of this name waits for the executable.
    Waits(String),
}

impl Movers {
    /// Makes sure that both movers of a volume run, and says where.
    pub(super) async fn running(
        &self,
        index: usize,
        keys: &Keys,
        sink: &Sink,
        step: &str,
    ) -> Result<[Running; 2]> {
        let both = [Side::Source, Side::Target]
            .map(|side| self.one(Mover { index, side }, Some(keys), sink, step));
        let both = try_join_all(both).await?;
        let [source, target]: [Running; 2] = both
            .try_into()
            .map_err(|_| anyhow::anyhow!("a volume has two movers"))?;
        Ok([source, target])
    }

    /// Makes sure that one mover runs, or without keys a pod in its place that waits with a shell alone, and says where.
    pub(super) async fn one(
        &self,
        mover: Mover,
        keys: Option<&Keys>,
        sink: &Sink,
        step: &str,
    ) -> Result<Running> {
        let place = self.place(mover.side);
        let name = self.name(&mover);
        if let Some(keys) = keys {
            let secret = self.secret(&mover, keys.mover_files(mover.side));
            create_owned(&place.api::<Secret>(), &secret).await?;
        }
        let jobs = place.api::<Job>();
        let executable = match &self.executable {
            Some(executable) => Some(executable.opened().await?),
            None => None,
        };
        for _ in 0..ANEW {
            let nodes = self.nodes_of(&mover).await?;
            let node = nodes.first().map(String::as_str);
            let suited = match executable {
                Some(executable) => Some(self.suited(&mover, node, executable).await),
                None => None,
            };
            let wanted = self.job(&mover, node, suited.as_ref())?;
            let created = create_owned(&jobs, &wanted).await?;
            if let Created::Ours(found) = &created
                && (has_ended(found) || never_had_a_pod(found) || is_elsewhere(found, &nodes))
            {
                // It was without a client for too long, or was lost too often; or no pod was allowed then,
                // and it would wait long before it asks again; or its volume is used on another node by
                // now: begin anew.
                self.delete_job(mover, found).await?;
                continue;
            }
            let job = created.into_object();
            let coming = Box::pin(self.comes(mover, &job, executable, sink, step));
            if let Some(running) = coming.await? {
                return Ok(running);
            }
        }
        let why = format!("{} ended {ANEW} times", place.object("job", &name));
        let seen = job_evidence(&place.cluster, &place.namespace, &name).await;
        Err(Failure::new(Kind::Error, why).with_evidence(seen).into())
    }

    async fn delete_job(&self, mover: Mover, found: &Job) -> Result<(), KubeError> {
        let place = self.place(mover.side);
        let name = self.name(&mover);
        let what = format!("{} to be gone", place.object("job", &name));
        let uid = found.metadata.uid.as_deref();
        let wait = Wait::new(&what, GONE);
        delete_and_wait(&place.api::<Job>(), &name, uid, &wait).await?;
        Ok(())
    }

    /// Waits until the mover of a Job runs, and gives it its executable if it is to have one; none when the Job has
    /// ended, or was deleted because another executable runs in it.
    async fn comes(
        &self,
        mover: Mover,
        job: &Job,
        executable: Option<&Opened>,
        sink: &Sink,
        step: &str,
    ) -> Result<Option<Running>> {
        let mut given = executable.map(|_| BTreeSet::new());
        let mut losses = 0;
        loop {
            let came = tokio::select! {
                came = self.wait_running(mover, given.as_ref(), sink, step) => came?,
                rejected = self.rejection(mover, job) => return Err(rejected?.into()),
                ended = self.end(mover) => {
                    ended?;
                    return Ok(None);
                }
            };
            let (pod, failed) = match (came, executable) {
                (Came::Runs(running), None) => return Ok(Some(running)),
                (Came::Runs(running), Some(executable)) => {
                    let pod = running.pod.clone();
                    match self.proven(running, executable).await {
                        Ok(Some(running)) => return Ok(Some(running)),
                        Ok(None) => (pod, Undelivered::Other),
                        Err(error) => (pod, error),
                    }
                }
                (Came::Waits(_), Some(_))
                    if given
                        .as_ref()
                        .is_some_and(|given| given.len() >= ANEW as usize) =>
                {
                    let place = self.place(mover.side);
                    let name = self.name(&mover);
                    let object = place.object("job", &name);
                    let why = format!(
                        "the executable that was put into pods of {object} ended {ANEW} times after its start"
                    );
                    let seen = job_evidence(&place.cluster, &place.namespace, &name).await;
                    return Err(Failure::new(Kind::Error, why).with_evidence(seen).into());
                }
                (Came::Waits(pod), Some(executable)) => {
                    match self.put(mover, &pod, executable, sink, step).await {
                        Ok(()) => {
                            given.get_or_insert_default().insert(pod);
                            continue;
                        }
                        Err(error) => (pod, error),
                    }
                }
                (Came::Waits(pod), None) => anyhow::bail!("pod {pod} waits for nothing"),
            };
            losses += 1;
            match failed {
                Undelivered::Other => {
                    self.delete_job(mover, job).await?;
                    return Ok(None);
                }
                failed if failed.is_passing() && losses < PUTS => {
                    sink.waiting(step, &format!("another try: pod {pod}: {failed}"));
                    tokio::time::sleep(PAUSE).await;
                }
                // Its kind is its own, such as that of a lock that was lost.
                Undelivered::Kube(error) => return Err(error.into()),
                failed => {
                    let place = self.place(mover.side);
                    let name = self.name(&mover);
                    let seen = job_evidence(&place.cluster, &place.namespace, &name).await;
                    let failure = self.not_delivered(mover, &pod, &failed);
                    return Err(failure.with_evidence(seen).into());
                }
            }
        }
    }

    /// Resolves when the Job has ended: it makes no more pods.
    async fn end(&self, mover: Mover) -> Result<(), KubeError> {
        let place = self.place(mover.side);
        let name = self.name(&mover);
        let what = format!("the end of {}", place.object("job", &name));
        let wait = Wait::new(&what, self.starts_within * 2);
        let look = |job: Option<&Job>| match job {
            Some(job) if !has_ended(job) => Look::NotYet("it goes on".to_owned()),
            _ => Look::Done,
        };
        wait_for(&place.api::<Job>(), &name, &wait, look).await?;
        Ok(())
    }

    /// The nodes on which the volume is used at this moment, where it can only be at one. A target that is written to
    /// is used by nobody.
    async fn nodes_of(&self, mover: &Mover) -> Result<Vec<String>, KubeError> {
        let volume = &self.volumes[mover.index];
        let single = volume.access.iter().all(|mode| mode == "ReadWriteOnce");
        if self.writes(mover) || !single {
            return Ok(Vec::new());
        }
        let claim = match mover.side {
            Side::Source => &volume.source,
            Side::Target => &volume.target,
        };
        let users = Users::now(self.place(mover.side), &self.belongs).await?;
        Ok(users.nodes(claim).map(str::to_owned).collect())
    }

    async fn wait_running(
        &self,
        mover: Mover,
        given: Option<&BTreeSet<String>>,
        sink: &Sink,
        step: &str,
    ) -> Result<Came> {
        let place = self.place(mover.side);
        let object = place.object("job", &self.name(&mover));
        let what = format!("the mover of {object} to run");
        let tell = |seen: &str| sink.waiting(step, seen);
        let wait = Wait::new(&what, self.starts_within).telling(&tell);
        let selector = Selector::labels(self.selector(&mover));
        let mut found = None;
        let waited = wait_for_all(&place.api::<Pod>(), &selector, &wait, |pods: &[Pod]| {
            let (look, came) = look_at(pods, mover, given);
            found = came;
            look
        })
        .await;
        match (waited, found) {
            (Ok(_), Some(came)) => Ok(came),
            (Ok(_), None) => anyhow::bail!("{object} runs no pod"),
            (Err(error), _) => {
                let kind = match error {
                    KubeError::TimedOut { .. } => Kind::TimedOut,
                    // The image is one that the user chose for what it is not made for.
                    KubeError::WillNotHappen { .. } if given.is_some() || self.goes_by_exec() => {
                        Kind::Blocked
                    }
                    _ => Kind::Error,
                };
                let seen = job_evidence(&place.cluster, &place.namespace, &self.name(&mover)).await;
                Err(Failure::new(kind, error.to_string())
                    .with_evidence(seen)
                    .into())
            }
        }
    }

    /// Resolves only when the Job may make no pod: quota, Pod Security, an admission webhook.
    async fn rejection(&self, mover: Mover, job: &Job) -> Result<Failure, KubeError> {
        let place = self.place(mover.side);
        let name = self.name(&mover);
        // By its uid: an earlier Job of this name may have been refused for what is mended by now.
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        let selector = Selector::fields(format!(
            "involvedObject.kind=Job,involvedObject.uid={uid},reason=FailedCreate"
        ));
        let what = format!("events of {}", place.object("job", &name));
        let wait = Wait::new(&what, self.starts_within * 2);
        let events = wait_for_all(
            &place.api::<Event>(),
            &selector,
            &wait,
            |events: &[Event]| {
                if events.is_empty() {
                    Look::NotYet("none".to_owned())
                } else {
                    Look::Done
                }
            },
        )
        .await?;
        if self.got_a_pod(mover).await? {
            return std::future::pending().await;
        }
        let said = events
            .last()
            .and_then(|event| event.message.clone())
            .unwrap_or_default();
        let why = format!(
            "{} may make no pod: {said}; change what forbids it, or spec.mover.runAs",
            place.object("job", &name)
        );
        let seen = job_evidence(&place.cluster, &place.namespace, &name).await;
        Ok(Failure::new(Kind::Blocked, why).with_evidence(seen))
    }

    /// Whether the Job comes to have a pod after all.
    async fn got_a_pod(&self, mover: Mover) -> Result<bool, KubeError> {
        let place = self.place(mover.side);
        let name = self.name(&mover);
        let what = format!("a pod of {}", place.object("job", &name));
        let selector = Selector::fields(format!("metadata.name={name}"));
        let wait = Wait::new(&what, REFUSED);
        let has_pod = |job: &Job| {
            let active = job.status.as_ref().and_then(|status| status.active);
            active.is_some_and(|active| active > 0)
        };
        let jobs = place.api::<Job>();
        let waited = wait_for_all(&jobs, &selector, &wait, |jobs: &[Job]| {
            if jobs.iter().any(has_pod) {
                Look::Done
            } else {
                Look::NotYet("none".to_owned())
            }
        });
        match waited.await {
            Ok(_) => Ok(true),
            Err(KubeError::TimedOut { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn has_ended(job: &Job) -> bool {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| {
        condition.status == "True"
            && matches!(
                condition.type_.as_str(),
                "Complete" | "Failed" | "FailureTarget"
            )
    })
}

/// Whether a Job was taken up by its controller, which then could make no pod at all.
fn never_had_a_pod(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| {
        let none = |count: Option<i32>| count.unwrap_or(0) == 0;
        status.start_time.is_some()
            && none(status.active)
            && none(status.failed)
            && none(status.terminating)
    })
}

/// Whether a Job is bound to a node on which its volume cannot be had: one where nobody uses it, while
/// others do elsewhere, or while it has not come up there itself.
fn is_elsewhere(job: &Job, nodes: &[String]) -> bool {
    let Some(bound) = node_of(job) else {
        return false;
    };
    let ready = job.status.as_ref().and_then(|status| status.ready);
    match nodes {
        [] => ready.unwrap_or(0) == 0,
        nodes => nodes.iter().all(|node| *node != bound),
    }
}

/// The node that a Job is bound to by [`Movers::job`].
fn node_of(job: &Job) -> Option<String> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    let affinity = pod.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let field = required
        .node_selector_terms
        .first()?
        .match_fields
        .as_ref()?
        .first()?;
    field.values.as_ref()?.first().cloned()
}

/// What a container says that ended before it began, because its image has no program of the name that was asked for.
fn has_no_shell(state: &ContainerState) -> Option<&str> {
    let said = state.terminated.as_ref()?.message.as_deref()?;
    let known = ["executable file not found", "no such file or directory"];
    known
        .iter()
        .any(|known| said.contains(known))
        .then_some(said)
}

/// Whether a pod begins with a shell, as one does whose image holds no mover.
fn needs_a_shell(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut commands = containers.filter_map(|container| container.command.as_ref()?.first());
    commands.any(|program| program == "sh")
}

/// What the pods of one mover say about it; `given` are those that had their executable, where they are to have one.
fn look_at(pods: &[Pod], mover: Mover, given: Option<&BTreeSet<String>>) -> (Look, Option<Came>) {
    let mut seen = "no pod yet".to_owned();
    for pod in pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let status = pod.status.clone().unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() {
            seen = format!("pod {name} is being deleted");
            continue;
        }
        let container = status
            .container_statuses
            .as_ref()
            .and_then(|containers| containers.first());
        if container.is_some_and(|container| container.ready)
            && let Some(address) = status.pod_ip.clone()
        {
            return (
                Look::Done,
                Some(Came::Runs(Running {
                    mover,
                    pod: name,
                    address,
                    image: container
                        .map_or_else(String::new, |container| container.image_id.clone()),
                })),
            );
        }
        let state = container.and_then(|container| container.state.as_ref());
        let runs = state.is_some_and(|state| state.running.is_some());
        if runs && given.is_some_and(|given| !given.contains(&name)) {
            return (Look::Done, Some(Came::Waits(name)));
        }
        if (given.is_some() || needs_a_shell(pod))
            && let Some(why) = state.and_then(has_no_shell)
        {
            let why = format!(
                "pod {name} cannot start: {why}; the image needs a shell (`sh`): roll back, then name another that the nodes have with --mover-image"
            );
            return (Look::Never(why), None);
        }
        let waiting = container
            .and_then(|container| container.state.as_ref()?.waiting.as_ref())
            .map(|waiting| {
                let reason = waiting.reason.clone().unwrap_or_default();
                (reason, waiting.message.clone().unwrap_or_default())
            });
        if let Some((reason, message)) = waiting {
            // These do not pass by waiting; a first failed pull (ErrImagePull) may.
            if matches!(
                reason.as_str(),
                "ImagePullBackOff"
                    | "InvalidImageName"
                    | "ErrImageNeverPull"
                    | "CreateContainerConfigError"
                    | "CreateContainerError"
            ) {
                return (
                    Look::Never(format!("pod {name}: {reason}: {message}")),
                    None,
                );
            }
            seen = format!("pod {name}: {reason}");
            continue;
        }
        let unschedulable = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
        seen = match (unschedulable, status.phase.as_deref()) {
            (Some(condition), _) => {
                format!(
                    "pod {name}: {}",
                    condition.message.clone().unwrap_or_default()
                )
            }
            (None, Some("Failed")) => pod_ending(&name, pod),
            (None, phase) => format!("pod {name} is {}", phase.unwrap_or("unknown")),
        };
    }
    (Look::NotYet(seen), None)
}

#[cfg(test)]
#[path = "ensure_tests.rs"]
mod tests;
