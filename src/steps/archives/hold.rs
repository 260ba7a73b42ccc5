use anyhow::Result;
use async_trait::async_trait;

use super::READ_BACK;
use crate::{
    engine::{Check, Cx, Freezes, Holds, Outcome, Probe, Step, UndoPlan, Undone},
    steps::freeze::FreezeStep,
};

/// The freeze of a snapshot: it need not stand any more when what was taken has been read back.
#[derive(Clone, Debug)]
pub struct Hold(pub FreezeStep);

#[async_trait]
impl Step for Hold {
    fn id(&self) -> &'static str {
        self.0.id()
    }

    fn title(&self) -> String {
        self.0.title()
    }

    fn undo_plan(&self) -> UndoPlan {
        self.0.undo_plan()
    }

    fn freezes(&self) -> Freezes {
        self.0.freezes()
    }

    async fn preflight(&self, cx: &Cx) -> Result<Vec<Check>> {
        self.0.preflight(cx).await
    }

    async fn rehearse(&self, cx: &Cx) -> Result<Vec<String>> {
        self.0.rehearse(cx).await
    }

    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        self.0.probe(cx).await
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        self.0.apply(cx).await
    }

    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        match cx.find(&READ_BACK)? {
            Some(_) => Ok(Holds::Yes),
            None => self.0.holds(cx).await,
        }
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        self.0.undo(cx).await
    }
}
