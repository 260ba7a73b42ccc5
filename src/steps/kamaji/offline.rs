//! The freeze `offline`: no API server of the tenant runs.
use anyhow::Result;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};

use super::{ROLL_OUT_BOUND, Switch};
use crate::{
    adapters::kube::{Look, Selector, Wait, scale, wait_for, wait_for_all},
    engine::Cx,
};

impl Switch {
    /// Stops the API servers and waits until none is left. Kamaji is paused, so that it leaves it so.
    pub(super) async fn stop_servers(&self, cx: &Cx) -> Result<()> {
        let deployments = self.place.api::<Deployment>();
        scale(&deployments, &self.tenant.deployment, 0).await?;
        let what = format!("the API servers of {} to end", self.shown());
        let tell = |seen: &str| cx.sink.waiting("freeze", &format!("{what}: {seen}"));
        let wait = Wait::new(&what, ROLL_OUT_BOUND).telling(&tell);
        wait_for_all(
            &self.place.api::<Pod>(),
            &self.pods_selector(),
            &wait,
            |pods| match pods.len() {
                0 => Look::Done,
                left => Look::NotYet(format!("{left} left")),
            },
        )
        .await?;
        Ok(())
    }

    /// Starts as many API servers as there were, and waits until they are ready.
    pub(super) async fn start_servers(&self, cx: &Cx) -> Result<()> {
        let deployments = self.place.api::<Deployment>();
        scale(&deployments, &self.tenant.deployment, self.tenant.replicas).await?;
        let what = format!("the API servers of {} to be ready", self.shown());
        let tell = |seen: &str| cx.sink.waiting("freeze", &format!("{what}: {seen}"));
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
