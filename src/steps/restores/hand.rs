use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;

use super::{Restoring, fill::found};
use crate::{
    engine::{Cx, Outcome, Step, UndoPlan, Undone},
    steps::movers::{Doing, LoneWork},
    transfer::Side,
};

/// Takes the traces of restoring off the volumes, and the movers away, so that the volumes are their pods' alone.
#[derive(Clone, Debug)]
pub struct Hand(pub Restoring);

#[async_trait]
impl Step for Hand {
    fn id(&self) -> &'static str {
        "release"
    }

    fn title(&self) -> String {
        "take the movers away".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let this = &self.0;
        // First: nothing of theirs may be taken for ours by a rollback, however this ends.
        this.movers.give(&found(cx)?).await?;
        let meter = this.meter(cx, self.id(), Doing::Copying);
        let work: LoneWork<()> = Arc::new(|lone| Box::pin(async move { lone.finish().await }));
        this.movers
            .alone(Side::Target, &this.volumes(), cx, &meter, &work)
            .await?;
        this.movers.remove().await?;
        Ok(Outcome::Done(serde_json::Value::Null))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        self.0.movers.remove().await?;
        Ok(Undone::Restored)
    }
}
