use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    Switch,
    forecast::Pace,
    lead::margin,
    raise::RAISED,
    stores::meter,
    warm_copy::{LITTLE, Rounds, WARM},
};
use crate::{
    adapters::datastore::{Copied, DatastoreError, FirstHalf, Pair, Raised},
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
    /// How far the target was raised again, by what the source moved since the first time.
    pub raised: Raised,
    /// Seconds that writes are expected to be refused for, where all that it takes was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_freeze: Option<f64>,
}

/// What comparing while the tenant works leaves in the journal.
pub const HALF: Key<Half> = Key::new("warm-verify");

/// How often a source may be compacted while it is compared.
const TRIES: usize = 3;

/// At most so many rounds until what is left is little.
const CATCHING_UP: usize = 3;

impl WarmVerify {
    async fn half(&self, pair: &dyn Pair, cx: &Cx) -> Result<Half> {
        let copying = meter(cx, self.id(), "copying");
        let comparing = meter(cx, self.id(), "comparing");
        let mut done = cx.get(&WARM)?;
        let earlier = done.rounds.len();
        let mut compared = None;
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
        // Each revision that the target still lacks is a write, for which writes to the tenant need not stop: what
        // the source moved meanwhile tells how much it will be.
        let moved = pair.source_revision().await?;
        let moved = moved.saturating_sub(cx.get(&RAISED)?.source);
        let raised = pair.lead(margin(self.0.tenant.driver, moved)).await?;
        // What changed meanwhile is not left for the time when writes are refused, either.
        let mut took = Duration::ZERO;
        for _ in 0..CATCHING_UP {
            let begun = Instant::now();
            let last = pair.copy(done.position(), &copying).await?;
            took = begun.elapsed();
            let little = last.written + last.removed <= LITTLE;
            done.rounds.push(last);
            if little {
                break;
            }
        }
        let pace = Pace {
            copying: took,
            comparing: match compared {
                // Of what changed since, about as long as copying it.
                Some(_) => took,
                None => self.comparing(pair, cx).await?,
            },
        };
        Ok(Half {
            rounds: done.rounds.split_off(earlier),
            compared,
            raised,
            expected_freeze: self.0.fits(pace).await?,
        })
    }

    /// How long comparing everything takes; it is measured where it has to fit.
    async fn comparing(&self, pair: &dyn Pair, cx: &Cx) -> Result<Duration> {
        cx.sink.notice(format!(
            "datastore {} does not keep what changes meanwhile: everything is compared while writes are refused",
            self.0.tenant.source
        ));
        let begun = Instant::now();
        if self.0.max_freeze.is_some() {
            pair.compare(&meter(cx, self.id(), "comparing")).await?;
        }
        Ok(begun.elapsed())
    }
}

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
        let half = tokio::select! {
            half = self.half(pair, cx) => half?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
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
