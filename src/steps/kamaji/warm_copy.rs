use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Switch, stores::meter};
use crate::{
    adapters::datastore::{Copied, Position},
    engine::{Cx, Key, Outcome, Probe, Step, UndoPlan, Undone},
};

/// Copies while the tenant works, until little is left.
#[derive(Clone, Debug)]
pub struct WarmCopy {
    /// The switch.
    pub switch: Switch,
    /// At most so many rounds.
    pub rounds: u32,
}

/// What copies leave in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounds {
    /// What each round did.
    pub rounds: Vec<Copied>,
}

impl Rounds {
    /// Where the last round ended.
    pub(super) fn position(&self) -> Option<&Position> {
        self.rounds.last().map(|last| &last.position)
    }
}

/// What warm copying leaves in the journal.
pub const WARM: Key<Rounds> = Key::new("warm-copy");

/// A round that finds no more changes than this is the last: they are sent within a second.
const LITTLE: u64 = 500;

#[async_trait]
impl Step for WarmCopy {
    fn id(&self) -> &'static str {
        WARM.step()
    }

    fn title(&self) -> String {
        "copy while the tenant works, until little is left".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("remove the copy".to_owned())
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        let tenant = &self.switch.tenant;
        Ok(vec![format!(
            "datastore {}: receive schema {} of datastore {}",
            tenant.target, tenant.schema, tenant.source
        )])
    }

    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        if cx.again {
            return Ok(Probe::Ready);
        }
        // From here on what the target holds of this schema is ours, and going back removes it.
        let look = self.switch.stores.pair().await?.look().await?;
        Ok(match self.switch.not_empty(&look) {
            Some(check) => Probe::Blocked(vec![check]),
            None => Probe::Ready,
        })
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let pair = self.switch.stores.pair().await?;
        let mut done = Rounds { rounds: Vec::new() };
        for _ in 0..self.rounds.max(1) {
            let meter = meter(cx, self.id(), "copying");
            let copied = tokio::select! {
                copied = pair.copy(done.position(), &meter) => copied?,
                // What is complete is not sent again.
                () = cx.stop.wait() => return Ok(Outcome::Stopped),
            };
            if copied.anew {
                cx.sink.notice(format!(
                    "datastore {} was compacted meanwhile: it was read anew at revision {}",
                    self.switch.tenant.source, copied.revision
                ));
            }
            let changed = copied.written + copied.removed;
            done.rounds.push(copied);
            if done.rounds.len() > 1 && changed <= LITTLE {
                break;
            }
        }
        Ok(Outcome::Done(serde_json::to_value(done)?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        self.switch.stores.pair().await?.clear_target().await?;
        Ok(Undone::Restored)
    }
}
