//! The freeze `offline`: no API server of the tenant runs.
use anyhow::Result;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};

use super::{ROLL_OUT_BOUND, Switch};
use crate::{
    adapters::kube::{Look, Selector, Wait, scale, wait_for, wait_for_all},
    engine::{Cx, Failure, Kind},
};

/// How often the Deployment may be scaled up again while its pods end: by Kamaji's last reconcile once or twice.
const OVERRULED_AT_MOST: usize = 5;

/// How many pods a Deployment is to have.
fn wanted_replicas(deployment: &Deployment) -> i32 {
    let spec = deployment.spec.as_ref();
    spec.and_then(|spec| spec.replicas).unwrap_or(1)
}

impl Switch {
    /// Stops the API servers and waits until none is left. Kamaji is paused, so that it leaves it so; but what it
    /// had begun before the pause it goes on with, and that may start them again.
    pub(super) async fn stop_servers(&self, cx: &Cx) -> Result<()> {
        let deployments = self.place.api::<Deployment>();
        let what = format!("the API servers of {} to end", self.shown());
        let tell = |seen: &str| cx.sink.waiting("freeze", seen);
        let wait = Wait::new(&what, ROLL_OUT_BOUND).telling(&tell);
        let (pods, selector) = (self.place.api::<Pod>(), self.pods_selector());
        for _ in 0..OVERRULED_AT_MOST {
            scale(&deployments, &self.tenant.deployment, 0).await?;
            let ended = wait_for_all(&pods, &selector, &wait, |pods| match pods.len() {
                0 => Look::Done,
                left => Look::NotYet(format!("{left} left")),
            });
            let quiet = Wait::new(&what, ROLL_OUT_BOUND);
            let overruled =
                wait_for(
                    &deployments,
                    &self.tenant.deployment,
                    &quiet,
                    |found| match found.map(wanted_replicas) {
                        Some(0) => Look::NotYet("it is to have no pod".to_owned()),
                        Some(_) => Look::Done,
                        None => Look::Never("the deployment was deleted".to_owned()),
                    },
                );
            tokio::select! {
                biased;
                overruled = overruled => {
                    overruled?;
                    cx.sink.notice(format!(
                        "{} was scaled up again, perhaps by what Kamaji had begun before the pause: once more",
                        self.place.object("deployment", &self.tenant.deployment)
                    ));
                }
                ended = ended => {
                    ended?;
                    return Ok(());
                }
            }
        }
        let deployment = self.place.object("deployment", &self.tenant.deployment);
        let why = format!("somebody scales {deployment} up as often as it is scaled down");
        Err(Failure::new(Kind::Blocked, why)
            .with_next(
                format!(
                    "kubectl get deployment {} -n {} --show-managed-fields -o yaml",
                    self.tenant.deployment, self.place.namespace
                ),
                "shows who (an autoscaler, a GitOps controller)",
            )
            .into())
    }

    /// Starts as many API servers as there were, and waits until they are ready.
    pub(super) async fn start_servers(&self, cx: &Cx) -> Result<()> {
        let deployments = self.place.api::<Deployment>();
        scale(&deployments, &self.tenant.deployment, self.tenant.replicas).await?;
        let what = format!("the API servers of {} to be ready", self.shown());
        let tell = |seen: &str| cx.sink.waiting("freeze", seen);
        let wait = Wait::new(&what, ROLL_OUT_BOUND).telling(&tell);
        let wanted = self.tenant.replicas;
        wait_for(&deployments, &self.tenant.deployment, &wait, |found| {
            let status = found.and_then(|found| found.status.as_ref());
            let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
            if ready >= wanted {
                Look::Done
            } else {
                Look::NotYet(format!("{ready} of {wanted}"))
            }
        })
        .await?;
        Ok(())
    }

    /// Selects the pods of the control plane.
    pub(super) fn pods_selector(&self) -> Selector {
        Selector::labels(&self.tenant.selector)
    }
}
