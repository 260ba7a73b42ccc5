//! Putting a workload back as it was.
use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::DynamicObject};
use tokio::time::Instant;

use super::{
    Original, Watched,
    frozen::ID,
    mark::Mark,
    original::{Changed, Part},
    pods::{self, Judge},
    proof::{few, left},
    subject::{is_observed, replicas, status},
};
use crate::marks::Belongs;
use crate::{
    adapters::kube::{
        JsonPatchOperation, KubeError, Look, Selector, Wait, delete_and_wait, wait_for,
        wait_for_all,
    },
    engine::{Failure, Kind, Sink},
    plan::{FreezeMode, Workload},
    steps::Place,
};

/// Whose freeze may be lifted.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// This migration's only.
    Migration {
        /// Its name.
        name: &'a str,
        /// The namespace of its journal.
        home: &'a str,
    },
    /// Any migration's: the operator said so by name.
    Anyone,
}

/// What [`thaw`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Thawed {
    /// It carries no note of a freeze; nothing was changed.
    NotFrozen,
    /// It was frozen as this note says, and is as it was.
    Restored(Mark),
}

/// Lifts a freeze by the note on the workload alone: also when the journal is lost.
///
/// Waits at most `bound` for its pods; pods that are not ready then are told as notices.
pub async fn thaw(
    place: &Place,
    workload: &Workload,
    whose: Whose<'_>,
    bound: Duration,
    sink: &Sink,
) -> Result<Thawed> {
    let watched = of_nobody(place, workload);
    let Some((uid, mark)) = noted(&watched, whose).await? else {
        return Ok(Thawed::NotFrozen);
    };
    watched
        .restore(&uid, mark.mode, &mark.original, bound, sink)
        .await?;
    Ok(Thawed::Restored(mark))
}

/// What [`thaw`] would put back, without doing it; with `ask` the server checks the first change.
pub async fn rehearse_thaw(
    place: &Place,
    workload: &Workload,
    whose: Whose<'_>,
    ask: bool,
) -> Result<Thawed> {
    let dry = Place {
        cluster: place.cluster.dry_run(),
        ..place.clone()
    };
    let watched = of_nobody(&dry, workload);
    let Some((uid, mark)) = noted(&watched, whose).await? else {
        return Ok(Thawed::NotFrozen);
    };
    if ask {
        watched.put_back(&uid, &mark.original, Part::Pods).await?;
    }
    Ok(Thawed::Restored(mark))
}

/// A workload without its migration: no mover is told from other pods here.
fn of_nobody(place: &Place, workload: &Workload) -> Watched {
    Watched {
        place: place.clone(),
        workload: workload.clone(),
        belongs: Belongs {
            migration: String::new(),
            home: String::new(),
            run: String::new(),
        },
        claims: Vec::new(),
    }
}

/// The workload's uid and its note, if it may be lifted.
async fn noted(watched: &Watched, whose: Whose<'_>) -> Result<Option<(String, Mark)>> {
    let shown = watched.subject().shown();
    let Some(object) = watched.subject().read().await? else {
        let (kind, namespace) = (watched.workload.kind(), &watched.place.namespace);
        let why =
            format!("{shown} does not exist; `kubectl get {kind}s -n {namespace}` shows what does");
        bail!(Failure::new(Kind::Blocked, why));
    };
    let Some(mark) = Mark::read(&object.metadata, &shown)? else {
        return Ok(None);
    };
    if let Whose::Migration { name, home } = whose
        && (mark.migration != name || mark.home != home)
    {
        bail!(frozen_by_other(&shown, &mark));
    }
    Ok(Some((object.uid().unwrap_or_default(), mark)))
}

/// The refusal to touch another migration's freeze.
pub(super) fn frozen_by_other(shown: &str, mark: &Mark) -> Failure {
    let (owner, home, name) = (mark.owner(), &mark.home, &mark.migration);
    let message = format!(
        "{shown} is frozen by {owner}; end that one first (kubectl migrate status {name} -n {home})"
    );
    Failure::new(Kind::Blocked, message)
}

