//! Starting the StatefulSet at the target.
use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde::{Deserialize, Serialize};

use super::{
    Place, copy::still_frozen, freeze::Watched, inventory::Inventory, ready, take_down::take_down,
    target_objects, verified_claims, verify::VERIFIED,
};
use crate::{
    adapters::kube::{KubeError, create_owned, get_opt},
    engine::{Check, Cx, Freezes, Key, Outcome, Probe, Step, UndoPlan, Undone},
    marks::Belongs,
    plan::{Plan, Workload},
};

/// Starts the StatefulSet at the target.
#[derive(Clone, Debug)]
pub struct StartTarget {
    /// The plan.
    pub plan: Plan,
    /// The migration.
    pub belongs: Belongs,
    /// Where the target is.
    pub target: Place,
    /// What is moved.
    pub inventory: Inventory,
    /// The source's name, for a warning where both are in one namespace.
    pub source: Place,
    /// What tells when the freeze is broken.
    pub guard: Watched,
}

/// What starting leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// The StatefulSet's uid.
    pub uid: String,
    /// Pods that are ready.
    pub ready: u32,
}

/// What starting leaves in the journal.
pub const STARTED: Key<Started> = Key::new("start-target");

impl StartTarget {
    fn name(&self) -> String {
        let name = self.plan.spec.target.statefulset.clone();
        name.or_else(|| self.plan.spec.source.statefulset.clone())
            .unwrap_or_default()
    }

    fn wanted(&self) -> Result<DynamicObject> {
        let labels = self.belongs.marks("workload");
        let object = target_objects::statefulset(
            &self.plan,
            &self.inventory,
            &self.target.namespace,
            labels,
        );
        Ok(serde_json::from_value(object)?)
    }

    fn raw(place: &Place) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<StatefulSet>(&());
        Api::namespaced_with(place.cluster.client(), &place.namespace, &resource)
    }

    fn object(&self) -> String {
        self.target.object("statefulset", &self.name())
    }
}

#[async_trait]
impl Step for StartTarget {
    fn id(&self) -> &'static str {
        "start-target"
    }

    fn title(&self) -> String {
        format!("start statefulset/{} in {}", self.name(), self.target)
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete it; its volumes stay".to_owned())
    }

    fn freezes(&self) -> Freezes {
        Freezes::End
    }

    fn seals(&self) -> bool {
        // Its pods write to the copy.
        true
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        let found = get_opt(&Self::raw(&self.target), &self.name()).await?;
        checks.push(match found {
            None => Check::pass("target workload", self.object(), "does not exist yet"),
            Some(found) if self.belongs.made(&found.metadata) => Check::pass(
                "target workload",
                self.object(),
                "was made by this migration",
            ),
            Some(_) => Check::block(
                "target workload",
                self.object(),
                "exists already, and was not made by this migration",
                "delete it, or let the plan name another (spec.target.statefulset)",
            ),
        });
        if !self.target.remote && self.target.namespace == self.source.namespace {
            checks.push(Check::warn(
                "one namespace",
                self.object(),
                "has the same labels as the source, in the same namespace: a Service selects the pods of both",
                "keep the source frozen until it is cleaned up, as the migration does by itself",
            ));
        }
        Ok(checks)
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        let dry = Place {
            cluster: self.target.cluster.dry_run(),
            ..self.target.clone()
        };
        let created = Self::raw(&dry)
            .create(&PostParams::default(), &self.wanted()?)
            .await;
        created.map_err(KubeError::from)?;
        Ok(vec![format!("{} created (server dry run)", self.object())])
    }

    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        // Before it is begun: afterwards nothing that it relies on could be made again.
        still_frozen(Some(&self.guard), cx).await?;
        if let Some(verified) = cx.find(&VERIFIED)? {
            let lost = verified_claims::lost(&self.target, &verified).await?;
            if !lost.is_empty() {
                return Ok(Probe::Blocked(lost));
            }
        }
        Ok(Probe::Ready)
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let api = Self::raw(&self.target);
        let made = create_owned(&api, &self.wanted()?).await?.into_object();
        let replicas = self.inventory.replicas;
        let ready = ready::pods(&self.target, &self.name(), replicas, self.id(), cx).await?;
        Ok(Outcome::Done(serde_json::to_value(Started {
            uid: made.metadata.uid.unwrap_or_default(),
            ready,
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        let workload = Workload::StatefulSet(self.name());
        let claims = self.inventory.volumes.iter().map(|volume| &volume.target);
        take_down(&self.target, &self.belongs, &workload, claims).await?;
        Ok(Undone::Restored)
    }
}
