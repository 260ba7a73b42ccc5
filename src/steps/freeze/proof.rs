//! The proof that writing has stopped.
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::DynamicObject};
use tokio::time::Instant;

use super::{
    Frozen, Watched,
    frozen::ID,
    pods::{self, Judge},
    subject::{is_observed, replicas, status},
    watched::breach_of,
};
use crate::{
    adapters::kube::{KubeError, Look, Selector, Wait, pod_evidence, wait_for, wait_for_all},
    engine::{Failure, Kind, Sink},
    plan::FreezeMode,
};

/// How many pods a line names; the rest is a number.
const NAMED: usize = 3;

impl Watched {
    /// Waits, at most `bound`, until nobody can write any more; fails with who still can.
    ///
    /// `wanted` is the number of pods that should sleep.
    pub(super) async fn prove(
        &self,
        frozen: &Frozen,
        wanted: i64,
        bound: Duration,
        sink: &Sink,
    ) -> Result<()> {
        let deadline = Instant::now() + bound;
        let left = || left(deadline);
        let telling = |text: &str| sink.waiting(ID, text);
        let shown = self.subject().shown();
        let what = match frozen.mode {
            FreezeMode::Scale => format!("all pods of {shown} to be gone"),
            FreezeMode::Sleep => format!("all pods of {shown} to sleep"),
        };
        // Sleeping pods come first, since a sleeper that cannot start shows only there. To be gone, the
        // controller comes first: before it has seen the change it may still make pods.
        let undisturbed = Wait::new("the freeze to be undisturbed", left());
        tokio::select! {
            proved = async {
                let wait = |left| Wait::new(&what, left).telling(&telling);
                match frozen.mode {
                    FreezeMode::Scale => {
                        self.status(frozen, &wait(left())).await?;
                        self.pods(frozen, wanted, &wait(left())).await
                    }
                    FreezeMode::Sleep => {
                        self.pods(frozen, wanted, &wait(left())).await?;
                        self.status(frozen, &wait(left())).await
                    }
                }
            } => proved?,
            disturbed = self.disturbed(frozen, &undisturbed) => return Err(disturbed),
        }
        match self.broken(frozen).await? {
            None => Ok(()),
            Some(why) => Err(breach_of(&why).into()),
        }
    }

    async fn status(&self, frozen: &Frozen, wait: &Wait<'_>) -> Result<()> {
        let api = self.subject().api();
        let look = |object: Option<&DynamicObject>| match object {
            Some(object) => settled(object, frozen.mode),
            None => Look::NotYet("it is gone".to_owned()),
        };
        let found = wait_for(&api, self.workload.name(), wait, look).await;
        match found {
            Ok(_) => Ok(()),
            Err(error) => Err(self.unproved(error, &[], frozen).await),
        }
    }

    async fn pods(&self, frozen: &Frozen, wanted: i64, wait: &Wait<'_>) -> Result<()> {
        let api = self.place.api::<Pod>();
        let judge = self.judge(frozen.mode, &frozen.uid, &frozen.original);
        let mut seen = Vec::new();
        let look = |pods: &[Pod]| {
            seen = pods.to_vec();
            match frozen.mode {
                FreezeMode::Scale => gone(&judge, pods),
                FreezeMode::Sleep => all_asleep(&judge, pods, wanted),
            }
        };
        let found = wait_for_all(&api, &Selector::all(), wait, look).await;
        match found {
            Ok(_) => Ok(()),
            Err(error) => Err(self.unproved(error, &seen, frozen).await),
        }
    }

    /// Returns when the workload itself is changed by somebody else, or when the wait's bound is over.
    async fn disturbed(&self, frozen: &Frozen, wait: &Wait<'_>) -> anyhow::Error {
        let api = self.subject().api();
        let look = |object: Option<&DynamicObject>| match self.changed(object, frozen) {
            Some(why) => Look::Never(why),
            None => Look::NotYet("as the freeze left it".to_owned()),
        };
        let found = wait_for(&api, self.workload.name(), wait, look).await;
        if let Err(KubeError::WillNotHappen { .. }) = found
            // To the wait an API server that does not serve the kind yet looks like a missing object.
            && let Ok(object) = self.subject().read().await
            && let Some(why) = self.changed(object.as_ref(), frozen)
        {
            return breach_of(&why).into();
        }
        // The other half of the proof has the same bound and a better text, and ends with one more look.
        std::future::pending().await
    }

