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
        inventory::{Mode, Volume},
        movers::{Doing, Meter, Movers, Work},
        prepare::PREPARED,
    },
    transfer::{Reading, RoundKind, Verification},
};

/// Copies while the workload runs, until little is left.
#[derive(Clone, Debug)]
pub struct WarmCopy {
    /// The movers.
    pub movers: Movers,
    /// At most so many rounds.
    pub rounds: u32,
    /// Whether both sides are compared after them, while the workload runs.
    pub verify: bool,
    /// How long writes may stop.
    pub max_freeze: Option<Span>,
    /// How long stopping the workload takes by itself, as its pods' grace says.
    pub stopping: Duration,
}

/// What the rounds did, by volume.
struct Rounds {
    /// Whether the target may have been written to.
    began: Vec<bool>,
    volumes: Vec<CopiedVolume>,
    paces: Vec<Pace>,
}

impl Rounds {
    fn new(volumes: &[Volume], began: Vec<bool>) -> Self {
        Self {
            began,
            volumes: volumes.iter().map(CopiedVolume::new).collect(),
            paces: vec![Pace::default(); volumes.len()],
        }
    }
}

const CLAIM: &str = "persistentvolumeclaim";

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
        let shared = volumes.filter(|(_, volume)| !self.movers.waits_for(volume));
        shared.map(|(index, _)| index).collect()
    }

    fn claims(&self, indices: &[usize]) -> String {
        let volumes = indices.iter().map(|index| &self.movers.volumes[*index]);
        let claims: Vec<_> = volumes.map(|volume| volume.source.as_str()).collect();
        claims.join(", ")
    }

    /// One round on these volumes.
    async fn round(
        &self,
        cx: &Cx,
        meter: &Meter,
        indices: &[usize],
        rounds: &mut Rounds,
    ) -> Result<()> {
        target::is_unused(&self.movers).await?;
        let fresh = indices.iter().copied();
        let fresh = fresh.filter(|index| !rounds.began[*index]);
        self.movers.write_to(fresh).await?;
        let work = round(RoundKind::Warm, rounds.began.clone());
        let done = self.movers.some(indices, cx, meter, &[], &work).await?;
        for (index, round) in indices.iter().zip(done) {
            rounds.began[*index] = true;
            rounds.paces[*index].round(&round);
            rounds.volumes[*index].add(round, self.movers.ways.of(*index));
        }
        Ok(())
    }

    /// Reads both sides of these volumes, and compares them.
    async fn read(
        &self,
        cx: &Cx,
        indices: &[usize],
        rounds: &mut Rounds,
        reading: Reading,
    ) -> Result<Vec<Verification>> {
        let names = self
            .movers
            .volumes
            .iter()
            .map(|volume| volume.source.clone());
        let meter = Meter::new(cx.sink.clone(), self.id(), Doing::Verifying, names);
        let work: Work<Verification> = Arc::new(move |pair| {
            Box::pin(async move { Ok(pair.verify(&[], reading).await?.verification) })
        });
        let expected: Vec<_> = rounds.volumes.iter().map(|volume| volume.bytes).collect();
        let read = self.movers.some(indices, cx, &meter, &expected, &work);
        let read = read.await?;
        for (index, read) in indices.iter().zip(&read) {
            rounds.paces[*index].read(read);
        }
        Ok(read)
    }

    /// Reads everything on both sides once, where no round told how long that takes.
    async fn measure(&self, cx: &Cx, indices: &[usize], rounds: &mut Rounds) -> Result<()> {
        cx.sink.notice(format!(
            "both sides of {} are read once, to say how long writes would have to stop",
            self.claims(indices)
        ));
        self.read(cx, indices, rounds, Reading::Afresh).await?;
        Ok(())
    }

    /// Whether something of a volume can be remembered: of a device nothing is, and what goes through a bucket is read as a
    /// whole each time.
    fn is_compared(&self, rounds: &Rounds, index: usize) -> bool {
        self.movers.volumes[index].mode == Mode::Filesystem && !rounds.volumes[index].goes_whole()
    }

    /// Compares both sides while the workload runs, and once more what changed meanwhile: that takes as long as it
    /// will when writes are stopped. What differs is nothing to be told yet, as the source is written to.
    async fn verify(
        &self,
        cx: &Cx,
        meter: &Meter,
        indices: &[usize],
        rounds: &mut Rounds,
    ) -> Result<()> {
        let volumes = &self.movers.volumes;
        let trees = indices.iter().copied();
        let trees = trees.filter(|index| self.is_compared(rounds, *index));
        let trees: Vec<_> = trees.collect();
        if trees.is_empty() {
            return Ok(());
        }
        cx.sink.notice(format!(
            "both sides of {} are compared while the workload runs: what does not change from then on is not read again while writes are stopped",
            self.claims(&trees)
        ));
        self.read(cx, &trees, rounds, Reading::Remember).await?;
        self.round(cx, meter, indices, rounds).await?;
        let read = self.read(cx, &trees, rounds, Reading::Remember).await?;
        for (index, read) in trees.iter().zip(&read) {
            let (volume, movers) = (&volumes[*index], &self.movers);
            let sides = [
                (
                    movers.source.object(CLAIM, &volume.source),
                    read.source_recalled,
                ),
                (
                    movers.target.object(CLAIM, &volume.target),
                    read.target_recalled,
                ),
            ];
            for (object, _) in sides.iter().filter(|(_, recalled)| !recalled.possible) {
                cx.sink.notice(format!(
                    "{object} will be read as a whole while writes are stopped: its file system is none that is known to tell of every change (ext4, XFS, Btrfs)"
                ));
            }
        }
        Ok(())
    }

    /// Why it can never be said how long writes will stop, and the cure.
    fn unforeseeable(&self) -> Option<(String, &'static str)> {
        let exclusive = |volume: &&Volume| self.movers.waits_for(volume);
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
            let (way, cure) = if self.movers.goes_by_exec() {
                let cure =
                    "allow more, or let movers run: by them only what changed has to go again";
                ("by exec", cure)
            } else {
                let cure = "allow more, or let the movers reach each other: by every other way only what changed has to go again";
                ("through the bucket", cure)
            };
            let what = format!(
                "{} have to go {way} once more, all of them, and be read on both sides",
                Size(whole)
            );
            (what, cure)
        } else {
            let (read, cure) = if self.verify {
                let read = format!("of {} what changed since it was compared has", Size(all));
                (read, "allow more, or run again when less is written")
            } else {
                let cure = "allow more, or let spec.verify be `warm`, which reads most of it before, or run again when less is written";
                (format!("{} have", Size(all)), cure)
            };
            let what = format!(
                "{read} to be read twice on both sides, and the last warm round still moved {}",
                Size(left)
            );
            (what, cure)
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
        if let Some(way) = self.movers.only_whole() {
            return format!("copy all {way} while the source runs, to measure how long it takes");
        }
        let compare = if self.verify { " and compare" } else { "" };
        format!("copy{compare} while the source runs, until little is left")
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete the copy".to_owned())
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        let exclusive = self
            .movers
            .volumes
            .iter()
            .filter(|volume| self.movers.waits_for(volume));
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
        let began = self.movers.begun().await?;
        if let Some(checks) = target::look(&self.movers, cx, &meter, &began).await? {
            self.movers.remove().await?;
            return Ok(Outcome::Blocked(checks));
        }
        self.movers.adopt(&found(cx)?).await?;
        let mut rounds = Rounds::new(&self.movers.volumes, began);
        // The others are copied by the final round, when their pods are gone.
        let mut shared = self.shared();
        let all = shared.clone();
        let mut before = u64::MAX;
        let mut number = 0;
        while number < self.rounds && !shared.is_empty() {
            number += 1;
            tokio::select! {
                done = self.round(cx, &meter, &shared, &mut rounds) => done?,
                () = cx.stop.wait() => return Ok(Outcome::Stopped),
            }
            // What goes whole each time comes no nearer.
            shared.retain(|index| !rounds.volumes[*index].goes_whole());
            let enough = Self::enough(&rounds.volumes, before) || number == self.rounds;
            before = left(&rounds.volumes);
            if !enough {
                continue;
            }
            // What is compared in any case tells it by that.
            let told = |index: usize| self.verify && self.is_compared(&rounds, index);
            let unknown = all.iter().copied();
            let unknown = unknown.filter(|index| !rounds.paces[*index].is_known() && !told(*index));
            let unknown: Vec<_> = unknown.collect();
            if self.max_freeze.is_none() || unknown.is_empty() {
                break;
            }
            tokio::select! {
                measured = self.measure(cx, &unknown, &mut rounds) => measured?,
                () = cx.stop.wait() => return Ok(Outcome::Stopped),
            }
            // What changed while it was read is the last that is left.
            number = self.rounds - 1;
        }
        if self.verify && !shared.is_empty() {
            tokio::select! {
                verified = self.verify(cx, &meter, &shared, &mut rounds) => verified?,
                () = cx.stop.wait() => return Ok(Outcome::Stopped),
            }
        }
        let (paces, limit) = (&rounds.paces, &self.movers.limit);
        let forecast = forecast(self.stopping, paces, limit.of_each(paces.len()));
        self.fits(forecast, &rounds.volumes)?;
        let copied = Copied {
            volumes: rounds.volumes,
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
        self.movers.sweep(went_through(cx)?, &cx.sink).await;
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
