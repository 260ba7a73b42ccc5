use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;

use super::super::{Switch, controller::MANAGER};
use crate::{
    adapters::kube::{Selector, list_all},
    engine::Check,
};

impl Switch {
    /// After the flip Kamaji has to move the API servers: without it the tenant would stay frozen.
    pub(super) async fn check_controller(&self) -> Check {
        let name = "controller";
        let selector = Selector::labels(MANAGER);
        let everywhere = self.place.cluster.everywhere::<Deployment>();
        let found = match list_all(&everywhere, &selector).await {
            Ok(found) => found,
            Err(error) => {
                return Check::warn(
                    name,
                    self.shown(),
                    format!("Kamaji's own deployment cannot be looked at: {error}"),
                    "make sure that it runs: after the flip it has to move the API servers",
                );
            }
        };
        let [first, ..] = &found[..] else {
            return Check::warn(
                name,
                self.shown(),
                format!("no deployment has Kamaji's labels ({MANAGER})"),
                "make sure that it runs: after the flip it has to move the API servers",
            );
        };
        let shown = |deployment: &Deployment| {
            let namespace = deployment.namespace().unwrap_or_default();
            format!("deployment {namespace}/{}", deployment.name_any())
        };
        match found.iter().find(|deployment| available(deployment) > 0) {
            Some(deployment) => Check::pass(name, shown(deployment), "is available"),
            None => Check::block(
                name,
                shown(first),
                "has no available pod: nobody would move the API servers after the flip",
                format!(
                    "kubectl describe deployment {} -n {} shows why",
                    first.name_any(),
                    first.namespace().unwrap_or_default()
                ),
            ),
        }
    }
}

fn available(deployment: &Deployment) -> i32 {
    let status = deployment.status.as_ref();
    status
        .and_then(|status| status.available_replicas)
        .unwrap_or_default()
}
