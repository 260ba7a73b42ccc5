//! Both shells of a volume: a round between them, and the comparison of both sides.
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::{sync::mpsc::channel, task::spawn_blocking};

use super::{
    Shell,
    fill::Target,
    told::{Pace, Told, next, refused},
};
use crate::{
    engine::{Failure, Kind},
    steps::movers::{Compared, Limit, Meter, Rounded, retry::Loss},
    transfer::{
        Excuse, Fault, Finding, Inspection, Ownership, Progress, RoundKind, RoundSummary, Side,
        archive::{self, Dialect, Origin, Read, Tree},
    },
};

/// So much of what is made is on its way to the target, in pieces of a MiB.
const MADE: usize = 8;

/// Both shells of a volume.
#[derive(Debug)]
pub(in super::super) struct Shells {
    /// Which volume.
    pub(in super::super) index: usize,
    pub(super) run: String,
    pub(super) source: Shell,
    pub(super) target: Target,
    /// What the target's tar knows.
    pub(super) dialect: Dialect,
    /// Which of all clients before and after this one is.
    pub(super) fence: u64,
    pub(super) meter: Meter,
    pub(super) limit: Limit,
    /// Bytes that the source's files take.
    pub(super) used: u64,
    /// How many bytes are to be read back.
    pub(super) expected: u64,
}

impl Shells {
    /// What a side's volume holds.
    pub(in super::super) async fn inspect(&self, side: Side) -> Result<Inspection, Loss> {
        match side {
            Side::Target => self.target.inspect().await,
            Side::Source => Ok(Inspection {
                ownership: Ownership::Foreign,
                entries: 0,
                bytes: self.used,
                examples: Vec::new(),
            }),
        }
    }

    /// Empties the target and fills it with all that the source has.
    pub(in super::super) async fn round(&self, kind: RoundKind) -> Result<Rounded, Loss> {
        let begun = Instant::now();
        let mut share = self.limit.join();
        let session = format!("session.{}.{:08x}", self.fence, fastrand::u32(..));
        self.target.begin(&session).await?;
        let (tree, told, sent) = self.pass(&session, Pace::Shared(&mut share)).await?;
        let mut findings = self.target.close(&session).await?;
        if self.dialect == Dialect::Plain {
            if let Some(what) = tree.untold() {
                let why = format!(
                    "{}: {what} is more than its `tar` can tell, so that it could not be compared: name an image with GNU tar with --mover-image",
                    self.target.shell.object
                );
                return Err(Loss::Never(Failure::new(Kind::Blocked, why).into()));
            }
            let session = format!("{session}.again");
            self.target.again(&session).await?;
            let (made, making) = channel(1);
            let directories = tree.directories();
            // It is the only one, and there is room for it.
            made.try_send(directories).ok();
            drop(made);
            self.target.pour(&session, making, |_| {}).await?;
            findings.extend(self.target.close(&session).await?);
        }
        let files = tree.summary();
        if kind == RoundKind::Final && told.changed {
            let why = format!(
                "{}: files were written to while they were read, and nobody should write there now",
                self.source.object
            );
            return Err(Loss::Never(Failure::new(Kind::Error, why).into()));
        }
        findings.extend(tree.lost(told.dialect, self.dialect));
        findings.extend(Finding::of_sockets(told.sockets));
        let summary = RoundSummary {
            kind,
            entries: files.entries,
            bytes: files.bytes,
            files_same: 0,
            files_moved: files.files,
            bytes_moved: files.bytes,
            bytes_sent: sent,
            others_made: files.entries - files.files,
            metadata_fixed: 0,
            deleted: 0,
            changed: u64::from(told.changed),
            changed_examples: Vec::new(),
            findings,
            milliseconds: milliseconds(begun.elapsed()),
        };
        Ok(Rounded {
            summary,
            least: share.least(),
            limited: None,
            whole: true,
        })
    }

    /// Everything goes once from the source's tar to the target's; how many bytes were poured.
    async fn pass(&self, session: &str, pace: Pace<'_>) -> Result<(Tree, Told, u64), Loss> {
        let (stream, streamed) = channel(MADE);
        let (made, making) = channel(MADE);
        let (object, run, dialect) = (self.source.object.clone(), self.run.clone(), self.dialect);
        let mut hear = self.hears(Side::Source, |read, expected, figures| {
            figures.bytes_moved = read.bytes;
            figures.bytes_to_move = read.bytes.max(expected);
        });
        let remaking = spawn_blocking(move || {
            let origin = Origin {
                object: &object,
                side: Side::Source,
                run: &run,
            };
            let mut emit = |piece: Vec<u8>| made.blocking_send(piece).map_err(|_| Fault::Stopped);
            archive::remake(origin, dialect, &mut next(streamed), &mut hear, &mut emit)
        });
        let telling = self.source.tell("read", stream, pace);
        let pouring = self.target.pour(session, making, |_| {});
        // Who fails first stops the other, which may say nothing for long.
        let (told, poured) = tokio::try_join!(telling, pouring)?;
        let tree = remaking.await;
        let tree = tree.map_err(|error| Loss::Never(error.into()))?;
        let tree = tree.map_err(refused)?;
        let told = told.ok_or_else(|| self.source.unread())?;
        Ok((tree, told, poured))
    }

    /// Reads both sides back, after all was synced, and compares them.
    pub(in super::super) async fn verify(&self, excused: &[Excuse]) -> Result<Compared, Loss> {
        let begun = Instant::now();
        let hear = |side| self.hears(side, |read, _, figures| figures.bytes_checked = read.bytes);
        let source = self
            .source
            .read(Side::Source, &self.run, hear(Side::Source));
        let target = &self.target.shell;
        let target = target.read(Side::Target, &self.run, hear(Side::Target));
        let ((source, told), (target, held)) = tokio::try_join!(source, target)?;
        for (changed, object) in [
            (told.changed, &self.source.object),
            (held.changed, &self.target.shell.object),
        ] {
            if changed {
                return Err(Loss::Passing(anyhow!(
                    "{object}: files were written to while they were read"
                )));
            }
        }
        let excused = excused.to_vec();
        let dialects = [told.dialect, held.dialect];
        let comparing =
            spawn_blocking(move || archive::compare(&source, &target, dialects, &excused));
        let mut verification = comparing.await.map_err(|error| Loss::Never(error.into()))?;
        verification.milliseconds = milliseconds(begun.elapsed());
        Ok(Compared {
            verification,
            limited: None,
            images: [&self.source, &self.target.shell].map(|shell| shell.image.clone()),
        })
    }

    /// What hears how far a side was read, and tells it.
    fn hears(
        &self,
        side: Side,
        figure: fn(Read, u64, &mut Progress),
    ) -> impl FnMut(Read) + Send + use<> {
        let (index, meter) = (self.index, self.meter.clone());
        let (used, expected) = (self.used, self.expected);
        move |read| {
            let mut figures = Progress::default();
            figure(read, used, &mut figures);
            // Of two sides that are read at once the target's is shown.
            if side == Side::Target || figures.bytes_to_move > 0 {
                meter.moved_by(side, index, &figures, expected);
            }
        }
    }
}

fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
