//! Verification: both sides are read back and compared, by movers that know nothing of the copying.
use std::{sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{
    copy::{CopiedVolume, FINAL, WARM, broken, still_frozen},
    freeze::Watched,
    inventory::Volume,
    movers::{Compared, Doing, Meter, Movers, Work},
    verified_claims,
};
use crate::{
    engine::{Cx, Failure, Holds, Key, Kind, Limited, Outcome, Step, UndoPlan, Undone},
    transfer::{Difference, DifferenceKind, Excuse, Finding, Reading, Recalled, Verification},
};

/// Compares source and target by content.
#[derive(Clone, Debug)]
pub struct Verify {
    /// The movers.
    pub movers: Movers,
    /// What tells when the freeze is broken; none where nothing is frozen.
    pub guard: Option<Watched>,
    /// Both sides were compared before: what did not change since is not read again.
    pub warm: bool,
}

/// What verification leaves in the journal: the receipt.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// Both sides of each volume.
    pub volumes: Vec<VerifiedVolume>,
    /// The program that read them, with its version; empty where an older one did not write it down.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool: String,
    /// The movers' image, by its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
}

/// Both sides of one volume, as they were read back.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct VerifiedVolume {
    /// The source's claim.
    pub source: String,
    /// The target's claim.
    pub target: String,
    /// Its uid: another claim of the same name was never verified.
    #[serde(default)]
    pub target_uid: String,
    /// Entries.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Directories, the root included; none where an older version did not write it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directories: Option<u64>,
    /// Symlinks, and further names of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<u64>,
    /// Digest of the source's tree.
    pub source_digest: String,
    /// Digest of the target's tree.
    pub target_digest: String,
    /// What of it was compared while the workload ran, and has not changed since on either side, as its file system tells;
    /// none where all of it was read while writes were stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_before: Option<ComparedBefore>,
    /// How many differences there are.
    pub differences: u64,
    /// What the target cannot keep, and is therefore different in.
    pub findings: Vec<Finding>,
    /// Seconds.
    pub seconds: f64,
    /// What it waited for most; none where it was too short to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<Limited>,
    /// The image of the source's mover, by digest, as its node told it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_image: String,
    /// The image of the target's mover.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_image: String,
}

/// What was not read while writes were stopped.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ComparedBefore {
    /// Files.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
}

impl ComparedBefore {
    /// What either side remembered: a file is read again on one side alone where only that changed.
    fn of(verification: &Verification) -> Option<Self> {
        let sides = [verification.source_recalled, verification.target_recalled];
        let most = |of: fn(&Recalled) -> u64| sides.iter().map(of).max().unwrap_or(0);
        let (files, bytes) = (most(|side| side.files), most(|side| side.bytes));
        (files > 0).then_some(Self { files, bytes })
    }
}

impl VerifiedVolume {
    fn of(volume: &Volume, compared: Compared, target_uid: String) -> Self {
        let Compared {
            verification: one,
            limited,
            images: [source_image, target_image],
        } = compared;
        Self {
            compared_before: ComparedBefore::of(&one),
            source: volume.source.clone(),
            target: volume.target.clone(),
            target_uid,
            entries: one.source.entries,
            files: one.source.files,
            bytes: one.source.bytes,
            directories: Some(one.source.directories),
            links: Some(one.source.links),
            source_digest: one.source.digest.to_string(),
            target_digest: one.target.digest.to_string(),
            differences: one.difference_count,
            findings: one.findings,
            seconds: Duration::from_millis(one.milliseconds).as_secs_f64(),
            limited,
            source_image,
            target_image,
        }
    }
}

/// What verification leaves in the journal.
pub const VERIFIED: Key<Verified> = Key::new("verify");

/// Differences that are told in full; the rest is counted.
const TOLD: usize = 50;

impl Verify {
    /// `excused` is by volume: what one of them could not keep is still a difference on the others.
    fn work(excused: Vec<Vec<Excuse>>, reading: Reading) -> Work<Compared> {
        Arc::new(move |pair| {
            let excused = excused.get(pair.index).cloned().unwrap_or_default();
            Box::pin(async move { pair.verify(&excused, reading).await })
        })
    }
}

