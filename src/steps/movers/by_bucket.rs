//! The third way: the source's mover makes an archive in a bucket, and the target's makes its volume what that holds.
//!
//! Nothing but whole archives goes this way, so that a round while the workload runs is a rehearsal: it shows that all of
//! the way works, and how long it takes, before writes stop. An upload that was cut off goes on with the parts that the
//! bucket has, if what is on the volume still makes the same ones; and a file that the target has already is not written
//! again. Both sides are compared by an index that is made for it, of what the source reads from its disk by then, not by
//! the one that was copied from.
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::oneshot;

use super::{
    Compared, Movers, Rounded, Through,
    link::Linked,
    retry::{Loss, is_damage},
    through::stored,
    watch::follow,
};
use crate::{
    adapters::{kube::PortStream, s3::S3Error},
    steps::inventory::Mode,
    transfer::{
        Control, ControlError, Excuse, Fault, Finding, Progress, Reach, RoundKind, RoundSummary,
        Side, TreeSummary, Verification,
        archive::{Access, Archive, Objects, StoreError, StoreFailure},
    },
};

impl Movers {
    /// Lets both movers see that they reach the bucket.
    pub(super) async fn by_bucket(&self, pair: &mut Linked) -> Result<Reach, Loss> {
        let declined = |reason: String| Ok(Reach::Declined { reason });
        let Some(through) = &self.through else {
            return declined("no bucket is named".to_owned());
        };
        if self.volumes[pair.index].mode == Mode::Block {
            return declined(
                "through the bucket go archives of file systems, and it is a device".to_owned(),
            );
        }
        let probed =
            async { Ok::<_, anyhow::Error>((through.probe().await?, through.access().await?)) };
        let ((key, size), access) = match probed.await {
            Ok(probed) => probed,
            Err(error) => {
                return declined(format!("this client cannot use the bucket: {error:#}"));
            }
        };
        let run = pair.target.run.clone();
        for side in [Side::Source, Side::Target] {
            let control = match side {
                Side::Source => &mut pair.source,
                Side::Target => &mut pair.target.control,
            };
            if let Reach::Declined { reason } = control.probe(&run, &access, &key, size).await? {
                return declined(format!("the {side} mover cannot use the bucket: {reason}"));
            }
        }
        pair.through = Some(through.clone());
        Ok(Reach::Reached { connections: 0 })
    }
}

impl Linked {
    /// Copies all of it.
    pub(super) async fn round_through(
        &mut self,
        through: &Through,
        kind: RoundKind,
    ) -> Result<Rounded, ControlError> {
        let begun = Instant::now();
        let what = match kind {
            RoundKind::Warm => "warm",
            RoundKind::Final => "final",
        };
        let objects = through.objects(&self.claim, what);
        // Those that go by other ways have the less as long as it is kept.
        let _share = self.limit.join();
        // It cannot be told another one while it makes an archive: each has what it has when all do. Also where there is
        // none: the mover may still have one from an earlier run.
        let limit = self.limit.of_each(self.volumes);
        self.source.limit(limit).await?;
        let lender = through.lender().await.map_err(|error| failed(&error))?;
        self.source.lend(lender.clone());
        self.target.control.lend(lender);
        let passed = match self.pass(through, kind, &objects).await {
            Err(error) if is_damage(&error) => {
                // Asked for again, the bucket would give the same. It is made anew, once: what is damaged twice is told,
                // and is not there for the next run either.
                through.remove(&objects).await.ok();
                self.target
                    .meter
                    .sink()
                    .notice(format!("claim {}: {error}; it is sent again", self.claim));
                let again = self.pass(through, kind, &objects).await;
                if again.as_ref().is_err_and(is_damage) {
                    through.remove(&objects).await.ok();
                }
                again?
            }
            passed => passed?,
        };
        let (archive, mut findings) = passed;
        findings.extend(Finding::of_sockets(archive.sockets));
        if kind == RoundKind::Warm {
            // It is of no use any more. What stays is found with the rest.
            through.remove(&objects).await.ok();
        }
        let bytes = archive.tree.bytes;
        let summary = RoundSummary {
            kind,
            entries: archive.tree.entries,
            bytes,
            files_same: 0,
            files_moved: archive.tree.files,
            bytes_moved: bytes,
            bytes_sent: archive.size + archive.index_size,
            others_made: 0,
            metadata_fixed: 0,
            deleted: 0,
            changed: archive.changed,
            changed_examples: archive.changed_examples,
            findings,
            milliseconds: milliseconds(begun.elapsed()),
        };
        Ok(Rounded {
            summary,
            least: limit,
            limited: None,
            whole: true,
        })
    }

    /// Makes the archive, and the target what that holds; what it holds, and what the target cannot keep.
    async fn pass(
        &mut self,
        through: &Through,
        kind: RoundKind,
        objects: &Objects,
    ) -> Result<(Archive, Vec<Finding>), ControlError> {
        let (index, run) = (self.index, self.target.run.clone());
        let anew = kind == RoundKind::Warm;
        through
            .remove_stale(objects, anew)
            .await
            .map_err(|error| failed(&error))?;
        let access = now(through).await?;
        let meter = self.target.meter.clone();
        let mut sent = |mut progress: Progress| {
            // Half of the way.
            progress.bytes_to_move *= 2;
            meter.moved_by(Side::Source, index, &progress, 0);
        };
        let frozen = kind == RoundKind::Final;
        let source = &mut self.source;
        let archiving = source.archive(&run, &access, objects, &run, frozen, &mut sent);
        let archive = beside(&mut self.target.control, archiving).await?;
        let bytes = archive.tree.bytes;
        let mut written = |mut progress: Progress| {
            progress.bytes_moved += bytes;
            progress.bytes_to_move += bytes;
            meter.moved_by(Side::Target, index, &progress, 0);
        };
        let access = now(through).await?;
        let target = &mut self.target.control;
        let filling = target.extract(&run, &access, objects, &archive, &mut written);
        let findings = beside(&mut self.source, filling).await?;
        Ok((archive, findings))
    }

