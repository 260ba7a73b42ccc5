use std::{sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;

use super::{
    Copied, CopiedVolume,
    forecast::{Pace, forecast},
    round, target, went_through,
};
use crate::{
    engine::{Check, Cx, Failure, Key, Kind, Outcome, Step, UndoPlan, Undone},
    plan::{Size, Span},
    steps::{
        inventory::Volume,
        movers::{Doing, Meter, Movers, Work},
        prepare::PREPARED,
    },
    transfer::{RoundKind, Verification},
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

    /// The numbers of the volumes that can be read while the workload runs.
    fn shared(&self) -> Vec<usize> {
        let volumes = self.movers.volumes.iter().enumerate();
        let shared = volumes.filter(|(_, volume)| !volume.is_exclusive());
        shared.map(|(index, _)| index).collect()
    }

    /// Reads everything on both sides once, where no round told how long that takes.
    async fn measure(
        &self,
        cx: &Cx,
        indices: &[usize],
        volumes: &[CopiedVolume],
        paces: &mut [Pace],
    ) -> Result<()> {
        let claims: Vec<_> = indices
            .iter()
            .map(|index| self.movers.volumes[*index].source.as_str())
            .collect();
        cx.sink.notice(format!(
            "both sides of {} are read once, to say how long writes would have to stop",
            claims.join(", ")
        ));
        let names = self
            .movers
            .volumes
            .iter()
            .map(|volume| volume.source.clone());
        let meter = Meter::new(cx.sink.clone(), self.id(), Doing::Verifying, names);
        let work: Work<Verification> =
            Arc::new(|pair| Box::pin(async move { Ok(pair.verify(&[]).await?.verification) }));
        let expected: Vec<_> = volumes.iter().map(|volume| volume.bytes).collect();
        let read = self.movers.some(indices, cx, &meter, &expected, &work);
        let read = read.await?;
        for (index, read) in indices.iter().zip(read) {
            paces[*index].read(&read);
        }
        Ok(())
    }

    /// Why it can never be said how long writes will stop, and the cure.
    fn unforeseeable(&self) -> Option<(String, &'static str)> {
        let exclusive = |volume: &&Volume| volume.is_exclusive();
        if let Some(volume) = self.movers.volumes.iter().find(exclusive) {
            let object = self
                .movers
                .source
                .object("persistentvolumeclaim", &volume.source);
            return Some((
                format!("{object} is ReadWriteOncePod, so that nothing of it is copied before"),
                "leave max out, or let the claim be ReadWriteOnce",
            ));
        }
        (self.rounds == 0).then(|| {
            let why = "spec.warm.rounds is 0, so that nothing is copied before".to_owned();
            (why, "leave max out, or let spec.warm.rounds be 1 or more")
        })
    }

    /// Refuses a cut-over that would not fit what is allowed, or of which that cannot be said.
    fn fits(&self, forecast: Option<Duration>, volumes: &[CopiedVolume]) -> Result<(), Failure> {
        let Some(max) = self.max_freeze else {
            return Ok(());
        };
        let Some(forecast) = forecast else {
            let (why, cure) = self.unforeseeable().unwrap_or_else(|| {
                let why = "no warm round was measured".to_owned();
                (why, "leave max out")
            });
            let why = format!(
                "spec.freeze.max is {max}, and how long the copy takes cannot be said: {why}; {cure}"
            );
            return Err(Failure::new(Kind::Blocked, why));
        };
        if forecast <= max.0 {
            return Ok(());
        }
        let left: u64 = volumes.iter().map(|volume| volume.left).sum();
        let all: u64 = volumes.iter().map(|volume| volume.bytes).sum();
        let forecast = Span::rounded(forecast);
        let whole = volumes.iter().filter(|volume| volume.goes_whole());
        let whole: u64 = whole.map(|volume| volume.bytes).sum();
        let (what, cure) = if whole > 0 {
            let what = format!(
                "{} have to go through the bucket once more, all of them, and be read on both sides",
                Size(whole)
            );
            let cure = "allow more, or let the movers reach each other: by every other way only what changed has to go again";
            (what, cure)
        } else {
            let what = format!(
                "{} have to be read twice on both sides, and the last warm round still moved {}",
                Size(all),
                Size(left)
            );
            (what, "allow more, or run again when less is written")
        };
        let why = format!(
            "writes would have to stop for about {forecast}, and {max} is allowed (spec.freeze.max): {what}; {cure}"
        );
        Err(Failure::new(Kind::Blocked, why))
    }

    fn enough(volumes: &[CopiedVolume], before: u64) -> bool {
        let left = left(volumes);
        let nearing = volumes.iter().filter(|volume| !volume.goes_whole());
        let all: u64 = nearing.map(|volume| volume.bytes).sum();
        left <= all / LITTLE || left >= before
    }
}

/// What another round may bring nearer.
fn left(volumes: &[CopiedVolume]) -> u64 {
    let nearing = volumes.iter().filter(|volume| !volume.goes_whole());
    nearing.map(|volume| volume.left).sum()
}

#[async_trait]
impl Step for WarmCopy {
    fn id(&self) -> &'static str {
        "warm-copy"
    }

    fn title(&self) -> String {
        match self.movers.only_through() {
            Some(bucket) => {
                format!(
                    "copy all through {bucket} while the source runs, to measure how long it takes"
                )
            }
            None => "copy while the source runs, until little is left".to_owned(),
        }
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
        let mut checks: Vec<_> = exclusive
            .map(|volume| {
                Check::warn(
                    "access mode",
                    self.movers.source.object("persistentvolumeclaim", &volume.source),
                    "is ReadWriteOncePod: a mover gets it only when the workload's pod is gone",
                    "everything is copied while writes are stopped; no forecast of how long can be made",
                )
            })
            .collect();
        if let (Some(max), Some((why, cure))) = (self.max_freeze, self.unforeseeable()) {
            checks.push(Check::block(
                "longest freeze",
                "spec.freeze.max",
                format!("is {max}, and how long the copy takes cannot be said: {why}"),
                cure,
            ));
        }
        Ok(checks)
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        self.movers.rehearse().await
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let meter = self.meter(cx);
        let mut began = self.movers.begun().await?;
        if let Some(checks) = target::look(&self.movers, cx, &meter, &began).await? {
            self.movers.remove().await?;
            return Ok(Outcome::Blocked(checks));
        }
        self.movers.adopt(&found(cx)?).await?;
        let mut volumes: Vec<_> = self.movers.volumes.iter().map(CopiedVolume::new).collect();
        let mut paces = vec![Pace::default(); volumes.len()];
        // The others are copied by the final round, when their pods are gone.
        let mut shared = self.shared();
        let all = shared.clone();
        let mut before = u64::MAX;
        let mut number = 0;
        while number < self.rounds && !shared.is_empty() {
            number += 1;
            target::is_unused(&self.movers).await?;
            let fresh = shared.iter().copied().filter(|index| !began[*index]);
            self.movers.write_to(fresh).await?;
            let work = round(RoundKind::Warm, began.clone());
            let rounds = tokio::select! {
                rounds = self.movers.some(&shared, cx, &meter, &[], &work) => rounds?,
                () = cx.stop.wait() => return Ok(Outcome::Stopped),
            };
            for (index, round) in shared.iter().zip(rounds) {
                began[*index] = true;
                paces[*index].round(&round);
                volumes[*index].add(round, self.movers.ways.of(*index));
            }
            // What goes whole each time comes no nearer.
            shared.retain(|index| !volumes[*index].goes_whole());
            let enough = Self::enough(&volumes, before) || number == self.rounds;
            before = left(&volumes);
            if !enough {
                continue;
            }
            let unknown: Vec<_> = all
                .iter()
                .copied()
                .filter(|index| !paces[*index].is_known())
                .collect();
            if self.max_freeze.is_none() || unknown.is_empty() {
                break;
            }
            tokio::select! {
                measured = self.measure(cx, &unknown, &volumes, &mut paces) => measured?,
                () = cx.stop.wait() => return Ok(Outcome::Stopped),
            }
            // What changed while it was read is the last that is left.
            number = self.rounds - 1;
        }
        let limit = &self.movers.limit;
        let forecast = forecast(self.stopping, &paces, limit.of_each(paces.len()));
        self.fits(forecast, &volumes)?;
        let copied = Copied {
            volumes,
            expected_freeze: forecast.map(|forecast| forecast.as_secs_f64()),
            limit: limit.whole(),
        };
        Ok(Outcome::Done(serde_json::to_value(copied)?))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        // Claims that we made are deleted whole by the step that made them; what was there before us is
        // emptied again, if we wrote to it.
        let adopted = self.movers.adopted(&found(cx)?).await?;
        if !adopted.is_empty() {
            target::empty(&self.movers, cx, &self.meter(cx), &adopted).await?;
            self.movers.forget(&adopted).await?;
        }
        self.movers.remove().await?;
        // Last: the source is awake, and nobody sends any more.
        self.movers.sweep(went_through(cx)?, &cx.sink).await?;
        Ok(Undone::Restored)
    }
}

/// The target claims that were there before us.
fn found(cx: &Cx) -> Result<Vec<String>> {
    let prepared = cx.find(&PREPARED)?;
    Ok(prepared.map_or_else(Vec::new, |prepared| prepared.found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::movers::Way;

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
        let mut whole = volume(1000, 1000);
        whole.way = Some(Way::Bucket {
            because: Vec::new(),
        });
        assert!(WarmCopy::enough(&[whole.clone()], u64::MAX));
        assert!(!WarmCopy::enough(&[whole, volume(1000, 400)], 500));
    }
}
