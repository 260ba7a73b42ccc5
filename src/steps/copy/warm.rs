use std::{sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;

use super::{Copied, CopiedVolume, inspect_both, round};
use crate::{
    engine::{Check, Cx, Failure, Key, Kind, Outcome, Probe, Step, UndoPlan, Undone},
    plan::Span,
    steps::{
        inventory::Volume,
        movers::{Doing, Meter, Movers, Work},
        prepare::PREPARED,
        target_capacity,
    },
    transfer::{Ownership, RoundKind},
};

/// Copies while the workload runs, until little is left.
#[derive(Clone, Debug)]
pub struct WarmCopy {
    /// The movers.
    pub movers: Movers,
    /// At most so many rounds.
    pub rounds: u32,
    /// How long writes may stop.
    pub max_freeze: Option<Span>,
    /// How long stopping the workload takes by itself, as its pods' grace says.
    pub stopping: Duration,
}

/// What warm copying leaves in the journal.
pub const WARM: Key<Copied> = Key::new("warm-copy");

/// A round that moves less than this part of the whole is the last: what changes meanwhile is about as
/// much again.
const LITTLE: u64 = 100;

impl WarmCopy {
    fn meter(&self, cx: &Cx) -> Meter {
        let names = self
            .movers
            .volumes
            .iter()
            .map(|volume| volume.source.clone());
        Meter::new(cx.sink.clone(), self.id(), Doing::Copying, names)
    }

    /// Refuses a target that holds something else, or that is too small for what the source holds now.
    async fn look(&self, cx: &Cx, meter: &Meter) -> Result<Option<Vec<Check>>> {
        let both = self.movers.each(cx, meter, &[], &inspect_both()).await?;
        let mut checks = Vec::new();
        for (volume, (source, target)) in self.movers.volumes.iter().zip(both) {
            let object = self
                .movers
                .target
                .object("persistentvolumeclaim", &volume.target);
            if matches!(
                target.ownership,
                Ownership::Foreign | Ownership::OtherRun(_)
            ) {
                let examples: Vec<_> = target.examples.iter().map(ToString::to_string).collect();
                checks.push(Check::block(
                    "target is empty",
                    &object,
                    format!(
                        "it holds {} entries, such as {}",
                        target.entries,
                        examples.join(", ")
                    ),
                    "empty it, or let the plan name another target",
                ));
            }
            let capacity = target_capacity(volume);
            if source.bytes > capacity {
                checks.push(Check::block(
                    "data fits",
                    &object,
                    format!(
                        "it has {capacity} bytes, and the source holds {}",
                        source.bytes
                    ),
                    "give the target a larger size",
                ));
            }
        }
        Ok((!checks.is_empty()).then_some(checks))
    }

    /// How long writes would have to stop now: stopping, moving what is left, and reading everything
    /// twice, for the final round and for the verification.
    fn forecast(&self, volumes: &[CopiedVolume]) -> Option<Duration> {
        let slowest = volumes
            .iter()
            .map(|volume| {
                if volume.bytes_sent == 0 || volume.seconds <= 0.0 {
                    return 0.0;
                }
                let rate = volume.bytes_sent as f64 / volume.seconds;
                (volume.left as f64 + 2.0 * volume.bytes as f64) / rate
            })
            .fold(0.0, f64::max);
        Duration::try_from_secs_f64(slowest)
            .ok()
            .map(|copying| self.stopping + copying)
    }

    fn enough(volumes: &[CopiedVolume], before: u64) -> bool {
        let left: u64 = volumes.iter().map(|volume| volume.left).sum();
        let all: u64 = volumes.iter().map(|volume| volume.bytes).sum();
        left <= all / LITTLE || left >= before
    }
}

#[async_trait]
impl Step for WarmCopy {
    fn id(&self) -> &'static str {
        "warm-copy"
    }

    fn title(&self) -> String {
        "copy while the source runs, until little is left".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete the copy".to_owned())
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        let exclusive = self
            .movers
            .volumes
            .iter()
            .filter(|volume| volume.is_exclusive());
        Ok(exclusive
            .map(|volume| {
                Check::warn(
                    "access mode",
                    self.movers.source.object("persistentvolumeclaim", &volume.source),
                    "is ReadWriteOncePod: a mover gets it only when the workload's pod is gone",
                    "everything is copied while writes are stopped; no forecast of how long can be made",
                )
            })
            .collect())
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        self.movers.rehearse().await
    }

    async fn probe(&self, _: &Cx) -> Result<Probe> {
        Ok(Probe::Ready)
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let meter = self.meter(cx);
        if self.movers.volumes.iter().any(Volume::is_exclusive) {
            // The final copy does it all; it refuses a target that holds something else by itself.
            let volumes = self.movers.volumes.iter().map(CopiedVolume::new).collect();
            let copied = Copied {
                volumes,
                expected_freeze: None,
            };
            return Ok(Outcome::Done(serde_json::to_value(copied)?));
        }
        if let Some(checks) = self.look(cx, &meter).await? {
            self.movers.remove().await?;
            return Ok(Outcome::Blocked(checks));
        }
        let found = cx
            .find(&PREPARED)?
            .map_or_else(Vec::new, |prepared| prepared.found);
        self.movers.adopt(&found).await?;
        let mut volumes: Vec<_> = self.movers.volumes.iter().map(CopiedVolume::new).collect();
        let mut before = u64::MAX;
        for number in 0..self.rounds {
            let work = round(RoundKind::Warm, cx.again || number > 0);
            let rounds = tokio::select! {
                rounds = self.movers.each(cx, &meter, &[], &work) => rounds?,
                () = cx.stop.wait() => return Ok(Outcome::Stopped),
            };
            for (volume, round) in volumes.iter_mut().zip(rounds) {
                volume.add(round);
            }
            if Self::enough(&volumes, before) {
                break;
            }
            before = volumes.iter().map(|volume| volume.left).sum();
        }
        let forecast = self.forecast(&volumes);
        if let (Some(max), Some(forecast)) = (self.max_freeze, forecast)
            && forecast > max.0
        {
            let left: u64 = volumes.iter().map(|volume| volume.left).sum();
            let why = format!(
                "writes would have to stop for about {} s, and {max} is allowed (spec.freeze.max): the last warm round still had {left} bytes to move",
                forecast.as_secs()
            );
            return Err(Failure::new(Kind::Blocked, why).into());
        }
        let copied = Copied {
            volumes,
            expected_freeze: forecast.map(|forecast| forecast.as_secs_f64()),
        };
        Ok(Outcome::Done(serde_json::to_value(copied)?))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        // Claims that we made are deleted whole by the step that made them; what was there before us is
        // emptied again, if we wrote to it.
        let found = cx
            .find(&PREPARED)?
            .map_or_else(Vec::new, |prepared| prepared.found);
        let adopted = self.movers.adopted(&found).await?;
        if !adopted.is_empty() {
            let meter = self.meter(cx);
            let work: Work<u64> = Arc::new(|pair| Box::pin(async move { pair.wipe().await }));
            self.movers.some(&adopted, cx, &meter, &[], &work).await?;
            self.movers.release(&adopted).await?;
        }
        self.movers.remove().await?;
        Ok(Undone::Restored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(bytes: u64, left: u64) -> CopiedVolume {
        serde_json::from_value(serde_json::json!({
            "source": "a", "target": "b", "rounds": 1, "files": 1, "bytes": bytes, "files_sent": 1,
            "bytes_sent": bytes, "seconds": 1.0, "left": left, "findings": [],
        }))
        .expect("a volume")
    }

    #[test]
    fn rounds_end_when_little_is_left_or_it_no_longer_shrinks() {
        assert!(WarmCopy::enough(&[volume(1000, 10)], u64::MAX));
        assert!(!WarmCopy::enough(&[volume(1000, 11)], u64::MAX));
        assert!(WarmCopy::enough(&[volume(1000, 500)], 500));
        assert!(!WarmCopy::enough(&[volume(1000, 400)], 500));
    }
}
