//! Hand-over: the operator switches the clients.
use anyhow::Result;
use async_trait::async_trait;

use super::{copy::still_frozen, freeze::Watched};
use crate::engine::{Cx, Outcome, Step, UndoPlan, Undone};

/// The operator switches the clients, then marks the step.
#[derive(Clone, Debug)]
pub struct HandOver {
    /// What the clients used.
    pub from: String,
    /// What they are to use.
    pub to: String,
    /// The migration's name.
    pub migration: String,
    /// What tells when the freeze is broken.
    pub guard: Watched,
}

/// Its id, by which it is marked.
pub const HAND_OVER: &str = "hand-over";

#[async_trait]
impl Step for HandOver {
    fn id(&self) -> &'static str {
        HAND_OVER
    }

    fn title(&self) -> String {
        "you switch the clients, then `mark`".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("switch back; what was written since is lost".to_owned())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        // What clients wrote to the source since would be missing after the switch.
        still_frozen(Some(&self.guard), cx).await?;
        Ok(Outcome::Waiting(format!(
            "switch the clients from {} to {}, then mark this step",
            self.from, self.to
        )))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored) // the clients are the operator's, who is asked before a rollback begins
    }
}
