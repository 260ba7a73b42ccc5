use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use serde::{Deserialize, Serialize};

use super::{
    Switch,
    api::{ApiServer, Write, at_least_one},
};
use crate::{
    adapters::kube::KubeError,
    engine::{Cx, Freezes, Key, Outcome, Step, UndoPlan, Undone},
    plan::{TenantFreeze, TenantWay},
};

/// Lets the tenant accept writes again, in the target.
#[derive(Clone, Debug)]
pub struct ThawTenant(pub Switch);

/// What the thaw leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thawed {
    /// The API servers that were seen to accept a write.
    pub accepted_by: Vec<String>,
    /// The tenant's revision as its API servers tell it now.
    pub revision: u64,
}

/// What the thaw leaves in the journal.
pub const THAWED: Key<Thawed> = Key::new("thaw");

#[async_trait]
impl Step for ThawTenant {
    fn id(&self) -> &'static str {
        THAWED.step()
    }

    fn title(&self) -> String {
        "accept writes again, and see one accepted".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Never(self.0.way_back())
    }

    fn freezes(&self) -> Freezes {
        Freezes::End
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let servers = self.0.staying_api_servers().await?;
        at_least_one(&servers, &self.0.shown())?;
        if self.0.way == TenantWay::Controller {
            self.0.until_lifted(cx, self.id()).await?;
        }
        if self.0.freeze == TenantFreeze::ReadOnly {
            self.0.remove_policy(&servers[0]).await?;
        }
        let accepted_by = self
            .0
            .until_all(&Write::Accepted, &servers, cx, self.id())
            .await?;
        if self.0.way == TenantWay::Controller {
            self.0.restore_annotations().await?;
        }
        let revision = revision(&servers[0]).await?;
        Ok(Outcome::Done(serde_json::to_value(Thawed {
            accepted_by,
            revision,
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Irreversible(self.0.way_back()))
    }
}

/// The revision that a list is of.
async fn revision(server: &ApiServer) -> Result<u64> {
    let namespaces: Api<Namespace> = server.cluster.cluster_scoped();
    let one = ListParams::default().limit(1);
    let list = namespaces.list(&one).await.map_err(KubeError::from)?;
    Ok(list.metadata.resource_version.unwrap_or_default().parse()?)
}
