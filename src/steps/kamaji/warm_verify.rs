use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    Switch,
    stores::meter,
    warm_copy::{Rounds, WARM},
};
use crate::{
    adapters::datastore::{Copied, DatastoreError, FirstHalf},
    engine::{Cx, Key, Outcome, Step, UndoPlan, Undone},
};

/// Compares all that was copied while the tenant works. What a store with a million keys takes for that, its tenant
/// need not wait for: [`super::VerifyStores`] reads what changed since alone.
#[derive(Clone, Debug)]
pub struct WarmVerify(pub Switch);

/// What comparing while the tenant works leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Half {
    /// The rounds of copying before it and after.
    pub rounds: Vec<Copied>,
    /// What was compared; none where the stores would not tell what changes later.
    pub compared: Option<FirstHalf>,
}

/// What comparing while the tenant works leaves in the journal.
pub const HALF: Key<Half> = Key::new("warm-verify");

/// How often a source may be compacted while it is compared.
const TRIES: usize = 3;

#[async_trait]
impl Step for WarmVerify {
    fn id(&self) -> &'static str {
        HALF.step()
    }

    fn title(&self) -> String {
        "compare what was copied, while the tenant works".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("remove the copy, with that of warm-copy".to_owned())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let pair = self.0.stores.pair().await?;
        let copying = meter(cx, self.id(), "copying");
        let comparing = meter(cx, self.id(), "comparing");
        let mut done = cx.get(&WARM)?;
        let earlier = done.rounds.len();
        let mut compared = None;
        let work = async {
            for _ in 0..TRIES {
                done.rounds
                    .push(pair.copy(done.position(), &copying).await?);
                let Some(position) = done.position() else {
                    break;
                };
                match pair.compare_first(position, &comparing).await {
                    Err(DatastoreError::Compacted { .. }) => {}
                    other => {
                        compared = other?;
                        break;
                    }
                }
            }
            // What changed meanwhile is not left for the time when writes are refused.
            done.rounds
                .push(pair.copy(done.position(), &copying).await?);
            Ok::<_, DatastoreError>(())
        };
        tokio::select! {
            worked = work => worked?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        }
        if compared.is_none() {
            cx.sink.notice(format!(
                "datastore {} does not keep what changes meanwhile: everything is compared while writes are refused",
                self.0.tenant.source
            ));
        }
        let half = Half {
            rounds: done.rounds.split_off(earlier),
            compared,
        };
        Ok(Outcome::Done(serde_json::to_value(half)?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored) // warm-copy's undo removes all of it
    }
}

/// All rounds of copying before the last.
pub(super) fn rounds_before(cx: &Cx) -> Result<Rounds> {
    let mut warm = cx.get(&WARM)?;
    if let Some(half) = cx.find(&HALF)? {
        warm.rounds.extend(half.rounds);
    }
    Ok(warm)
}
