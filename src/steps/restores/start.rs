use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde::{Deserialize, Serialize};

use crate::{
    adapters::kube::{KubeError, create_owned, get_opt},
    engine::{Check, Cx, Key, Outcome, Step, UndoPlan, Undone},
    marks::Belongs,
    plan::{Plan, Workload},
    steps::{Place, inventory::Inventory, ready, take_down::take_down, target_objects},
};

/// Starts the workload of a snapshot on the volumes that were filled.
#[derive(Clone, Debug)]
pub struct StartWorkload {
    /// The plan.
    pub plan: Plan,
    /// The migration.
    pub belongs: Belongs,
    /// Where it starts.
    pub target: Place,
    /// What it is.
    pub workload: Workload,
    /// It as the snapshot has it, and its volumes.
    pub inventory: Inventory,
    /// How long it may take to be ready.
    pub within: Duration,
}

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Brought {
    /// The workload's uid.
    pub uid: String,
    /// Pods that are ready.
    pub ready: u32,
}

/// What it leaves in the journal.
pub const BROUGHT: Key<Brought> = Key::new("start-workload");

impl StartWorkload {
    /// How long it may take to be ready, where nobody says.
    #[must_use]
    pub fn within(plan: &Plan) -> Duration {
        plan.spec.ready_within.map_or(ready::READY, |span| span.0)
    }

    fn api(&self, place: &Place) -> Api<DynamicObject> {
        let resource = ready::resource(&self.workload);
        Api::namespaced_with(place.cluster.client(), &place.namespace, &resource)
    }

    fn object(&self) -> String {
        self.target
            .object(self.workload.kind(), self.workload.name())
    }

    fn wanted(&self) -> Result<DynamicObject> {
        let labels = self.belongs.marks("workload");
        let namespace = &self.target.namespace;
        let object = match &self.workload {
            Workload::StatefulSet(_) => {
                target_objects::statefulset(&self.plan, &self.inventory, namespace, labels)
            }
            Workload::Deployment(_) => {
                target_objects::deployment(&self.inventory, namespace, labels)
            }
        };
        Ok(serde_json::from_value(object)?)
    }
}

#[async_trait]
impl Step for StartWorkload {
    fn id(&self) -> &'static str {
        BROUGHT.step()
    }

    fn title(&self) -> String {
        format!("start {} in {}", self.workload, self.target)
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete it; its volumes stay".to_owned())
    }

    fn seals(&self) -> bool {
        // Its pods write to the volumes.
        true
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        let found = get_opt(&self.api(&self.target), self.workload.name()).await?;
        Ok(vec![match found {
            None => Check::pass("target workload", self.object(), "does not exist yet"),
            Some(found) if self.belongs.made(&found.metadata) => {
                Check::pass("target workload", self.object(), "was made by this restore")
            }
            Some(_) => Check::block(
                "target workload",
                self.object(),
                "exists already, and is kept as it is",
                "name another namespace, or bring the volumes alone (--volumes-only)",
            ),
        }])
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        let dry = Place {
            cluster: self.target.cluster.dry_run(),
            ..self.target.clone()
        };
        let created = self
            .api(&dry)
            .create(&PostParams::default(), &self.wanted()?)
            .await;
        created.map_err(KubeError::from)?;
        Ok(vec![format!("{} created (server dry run)", self.object())])
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let api = self.api(&self.target);
        // Never over one that is there: only an earlier try of this very run is taken for it.
        let made = create_owned(&api, &self.wanted()?).await?.into_object();
        let replicas = self.inventory.replicas;
        let waiting = ready::within(
            &self.target,
            &self.workload,
            replicas,
            self.within,
            self.id(),
            cx,
        );
        let ready = tokio::select! {
            ready = waiting => ready?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        Ok(Outcome::Done(serde_json::to_value(Brought {
            uid: made.metadata.uid.unwrap_or_default(),
            ready,
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        let claims = self.inventory.volumes.iter().map(|volume| &volume.target);
        take_down(&self.target, &self.belongs, &self.workload, claims).await?;
        Ok(Undone::Restored)
    }
}
