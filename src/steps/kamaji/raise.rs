use anyhow::Result;
use async_trait::async_trait;

use super::Switch;
use crate::{
    adapters::datastore::Raised,
    engine::{Cx, Key, Outcome, Step, UndoPlan, Undone},
};

/// Raises the target store's revision above the source's, so that kubelets and controllers need no restart.
///
/// A client that goes on from a revision which the target has not reached waits silently, for ever; from one
/// that it has gone past, it is told so at once and lists anew.
#[derive(Clone, Debug)]
pub struct Raise(pub Switch);

/// What raising leaves in the journal.
pub const RAISED: Key<Raised> = Key::new("raise");

/// The source goes on moving while the switch lasts, by its API servers' own writes even when frozen: 50
/// revisions in 40 s were seen of one. Where the source has other tenants it is more, and [`super::Lead`] sees how
/// much. Each revision is a write to the target's disk, so that more than it takes would be a load for nothing.
const MARGIN: u64 = 1_000;

#[async_trait]
impl Step for Raise {
    fn id(&self) -> &'static str {
        RAISED.step()
    }

    fn title(&self) -> String {
        format!(
            "raise the revision of datastore {} above the source's",
            self.0.tenant.target
        )
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("leave it: a revision is only a counter".to_owned())
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        Ok(vec![format!(
            "datastore {}: revision + {MARGIN}",
            self.0.tenant.target
        )])
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let pair = self.0.stores.pair().await?;
        let raised = tokio::select! {
            raised = pair.lead(MARGIN) => raised?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        Ok(Outcome::Done(serde_json::to_value(raised)?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