    /// Reads both sides back and compares them: the source's mover says what it has, and the target's compares that with
    /// what it has itself.
    pub(super) async fn verify_through(
        &mut self,
        through: &Through,
        excused: &[Excuse],
    ) -> Result<Compared, ControlError> {
        let begun = Instant::now();
        let objects = through.objects(&self.claim, "verify");
        // One of an earlier try tells what was there then.
        through
            .remove(&objects)
            .await
            .map_err(|error| failed(&error))?;
        let (index, run) = (self.index, self.target.run.clone());
        let (meter, expected) = (self.target.meter.clone(), self.target.expected);
        let lender = through.lender().await.map_err(|error| failed(&error))?;
        self.source.lend(lender.clone());
        self.target.control.lend(lender);
        let access = now(through).await?;
        let mut read = |progress: Progress| {
            meter.moved_by(Side::Source, index, &progress, 2 * expected);
        };
        let source = &mut self.source;
        let listing = source.index(&run, &access, &objects, &run, &mut read);
        let listed = beside(&mut self.target.control, listing).await?;
        let mut compared = |mut progress: Progress| {
            progress.bytes_checked += expected;
            meter.moved_by(Side::Target, index, &progress, 2 * expected);
        };
        let access = now(through).await?;
        let target = &mut self.target.control;
        let comparing = target.compare(&run, &access, &objects, &listed, excused, &mut compared);
        let mut verification = beside(&mut self.source, comparing).await?;
        through.remove(&objects).await.ok();
        agree(&verification, &listed.tree, &objects.index)?;
        verification.milliseconds = milliseconds(begun.elapsed());
        Ok(Compared {
            verification,
            limited: None,
            images: self.images.clone(),
        })
    }
}

/// Waits for one mover's work, and asks the other one meanwhile what it is at: a connection on which nothing passes for
/// as long as a volume takes is cut by whatever is on the way.
async fn beside<T>(
    other: &mut Control<PortStream>,
    work: impl Future<Output = Result<T, ControlError>>,
) -> Result<T, ControlError> {
    let (end, ended) = oneshot::channel::<()>();
    let working = async {
        let done = work.await;
        drop(end);
        Ok::<_, ControlError>(done)
    };
    // Also when the work failed, to the end of what was asked: an answer left over would be taken for that to the next.
    let (done, _) = tokio::try_join!(working, follow(other, None, ended, |_| {}))?;
    done
}

/// What each of the two movers said of itself has to fit what they were compared to be.
fn agree(
    verification: &Verification,
    source: &TreeSummary,
    index: &str,
) -> Result<(), ControlError> {
    let same = verification.target.digest == source.digest;
    let explained = !verification.is_equal() || !verification.findings.is_empty();
    if verification.source == *source && (same || explained) {
        return Ok(());
    }
    let (found, wanted) = (verification.target.digest, source.digest);
    Err(ControlError::Fault(Fault::Damaged {
        object: index.to_owned(),
        what: format!(
            "the target's mover found no difference, and its tree has the digest {found}, the source's {wanted}"
        ),
    }))
}

/// What a mover is told, with the credentials of now.
async fn now(through: &Through) -> Result<Access, ControlError> {
    through.access().await.map_err(|error| failed(&error))
}

/// A failure of the bucket that this client has seen, as if a mover had.
fn failed(error: &anyhow::Error) -> ControlError {
    let error = match error.downcast_ref::<S3Error>() {
        Some(error) => stored(error),
        None => StoreError {
            why: format!("{error:#}"),
            failure: StoreFailure::Refused,
            next: None,
        },
    };
    ControlError::Fault(error.into())
}

fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_movers_say_of_themselves_has_to_fit_what_they_were_compared_to_be() {
        let tree = |digest: &str| json!({"digest": digest.repeat(32), "entries": 1, "files": 1, "bytes": 1, "directories": 1, "links": 0});
        let owner = json!([{"what": "owner", "why": "chown", "count": 1, "examples": []}]);
        let said = |source: &str, told: &str, target: &str, differences: u64, findings| {
            let verification = serde_json::from_value(json!({
                "source": tree(told), "target": tree(target), "difference_count": differences,
                "differences": [], "findings": findings, "milliseconds": 1,
            }));
            let source = serde_json::from_value(tree(source)).expect("a tree");
            agree(&verification.expect("a verification"), &source, "index").is_ok()
        };
        assert!(said("aa", "aa", "aa", 0, json!([])));
        assert!(said("aa", "aa", "bb", 1, json!([])), "a difference is told");
        assert!(said("aa", "aa", "bb", 0, owner), "a finding explains it");
        assert!(!said("aa", "aa", "bb", 0, json!([])), "it was overlooked");
        assert!(
            !said("aa", "bb", "bb", 0, json!([])),
            "it was another source"
        );
    }

    #[test]
    fn a_bucket_that_fails_this_client_is_asked_again_and_a_missing_place_is_not() {
        let kind = |error: anyhow::Error| match failed(&error) {
            ControlError::Fault(Fault::Store(error)) => error.failure,
            other => panic!("{other}"),
        };
        assert_eq!(kind(anyhow::anyhow!("no place")), StoreFailure::Refused);
        let damaged = S3Error::Damaged {
            object: Box::new("s3://backups/a".parse().expect("an address")),
            what: "short".to_owned(),
        };
        assert_eq!(kind(damaged.into()), StoreFailure::Damaged);
    }
}
