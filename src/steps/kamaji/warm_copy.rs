use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Switch, forecast::Pace, stores::meter};
use crate::{
    adapters::datastore::{Copied, Driver, Pair, Position},
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
    /// Seconds that writes are expected to be refused for, where all that it takes was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_freeze: Option<f64>,
}

impl Rounds {
    /// Rounds of which nothing more was measured.
    pub(super) fn of(rounds: Vec<Copied>) -> Self {
        Self {
            rounds,
            expected_freeze: None,
        }
    }

    /// Where the last round ended.
    pub(super) fn position(&self) -> Option<&Position> {
        self.rounds.last().map(|last| &last.position)
    }
}

/// What warm copying leaves in the journal.
pub const WARM: Key<Rounds> = Key::new("warm-copy");

/// A round that finds no more changes than this is the last: they are sent within a second.
pub(super) const LITTLE: u64 = 500;

impl WarmCopy {
    /// How long writes will be refused. Behind kine all is compared then, which takes about as long as it took to
    /// copy; where that does not fit what is allowed, it is measured by doing it once while the tenant works.
    async fn expected(&self, cx: &Cx, pair: &dyn Pair, mut pace: Pace) -> Result<Option<f64>> {
        let switch = &self.switch;
        let forecast = switch.forecast(pace).await?;
        if matches!(&forecast, Ok(forecast) if forecast.fits(switch.max_freeze).is_err()) {
            cx.sink.notice(
                "both stores are compared once, to say how long writes would be refused".to_owned(),
            );
            let begun = Instant::now();
            pair.compare(&meter(cx, self.id(), "comparing")).await?;
            pace.comparing = begun.elapsed();
        }
        switch.fits(pace).await
    }
}

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
        let mut done = Rounds::of(Vec::new());
        // The first reads both stores whole.
        let (mut first, mut last) = (None, Duration::ZERO);
        for _ in 0..self.rounds.max(1) {
            let meter = meter(cx, self.id(), "copying");
            let begun = Instant::now();
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
            last = begun.elapsed();
            first.get_or_insert(last);
            let changed = copied.written + copied.removed;
            done.rounds.push(copied);
            if done.rounds.len() > 1 && changed <= LITTLE {
                break;
            }
        }
        // With etcd the step that compares while the tenant works knows more.
        if self.switch.tenant.driver != Driver::Etcd {
            let pace = Pace {
                copying: last,
                comparing: first.unwrap_or_default(),
            };
            done.expected_freeze = tokio::select! {
                expected = self.expected(cx, pair, pace) => expected?,
                () = cx.stop.wait() => return Ok(Outcome::Stopped),
            };
        }
        Ok(Outcome::Done(serde_json::to_value(done)?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        self.switch.stores.pair().await?.clear_target().await?;
        Ok(Undone::Restored)
    }
}
