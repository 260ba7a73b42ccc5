use anyhow::{Result, ensure};
use async_trait::async_trait;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Switch;
use crate::{
    adapters::{
        kamaji::{TenantControlPlane, tenants},
        kube::{JsonPatchOperation, KubeError, json_patch, pointer},
    },
    engine::{Cx, Failure, Kind, Outcome, Step, UndoPlan, Undone},
    steps::Place,
};

/// Gives the tenant to the target store: the point of no return.
#[derive(Clone, Debug)]
pub struct Flip(pub Switch);

impl Switch {
    /// Whether the tenant belongs to the target.
    pub(super) fn is_flipped(&self, tenant: &TenantControlPlane) -> bool {
        tenant.status.storage.data_store_name == self.tenant.target
    }

    /// What the way back is once the target is written to.
    pub(super) fn way_back(&self) -> String {
        format!(
            "the tenant is written to in datastore {0} from here on; the way back is a switch of its own: remove the old data from datastore {1} (`kubectl migrate cleanup {2} --old-data -n {3}`), then `kubectl migrate switch-datastore {4} --to {1} -n {3}`",
            self.tenant.target,
            self.tenant.source,
            self.belongs.migration,
            self.place.namespace,
            self.tenant.name
        )
    }

    /// Changes `spec.dataStore` where it is `from`. Paused, the controller does nothing about it.
    pub(super) async fn want(&self, place: &Place, from: &str, to: &str) -> Result<()> {
        let path = pointer(&["spec", "dataStore"]);
        let operations = [
            JsonPatchOperation::Test {
                path: pointer(&["metadata", "uid"]),
                value: json!(self.tenant.uid),
            },
            JsonPatchOperation::Test {
                path: path.clone(),
                value: json!(from),
            },
            JsonPatchOperation::Replace {
                path,
                value: json!(to),
            },
        ];
        let api = tenants(&place.cluster, &place.namespace);
        json_patch(&api, &self.tenant.name, &operations).await?;
        Ok(())
    }

    /// Changes the status, which is what the controller goes by; only of the object as it was just seen.
    async fn declare(&self, tenant: &TenantControlPlane) -> Result<()> {
        let patch = json!({
            "metadata": {"resourceVersion": tenant.object.metadata.resource_version},
            "status": {"storage": {"dataStoreName": self.tenant.target}},
        });
        let api = tenants(&self.place.cluster, &self.place.namespace);
        api.patch_status(
            &self.tenant.name,
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
        .map_err(KubeError::from)?;
        Ok(())
    }
}

#[async_trait]
impl Step for Flip {
    fn id(&self) -> &'static str {
        "flip"
    }

    fn title(&self) -> String {
        format!(
            "give {} to datastore {}",
            self.0.tenant.name, self.0.tenant.target
        )
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Never(self.0.way_back())
    }

    fn seals(&self) -> bool {
        true
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        let (mut dry, tenant) = (self.0.place.clone(), &self.0.tenant);
        dry.cluster = dry.cluster.dry_run();
        self.0.want(&dry, &tenant.source, &tenant.target).await?;
        Ok(vec![format!(
            "{}: spec.dataStore {} → {}, and status.storage.dataStoreName",
            self.0.shown(),
            tenant.source,
            tenant.target
        )])
    }

    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        let wanted = &self.0.tenant;
        let mut tenant = self.0.control_plane().await?;
        if self.0.is_flipped(&tenant) {
            return Ok(Outcome::Done(Value::Null));
        }
        // Un-paused, the controller would take the first of the two changes for its own migration.
        ensure!(
            self.0.has_paused(&tenant),
            Failure::new(
                Kind::Blocked,
                format!(
                    "{} is not paused any more: roll back, and begin anew",
                    self.0.shown()
                )
            )
        );
        self.0.still_frozen().await?;
        if tenant.spec.data_store != wanted.target {
            self.0
                .want(&self.0.place, &wanted.source, &wanted.target)
                .await?;
            tenant = self.0.control_plane().await?;
        }
        self.0.declare(&tenant).await?;
        Ok(Outcome::Done(Value::Null))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        let tenant = self.0.control_plane().await?;
        if self.0.is_flipped(&tenant) {
            return Ok(Undone::Irreversible(self.0.way_back()));
        }
        let wanted = &self.0.tenant;
        if tenant.spec.data_store == wanted.target {
            self.0
                .want(&self.0.place, &wanted.target, &wanted.source)
                .await?;
        }
        Ok(Undone::Restored)
    }
}