impl Watched {
    /// Puts the original back, takes the note off, and waits for the pods.
    pub(super) async fn restore(
        &self,
        uid: &str,
        mode: FreezeMode,
        original: &Original,
        bound: Duration,
        sink: &Sink,
    ) -> Result<()> {
        let deadline = Instant::now() + bound;
        // What steers the rollout is put back when no pod sleeps any more: a partition would keep the
        // pods below it asleep, and a rolling update would start new pods beside sleepers that hold
        // their volumes.
        let in_two = self.put_back(uid, original, Part::Pods).await?;
        let judge = self.judge(mode, uid, original);
        let awake = self.pods_awake(&judge, deadline, sink).await;
        if in_two {
            self.all_rolled(deadline, sink).await?;
            self.put_back(uid, original, Part::Rollout).await?;
        }
        match awake {
            Ok(()) => Ok(()),
            Err(KubeError::TimedOut { last_seen, .. }) => {
                let shown = self.subject().shown();
                sink.notice(format!(
                    "{shown} is as it was before, but its pods are not all ready: {last_seen}"
                ));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts one part back; with the last of them the note is taken off. Says whether there is more.
    pub(super) async fn put_back(
        &self,
        uid: &str,
        original: &Original,
        part: Part,
    ) -> Result<bool> {
        let subject = self.subject();
        let plan = |object: &DynamicObject| -> Result<Vec<JsonPatchOperation>> {
            if object.metadata.uid.as_deref() != Some(uid) {
                bail!(self.replaced());
            }
            let refuse = |changed: Box<Changed>| subject.refuse(object, &changed);
            let mut operations = original.restore(part, &object.data).map_err(refuse)?;
            let rest = original
                .restore(Part::Rollout, &object.data)
                .map_err(refuse)?;
            if part == Part::Rollout || rest.is_empty() {
                operations.extend(Mark::remove(&object.metadata));
            }
            Ok(operations)
        };
        let object = subject.change(plan).await?;
        let rest = original.restore(Part::Rollout, &object.data);
        Ok(rest.is_ok_and(|rest| !rest.is_empty()))
    }

    /// Waits until so many pods as wanted are ready and none sleeps.
    async fn pods_awake(
        &self,
        judge: &Judge<'_>,
        deadline: Instant,
        sink: &Sink,
    ) -> Result<(), KubeError> {
        let Some(object) = self.subject().read().await? else {
            return Ok(());
        };
        let wanted = replicas(&object);
        let api = self.place.api::<Pod>();
        let what = format!("all pods of {} to be ready", self.subject().shown());
        let telling = |text: &str| sink.waiting(ID, text);
        loop {
            let wait = Wait::new(&what, left(deadline)).telling(&telling);
            let mut stuck = Vec::new();
            wait_for_all(&api, &Selector::all(), &wait, |pods| {
                let own = judge.own(pods);
                stuck = own
                    .iter()
                    .filter(|pod| is_stuck(pod))
                    .map(|pod| (pod.name_any(), pod.uid()))
                    .collect();
                if stuck.is_empty() {
                    awake(judge, &own, wanted)
                } else {
                    Look::Done
                }
            })
            .await?;
            if stuck.is_empty() {
                return Ok(());
            }
            // A rolling update waits for the pod that is not ready, which it will never be: it is of
            // the revision that is to be replaced (kubernetes/kubernetes#67250).
            for (name, uid) in stuck {
                delete_and_wait(&api, &name, uid.as_deref(), &wait).await?;
            }
        }
    }

    /// Waits until the rollout that wakes the pods is over.
    async fn all_rolled(&self, deadline: Instant, sink: &Sink) -> Result<()> {
        let shown = self.subject().shown();
        let what =
            format!("the rollout of {shown} to end, so that its rollout strategy can be put back");
        let telling = |text: &str| sink.waiting(ID, text);
        let wait = Wait::new(&what, left(deadline)).telling(&telling);
        let look = |object: Option<&DynamicObject>| object.map_or(Look::Done, rolled);
        match wait_for(&self.subject().api(), self.workload.name(), &wait, look).await {
            Ok(_) => Ok(()),
            Err(error @ KubeError::TimedOut { .. }) => Err(Failure::new(
                Kind::TimedOut,
                format!("{error}; run this again to go on"),
            )
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn replaced(&self) -> Failure {
        let shown = self.subject().shown();
        let message = format!(
            "{shown} is not the one that was frozen: it was deleted and made again; it is left as it is: compare it with your manifest"
        );
        Failure::new(Kind::Blocked, message)
    }
}

/// A sleeper that is not ready, and not on its way out.
fn is_stuck(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && pods::has_sleeper(pod) && !pods::is_ready(pod)
}

fn awake(judge: &Judge<'_>, own: &[&Pod], wanted: i64) -> Look {
    let not_yet = own.iter().filter_map(|pod| {
        let why = if pods::has_sleeper(pod) {
            "asleep".to_owned()
        } else if pod.metadata.deletion_timestamp.is_some() || !pods::is_ready(pod) {
            pods::state(pod)
        } else {
            return None;
        };
        Some(format!("{} is {why}", judge.shown(pod)))
    });
    let not_yet: Vec<String> = not_yet.collect();
    if !not_yet.is_empty() {
        return Look::NotYet(few(&not_yet));
    }
    if i64::try_from(own.len()) == Ok(wanted) {
        return Look::Done;
    }
    Look::NotYet(format!("{} of {wanted} pods are there", own.len()))
}

/// Whether every pod is of the newest revision, and the controller has written that down.
fn rolled(object: &DynamicObject) -> Look {
    let field = |name: &str| super::field::get(&object.data, &format!("/status/{name}"));
    let (wanted, updated) = (replicas(object), status(object, "updatedReplicas"));
    let total = status(object, "replicas");
    let same = field("currentRevision") == field("updateRevision");
    if is_observed(object) && same && [updated, total] == [wanted; 2] {
        return Look::Done;
    }
    Look::NotYet(format!("{updated} of {wanted} pods are as before"))
}
