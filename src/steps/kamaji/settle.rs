use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use super::{ROLL_OUT_BOUND, Switch, api::store_of, lead::LED};
use crate::{
    adapters::{
        datastore::Later,
        kube::{KubeError, Look, Wait, wait_for_all},
    },
    engine::{Cx, Failure, Key, Kind, Outcome, Step, UndoPlan, Undone},
};

/// Sees the last API server leave the source, and what came of it. Until it has gone an old one answers who is still
/// connected to it, and refuses writes by the freeze that stays in the source: the tenant need not wait for its end.
#[derive(Clone, Debug)]
pub struct Settle(pub Switch);

/// What is known once no API server uses the source any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    /// The source's revision then: no client can know a later one of it.
    pub source: u64,
    /// What came to the source after the last copy; none where it cannot tell.
    pub later: Option<Later>,
    /// Whether kubelets and other clients that watched all through the switch have to be restarted.
    pub restart_kubelets: bool,
    /// Why, or why not.
    pub because: String,
}

/// What is known once no API server uses the source any more.
pub const SETTLED: Key<Settled> = Key::new("settle");

impl Settle {
    async fn wait(&self, cx: &Cx) -> Result<(), KubeError> {
        let tenant = &self.0.tenant;
        let what = format!(
            "no API server of {} to use datastore {}",
            self.0.shown(),
            tenant.source
        );
        let tell = |seen: &str| cx.sink.waiting(SETTLED.step(), seen);
        let wait = Wait::new(&what, ROLL_OUT_BOUND).telling(&tell);
        let pods = self.0.place.api::<Pod>();
        let none_is_left = |pods: &[Pod]| {
            let mut old = pods.iter().filter(|pod| store_of(pod) != tenant.target);
            old.next().map_or(Look::Done, |pod| {
                Look::NotYet(format!(
                    "pod {} uses datastore {}",
                    pod.name_any(),
                    store_of(pod)
                ))
            })
        };
        wait_for_all(&pods, &self.0.pods_selector(), &wait, none_is_left).await?;
        Ok(())
    }

    /// The last look at both stores.
    async fn look(&self, cx: &Cx) -> Result<Settled> {
        let tenant = &self.0.tenant;
        let source = self.0.stores.pair().await?.source_revision().await?;
        let later = self.0.later(cx).await?;
        if let Some(later) = later.as_ref().filter(|later| later.writes > 0) {
            cx.sink.notice(format!(
                "{} writes came to datastore {} after the comparison, and are not in datastore {}: {}",
                later.writes,
                tenant.source,
                tenant.target,
                later.keys.join(", ")
            ));
        }
        let (restart_kubelets, because) = verdict(cx.get(&LED)?.now, source);
        Ok(Settled {
            source,
            later,
            restart_kubelets,
            because,
        })
    }
}

/// Whether clients that watched all through the switch have to be restarted, and why: the target gave no revision
/// up to `led`, and the source none above `source`.
fn verdict(led: u64, source: u64) -> (bool, String) {
    if led > source {
        let why = format!(
            "the target's revisions begin above {led}, and {source} is the source's last: clients miss nothing"
        );
        return (false, why);
    }
    let why = format!(
        "the target's revisions begin above {led}, and the source went on to {source}: clients that go on from there miss what the target gave the same revisions, until they are restarted"
    );
    (true, why)
}

#[async_trait]
impl Step for Settle {
    fn id(&self) -> &'static str {
        SETTLED.step()
    }

    fn title(&self) -> String {
        "see the last API server leave the source".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Never(self.0.way_back())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        tokio::select! {
            waited = self.wait(cx) => match waited {
                Ok(()) => Ok(Outcome::Done(serde_json::to_value(self.look(cx).await?)?)),
                Err(error @ KubeError::TimedOut { .. }) => {
                    let evidence = self.0.pods_evidence().await;
                    Err(Failure::new(Kind::TimedOut, error.to_string()).with_evidence(evidence).into())
                }
                Err(error) => Err(error.into()),
            },
            () = cx.stop.wait() => Ok(Outcome::Stopped),
        }
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Irreversible(self.0.way_back()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_revision_lower_than_the_source_s_needs_restarts() {
        assert!(!verdict(101, 100).0);
        assert!(verdict(100, 100).0);
        assert!(verdict(7, 100).0);
    }
}
