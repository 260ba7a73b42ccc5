use anyhow::Result;
use async_trait::async_trait;

use crate::{
    engine::{Cx, Freezes, Outcome, Step, UndoPlan, Undone},
    steps::freeze::FreezeStep,
};

/// Lets the workload write again, as it did before.
#[derive(Clone, Debug)]
pub struct Wake(pub FreezeStep);

#[async_trait]
impl Step for Wake {
    fn id(&self) -> &'static str {
        "thaw"
    }

    fn title(&self) -> String {
        format!("wake {}", self.0.workload)
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    fn freezes(&self) -> Freezes {
        Freezes::End
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        // What a rollback of the freeze does: it goes by the note on the object, and may be done again.
        self.0.undo(cx).await?;
        Ok(Outcome::Done(serde_json::Value::Null))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
