use super::{
    ROLL_OUT_BOUND, Switch,
    api::{is_ending, store_of},
};
use crate::{
    adapters::{
        kamaji::{DataStore, TenantControlPlane, data_stores, tenants},
        kube::{KubeError, Look, Wait, pod_evidence, wait_for, wait_for_all},
    },
    engine::{Cx, Failure, Kind, Outcome, Step, UndoPlan, Undone},
};
use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::DynamicObject};
use serde_json::Value;

/// Lets the controller move the API servers, and waits until all are ready at the target. An old one may still be
/// ending then, see [`super::Settle`].
#[derive(Clone, Debug)]
pub struct RollOut(pub Switch);

impl RollOut {
    /// The controller has done all: it is ready, for what is wanted now.
    fn is_settled(&self, found: &DynamicObject) -> Look {
        let tenant = match TenantControlPlane::new(found.clone()) {
            Ok(tenant) => tenant,
            Err(error) => return Look::Never(error.to_string()),
        };
        let version = &tenant.status.kubernetes_resources.version.status;
        let store = &tenant.status.storage.data_store_name;
        let wanted = &self.0.tenant.target;
        if tenant.spec.data_store != *wanted {
            let again = &tenant.spec.data_store;
            return Look::Never(format!("somebody set spec.dataStore to {again}"));
        }
        if store == wanted && tenant.is_observed() && tenant.is_at_rest() {
            return Look::Done;
        }
        Look::NotYet(format!("it is {version}, in datastore {store}"))
    }

    /// Every API server uses the target and is ready, but for those that are told to end.
    fn all_moved(&self, pods: &[Pod]) -> Look {
        let target = &self.0.tenant.target;
        let pods = pods.iter().filter(|pod| !is_ending(pod));
        let old: Vec<_> = pods
            .clone()
            .filter(|pod| store_of(pod) != target)
            .map(|pod| format!("pod {} uses datastore {}", pod.name_any(), store_of(pod)))
            .collect();
        if let [first, ..] = &old[..] {
            return Look::NotYet(first.clone());
        }
        let ready = pods.filter(|pod| is_ready(pod)).count();
        let wanted = usize::try_from(self.0.tenant.replicas).unwrap_or(0);
        if ready < wanted {
            return Look::NotYet(format!("{ready} of {wanted} API servers are ready"));
        }
        Look::Done
    }

    async fn wait(&self, cx: &Cx) -> Result<(), KubeError> {
        let place = &self.0.place;
        let what = format!(
            "{} to be ready in datastore {}",
            self.0.shown(),
            self.0.tenant.target
        );
        let tell = |seen: &str| cx.sink.waiting("roll-out", seen);
        let wait = Wait::new(&what, ROLL_OUT_BOUND).telling(&tell);
        let api = tenants(&place.cluster, &place.namespace);
        wait_for(&api, &self.0.tenant.name, &wait, |found| match found {
            Some(found) => self.is_settled(found),
            None => Look::Never("it was deleted".to_owned()),
        })
        .await?;
        let pods = place.api::<Pod>();
        wait_for_all(&pods, &self.0.pods_selector(), &wait, |pods| {
            self.all_moved(pods)
        })
        .await?;
        let id = format!("{}/{}", place.namespace, self.0.tenant.name);
        wait_for(
            &data_stores(&place.cluster),
            &self.0.tenant.target,
            &wait,
            |found| match found.cloned().map(DataStore::new) {
                Some(Ok(store)) if store.status.used_by.contains(&id) => Look::Done,
                Some(Ok(_)) => {
                    Look::NotYet(format!("its datastore does not name it in usedBy ({id})"))
                }
                Some(Err(error)) => Look::Never(error.to_string()),
                None => Look::Never("the datastore was deleted".to_owned()),
            },
        )
        .await?;
        Ok(())
    }
}

impl Switch {
    /// What the pods that are not ready say.
    pub(super) async fn pods_evidence(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for pod in self.pods().await.unwrap_or_default() {
            if !is_ready(&pod) {
                let found =
                    pod_evidence(&self.place.cluster, &self.place.namespace, &pod.name_any()).await;
                lines.extend(found);
            }
        }
        lines
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[async_trait]
impl Step for RollOut {
    fn id(&self) -> &'static str {
        "roll-out"
    }

    fn title(&self) -> String {
        "let Kamaji move the API servers to the target".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Never(self.0.way_back())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        self.0.resume().await?;
        tokio::select! {
            waited = self.wait(cx) => match waited {
                Ok(()) => Ok(Outcome::Done(Value::Null)),
                Err(error @ (KubeError::TimedOut { .. } | KubeError::WillNotHappen { .. })) => {
                    let kind = if matches!(error, KubeError::TimedOut { .. }) { Kind::TimedOut } else { Kind::Error };
                    let evidence = self.0.pods_evidence().await;
                    Err(Failure::new(kind, error.to_string()).with_evidence(evidence).into())
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