    /// The error of a wait with what is known about the pods in the way.
    async fn unproved(&self, error: KubeError, pods: &[Pod], frozen: &Frozen) -> anyhow::Error {
        let kind = match &error {
            KubeError::TimedOut { .. } => Kind::TimedOut,
            KubeError::WillNotHappen { .. } => Kind::Error,
            _ => return error.into(),
        };
        let judge = self.judge(frozen.mode, &frozen.uid, &frozen.original);
        let in_the_way = pods.iter().filter(|pod| match frozen.mode {
            FreezeMode::Scale => judge.intruder(pod).is_some(),
            FreezeMode::Sleep => judge.in_the_way(pod).is_some(),
        });
        let mut evidence = Vec::new();
        for pod in in_the_way.take(NAMED) {
            evidence.extend(
                pod_evidence(&self.place.cluster, &self.place.namespace, &pod.name_any()).await,
            );
            if pod.metadata.deletion_timestamp.is_some() {
                evidence.push(format!(
                    "{} stays while its node does not answer: repair the node, or make sure that it is off and delete the pod with --force",
                    judge.shown(pod)
                ));
            }
        }
        Failure::new(kind, error.to_string())
            .with_evidence(evidence)
            .into()
    }
}

/// What the controller says of the workload.
fn settled(object: &DynamicObject, mode: FreezeMode) -> Look {
    if !is_observed(object) {
        return Look::NotYet("its controller has not seen the change".to_owned());
    }
    let total = status(object, "replicas");
    match mode {
        FreezeMode::Scale if total == 0 => Look::Done,
        FreezeMode::Scale => Look::NotYet(format!("{total} pods")),
        FreezeMode::Sleep => {
            let wanted = replicas(object);
            let (updated, ready) = (
                status(object, "updatedReplicas"),
                status(object, "readyReplicas"),
            );
            if [total, updated, ready] == [wanted; 3] {
                return Look::Done;
            }
            Look::NotYet(format!(
                "{updated} of {wanted} pods are changed, {ready} ready"
            ))
        }
    }
}

/// Nobody's pod but a mover uses the claims, and no pod of the workload is left.
fn gone(judge: &Judge<'_>, pods: &[Pod]) -> Look {
    let left: Vec<String> = pods.iter().filter_map(|pod| judge.intruder(pod)).collect();
    if left.is_empty() {
        return Look::Done;
    }
    Look::NotYet(few(&left))
}

/// So many pods as wanted run the sleeper, and nobody else uses the claims.
fn all_asleep(judge: &Judge<'_>, pods: &[Pod], wanted: i64) -> Look {
    let own = judge.own(pods);
    let mut asleep = own.iter().filter(|pod| pods::has_sleeper(pod));
    if let Some((pod, why)) = asleep.find_map(|pod| Some((pod, pods::cannot_sleep(pod)?))) {
        let shown = judge.shown(pod);
        return Look::Never(format!(
            "{shown} cannot run the sleeper: {why}; an image without a shell cannot be put to sleep: roll back, and freeze with mode scale"
        ));
    }
    let awake: Vec<String> = pods
        .iter()
        .filter_map(|pod| judge.in_the_way(pod))
        .collect();
    if !awake.is_empty() {
        return Look::NotYet(few(&awake));
    }
    if i64::try_from(own.len()) == Ok(wanted) {
        return Look::Done;
    }
    Look::NotYet(format!("{} of {wanted} pods are there", own.len()))
}

/// What is left of a bound; enough for one look even when it is over.
pub(super) fn left(deadline: Instant) -> Duration {
    const ONE_LOOK: Duration = Duration::from_secs(5);
    deadline
        .saturating_duration_since(Instant::now())
        .max(ONE_LOOK)
}

/// The first few of many lines, in one.
pub(super) fn few(lines: &[String]) -> String {
    let named = lines
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    match lines.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
