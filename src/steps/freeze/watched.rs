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
        Ok(self.intruder(&pods, frozen))
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
                    Change::Listed(pods) => self.intruder(&pods, frozen),
                    Change::Applied(pod) => self.intruder(&[pod], frozen),
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
