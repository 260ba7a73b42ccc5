use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use serde::{Deserialize, Serialize};

use super::{
    Switch,
    api::{ApiServer, Write, at_least_one},
    lead::LED,
    roll_out::ROLLED_OUT,
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
    /// Whether kubelets and other clients that watched all through the switch have to be restarted.
    pub restart_kubelets: bool,
    /// Why, or why not.
    pub because: String,
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
        let servers = self.0.api_servers().await?;
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
        let (led, rolled_out) = (cx.get(&LED)?, cx.get(&ROLLED_OUT)?);
        let (restart_kubelets, because) = verdict(led.now, rolled_out.source);
        Ok(Outcome::Done(serde_json::to_value(Thawed {
            accepted_by,
            revision,
            restart_kubelets,
            because,
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Irreversible(self.0.way_back()))
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

/// The revision that a list is of.
async fn revision(server: &ApiServer) -> Result<u64> {
    let namespaces: Api<Namespace> = server.cluster.cluster_scoped();
    let one = ListParams::default().limit(1);
    let list = namespaces.list(&one).await.map_err(KubeError::from)?;
    Ok(list.metadata.resource_version.unwrap_or_default().parse()?)
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
