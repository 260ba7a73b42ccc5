//! Whether a freeze stands: one look, and a guard that looks until it does not.
use std::{pin::pin, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;
use tokio::time::{MissedTickBehavior, interval};

use super::{Frozen, blame, original::Original, pods::Judge, subject};
use crate::marks::Belongs;
use crate::{
    adapters::kube::{Change, KubeError, Selector, watch},
    engine::{Failure, Kind},
    plan::{FreezeMode, Workload},
    steps::Place,
};

/// However dead a watch is, everything is read at least this often.
const POLL: Duration = Duration::from_secs(10);

/// A workload, and the claims that nobody may write to while it is frozen.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Where it is.
    pub place: Place,
    /// The workload.
    pub workload: Workload,
    /// The migration whose movers may use the claims.
    pub belongs: Belongs,
    /// The claims' names.
    pub claims: Vec<String>,
}

impl Watched {
    /// Why the freeze does not stand now; `None` while it does.
    ///
    /// Every change of the spec since counts, also one that was taken back: its pods may have written.
    pub async fn broken(&self, frozen: &Frozen) -> Result<Option<String>, KubeError> {
        let object = self.subject().read().await?;
        if let Some(why) = self.changed(object.as_ref(), frozen) {
            return Ok(Some(why));
        }
        let pods = self.subject().pods().await?;
        Ok(self.let_in(&pods, frozen).await)
    }

    /// The pod that breaks the freeze, or who let it in: it may be seen before the change of the workload that it comes
    /// of.
    async fn let_in(&self, pods: &[Pod], frozen: &Frozen) -> Option<String> {
        let intruder = self.intruder(pods, frozen)?;
        let who = match self.subject().read().await {
            Ok(object) => self.changed(object.as_ref(), frozen),
            Err(error) => {
                tracing::debug!(%error, "cannot look who let a pod in");
                None
            }
        };
        Some(who.unwrap_or(intruder))
    }

    /// Returns when somebody breaks the freeze, and names who and how; never, while it stands.
    ///
    /// It survives watches that close, and an API server that is away is no breach: what was missed
    /// shows in the generation. Whoever relies on what was done beside the guard looks once more with
    /// [`Watched::broken`] at the end, which fails where the guard could not see.
    pub async fn guard(&self, frozen: &Frozen) -> Failure {
        let named = Selector::named(self.workload.name());
        let mut objects = pin!(watch(self.subject().api(), named).fuse());
        let mut pods = pin!(watch(self.place.api::<Pod>(), Selector::all()).fuse());
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let breach = tokio::select! {
                change = next(&mut objects) => match change {
                    Change::Listed(objects) => self.changed(objects.first(), frozen),
                    Change::Applied(object) => self.changed(Some(&object), frozen),
                    Change::Deleted(_) => self.changed(None, frozen),
                },
                change = next(&mut pods) => match change {
                    Change::Listed(pods) => self.let_in(&pods, frozen).await,
                    Change::Applied(pod) => self.let_in(&[pod], frozen).await,
                    Change::Deleted(_) => None,
                },
                _ = poll.tick() => match self.broken(frozen).await {
                    Ok(breach) => breach,
                    Err(error) => {
                        tracing::debug!(%error, "cannot look at the freeze");
                        None
                    }
                },
            };
            if let Some(why) = breach {
                return breach_of(&why);
            }
        }
    }

    /// Why the object is not as the freeze left it.
    pub(super) fn changed(
        &self,
        object: Option<&DynamicObject>,
        frozen: &Frozen,
    ) -> Option<String> {
        let shown = self.subject().shown();
        let Some(object) = object else {
            return Some(format!("{shown} was deleted"));
        };
        let meta = &object.metadata;
        if meta.uid.as_ref() != Some(&frozen.uid) {
            return Some(format!("{shown} was deleted and made again"));
        }
        if let Some((at, now)) = frozen.original.thawed(&object.data) {
            let by = blame::of(meta, Some(at));
            return Some(match (at, now) {
                ("/spec/replicas", Some(now)) => format!("{shown} was scaled to {now} by {by}"),
                (at, now) => {
                    let at = at.trim_start_matches('/').replace('/', ".");
                    let now = subject::shown(now.as_ref());
                    format!("{shown} was changed by {by}: {at} is {now}")
                }
            });
        }
        let replicas = subject::replicas(object);
        if frozen.mode == FreezeMode::Scale && replicas != 0 {
            let by = blame::of(meta, Some("/spec/replicas"));
            return Some(format!("{shown} was scaled to {replicas} by {by}"));
        }
        let generation = meta.generation.unwrap_or_default();
        (generation != frozen.generation).then(|| {
            let by = blame::since(meta, frozen.frozen_at);
            let before = frozen.generation;
            format!("the spec of {shown} was changed during the freeze, last by {by} (generation {before} became {generation})")
        })
    }

    fn intruder(&self, pods: &[Pod], frozen: &Frozen) -> Option<String> {
        let judge = self.judge(frozen.mode, &frozen.uid, &frozen.original);
        pods.iter().find_map(|pod| judge.intruder(pod))
    }

    pub(super) fn judge<'a>(
        &'a self,
        mode: FreezeMode,
        uid: &'a str,
        original: &'a Original,
    ) -> Judge<'a> {
        Judge {
            place: &self.place,
            workload: &self.workload,
            uid,
            belongs: &self.belongs,
            claims: &self.claims,
            mode,
            sleepers: original.sleepers().collect(),
        }
    }

    pub(super) fn subject(&self) -> subject::Subject<'_> {
        subject::Subject {
            place: &self.place,
            workload: &self.workload,
        }
    }
}

