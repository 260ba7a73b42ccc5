use anyhow::Result;
use async_trait::async_trait;

use super::{Switch, stores::meter, warm_copy::Rounds, warm_verify::rounds_before};
use crate::engine::{Cx, Key, Outcome, Step, UndoPlan, Undone};

/// Copies what changed since the last warm round, while nothing is written.
#[derive(Clone, Debug)]
pub struct FinalCopy(pub Switch);

/// What the last copy leaves in the journal.
pub const LAST: Key<Rounds> = Key::new("final-copy");

#[async_trait]
impl Step for FinalCopy {
    fn id(&self) -> &'static str {
        LAST.step()
    }

    fn title(&self) -> String {
        "copy what changed since".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("remove the copy, with that of warm-copy".to_owned())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        self.0.still_frozen().await?;
        let pair = self.0.stores.pair().await?;
        let warm = rounds_before(cx)?;
        // A second try is there because something was missing: what a watch tells is not enough then.
        let since = warm.position().filter(|_| !cx.again);
        let meter = meter(cx, self.id(), "copying");
        let copied = tokio::select! {
            copied = pair.copy(since, &meter) => copied?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        let done = Rounds::of(vec![copied]);
        Ok(Outcome::Done(serde_json::to_value(done)?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored) // warm-copy's undo removes all of it
    }
}
