use anyhow::Result;
use async_trait::async_trait;

use crate::{
    engine::{Cx, Outcome, Step, UndoPlan, Undone},
    steps::movers::Movers,
};

/// Takes the movers away: the workload that wakes next may be placed on another node than its volumes' movers.
#[derive(Clone, Debug)]
pub struct Away(pub Movers);

#[async_trait]
impl Step for Away {
    fn id(&self) -> &'static str {
        "release"
    }

    fn title(&self) -> String {
        "take the movers away".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        self.0.remove().await?;
        Ok(Outcome::Done(serde_json::Value::Null))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        self.0.remove().await?;
        Ok(Undone::Restored)
    }
}