#[async_trait]
impl Step for Verify {
    fn id(&self) -> &'static str {
        "verify"
    }

    fn title(&self) -> String {
        let what = if self.warm {
            "read back what changed since, and compare every file by content"
        } else {
            "read both sides back and compare every file by content"
        };
        what.to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let copied = cx.find(&FINAL)?.or(cx.find(&WARM)?);
        let copied = copied.map_or_else(Vec::new, |copied| copied.volumes);
        let expected: Vec<_> = copied.iter().map(|volume| volume.bytes).collect();
        let names = self
            .movers
            .volumes
            .iter()
            .map(|volume| volume.source.clone());
        let meter = Meter::new(cx.sink.clone(), self.id(), Doing::Verifying, names);
        let reading = if self.warm {
            Reading::Recall
        } else {
            Reading::Afresh
        };
        let work = Self::work(excused(&copied, &self.movers.volumes), reading);
        let found = tokio::select! {
            found = self.movers.each(cx, &meter, &expected, &work) => found?,
            broken = broken(self.guard.as_ref(), cx) => return Err(broken),
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        still_frozen(self.guard.as_ref(), cx).await?;
        let volumes = &self.movers.volumes;
        let read = || found.iter().map(|one| &one.verification);
        let differing = read().filter(|one| !one.is_equal()).count();
        if differing > 0 {
            let count: u64 = read().map(|one| one.difference_count).sum();
            let evidence = volumes
                .iter()
                .zip(read())
                .flat_map(|(volume, one)| {
                    one.differences
                        .iter()
                        .map(|difference| told(&volume.source, difference))
                })
                .take(TOLD)
                .collect();
            let why = format!(
                "source and target differ in {count} places, in {differing} of {} volumes",
                volumes.len()
            );
            return Err(Failure::new(Kind::Difference, why)
                .with_evidence(evidence)
                .into());
        }
        // The movers still hold them, so that these are the claims that were read.
        let uids = verified_claims::uids(&self.movers.target, volumes).await?;
        let verified = Verified {
            volumes: volumes
                .iter()
                .zip(found)
                .zip(uids)
                .map(|((volume, one), target_uid)| VerifiedVolume::of(volume, one, target_uid))
                .collect(),
            tool: concat!("kubectl-migrate ", env!("CARGO_PKG_VERSION")).to_owned(),
            image: self.movers.image.clone(),
        };
        Ok(Outcome::Done(serde_json::to_value(verified)?))
    }

    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        let verified = cx.get(&VERIFIED)?;
        let lost = verified_claims::lost(&self.movers.target, &verified).await?;
        if let Some(check) = lost.first() {
            let why = format!("{} {}: {}", check.object, check.evidence, check.cure);
            return Err(Failure::new(Kind::Blocked, why).into());
        }
        // A pod that came, wrote and ended in between leaves no trace: what is cheap to prove is proved.
        if self.guard.is_some() && cx.made_under != Some(cx.fence) {
            let why = "another run verified, and between the two nobody watched the source";
            return Ok(Holds::Unknown(why.to_owned()));
        }
        Ok(Holds::Yes)
    }

    fn repaired_by(&self) -> Option<&'static str> {
        // It trusts contents alone, so it finds and mends all that this step can find.
        Some(FINAL.step())
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}

/// What the copy of each volume could not keep.
pub(super) fn excused(copied: &[CopiedVolume], volumes: &[Volume]) -> Vec<Vec<Excuse>> {
    let of = |volume: &Volume| -> Vec<Excuse> {
        let copied = copied
            .iter()
            .filter(|copied| copied.target == volume.target);
        let findings = copied.flat_map(|copied| &copied.findings);
        findings.map(Excuse::of).collect()
    };
    volumes.iter().map(of).collect()
}

/// A difference as a line of evidence: `data-orders-db-0: ./a/b: content: 1f… ≠ 2e…`.
pub(super) fn told(claim: &str, difference: &Difference) -> String {
    let kind = match &difference.kind {
        DifferenceKind::Xattr(name) => format!("xattr {}", String::from_utf8_lossy(name)),
        kind => serde_json::to_value(kind)
            .ok()
            .and_then(|kind| kind.as_str().map(str::to_owned))
            .unwrap_or_default(),
    };
    let side = |text: &str| {
        if text.is_empty() {
            "–".to_owned()
        } else {
            text.to_owned()
        }
    };
    format!(
        "{claim}: {}: {kind}: source {}, target {}",
        difference.path,
        side(&difference.source),
        side(&difference.target)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::What;
    use serde_json::json;

    #[test]
    fn what_one_volume_could_not_keep_excuses_nothing_on_another() {
        let volume = |claim: &str| -> Volume {
            serde_json::from_value(json!({
                "source": claim, "target": claim, "mode": "filesystem", "access": [], "capacity": 1,
                "size": "1", "class": null, "used": [], "phase": "Bound",
            }))
            .expect("a volume")
        };
        let copied = |claim: &str, findings: serde_json::Value| -> CopiedVolume {
            serde_json::from_value(json!({
                "source": claim, "target": claim, "rounds": 1, "files": 1, "bytes": 1,
                "files_sent": 1, "bytes_sent": 1, "seconds": 1.0, "left": 0, "findings": findings,
            }))
            .expect("what was copied")
        };
        let owner = json!([{"what": "owner", "why": "chown", "count": 1, "examples": []}]);
        let copied = [copied("data", owner), copied("log", json!([]))];
        let volumes = [volume("log"), volume("data")];
        let anywhere = Excuse::from(What::Owner);
        assert_eq!(excused(&copied, &volumes), [vec![], vec![anywhere]]);
    }
}
