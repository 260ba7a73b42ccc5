use anyhow::Result;
use async_trait::async_trait;

use super::super::{Switch, final_copy::LAST, stores::meter, warm_copy::Rounds};
use crate::engine::{Cx, Outcome, Step, UndoPlan, Undone};

/// Copies what Kamaji's Job left out, and removes what it should not have left.
#[derive(Clone, Debug)]
pub struct Mend(pub Switch);

#[async_trait]
impl Step for Mend {
    fn id(&self) -> &'static str {
        LAST.step()
    }

    fn title(&self) -> String {
        "copy what the Job left out: leases, later writes".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("remove the copy, with request".to_owned())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let switch = &self.0;
        if switch.is_flipped(&switch.control_plane().await?) {
            // The target is in use: a copy would overwrite what is written there. A counter may be put right.
            let pair = switch.stores.pair().await?;
            if let Some(wrong) = pair.wrong_counter().await? {
                pair.mend_counter().await?;
                let target = &switch.tenant.target;
                cx.sink.notice(format!(
                    "datastore {target} was in use with a counter left behind, and is put right: {wrong}"
                ));
            }
            let nothing = Rounds::of(Vec::new());
            return Ok(Outcome::Done(serde_json::to_value(nothing)?));
        }
        switch.still_frozen().await?;
        let pair = switch.stores.pair().await?;
        let meter = meter(cx, self.id(), "copying");
        let copied = tokio::select! {
            copied = pair.copy(None, &meter) => copied?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        let done = Rounds::of(vec![copied]);
        Ok(Outcome::Done(serde_json::to_value(done)?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored) // request's undo removes all of it
    }
}