/// The failure of a freeze that somebody broke.
pub(super) fn breach_of(why: &str) -> Failure {
    let message = format!(
        "the freeze was broken: {why}; what was copied since does not count: stop who did it, then run this again"
    );
    Failure::new(Kind::FreezeBroken, message)
}

/// The next change; never, where there is no right to watch: then reading alone has to do.
async fn next<K>(
    changes: &mut (impl Stream<Item = Result<Change<K>, KubeError>> + Unpin),
) -> Change<K> {
    match changes.next().await {
        Some(Ok(change)) => change,
        Some(Err(error)) => {
            tracing::debug!(%error, "the watch ended; reading every {POLL:?}");
            std::future::pending().await
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        adapters::kube::fake::{Answer, FakeApi},
        steps::freeze::testing::{pod, step},
    };

    #[tokio::test]
    async fn a_pod_that_is_seen_before_the_change_it_comes_of_is_told_by_who_made_that() {
        let object = |replicas: u32| {
            json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": {"name": "db", "namespace": "shop", "uid": "u1", "generation": 2 + replicas,
                    "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1",
                        "subresource": "scale", "fieldsType": "FieldsV1",
                        "fieldsV1": {"f:spec": {"f:replicas": {}}}}]},
                "spec": {"replicas": replicas},
            })
        };
        let mut watched = step(FreezeMode::Scale).await.watched();
        let frozen = Frozen {
            uid: "u1".to_owned(),
            generation: 2,
            mode: FreezeMode::Scale,
            original: Original::of(&watched.workload, FreezeMode::Scale, &object(1)),
            frozen_at: Timestamp::UNIX_EPOCH,
        };
        let pods = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod(&json!({}))]});
        let api = FakeApi::script([
            Answer::Json(200, object(0)),
            Answer::Json(200, pods),
            Answer::Json(200, object(1)),
        ]);
        watched.place.cluster = api.cluster();
        let why = watched.broken(&frozen).await.expect("an answer");
        assert_eq!(
            why.as_deref(),
            Some(
                "statefulset shop/db was scaled to 1 by field manager `kubectl` (subresource scale)"
            )
        );
    }
}
