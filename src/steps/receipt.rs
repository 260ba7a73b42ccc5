//! The receipt of a migration, read once more from both sides: the source must be what was verified, for as long as
//! nobody writes to it, and the target until its pods do.
use std::sync::Arc;

use anyhow::Result;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde::{Deserialize, Serialize};

use super::{
    Users,
    copy::{CopiedVolume, FINAL, WARM},
    inventory::Volume,
    movers::{Compared, Doing, Meter, Movers, Work},
    verified_claims,
    verify::{Verified, VerifiedVolume, excused, told},
};
use crate::{
    adapters::kube::{Selector, list_all},
    engine::{Check, Cx, Failure, Kind},
    transfer::{Reading, Side, Verification},
};

/// The name under which the journal tells that it was read once more. It is no step: nothing runs or undoes it.
pub const RECEIPT: &str = "receipt";

/// So many differences of a volume are named; the journal has to hold them.
const NAMED: usize = 10;

/// Both sides of each volume, as they are now.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Reread {
    /// Volume by volume.
    pub volumes: Vec<RereadVolume>,
}

/// Both sides of one volume, as they are now.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RereadVolume {
    /// The source's claim.
    pub source: String,
    /// The target's claim.
    pub target: String,
    /// Digest of the source's tree.
    pub source_digest: String,
    /// Digest of the target's tree.
    pub target_digest: String,
    /// Whether the source is what was verified.
    pub source_equal: bool,
    /// Whether the target is.
    pub target_equal: bool,
    /// A pod that uses the source, so that it may be written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_used_by: Option<String>,
    /// A pod that uses the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_used_by: Option<String>,
    /// In how many places the two differ from each other.
    pub differences: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
}

/// Reads both sides of all volumes. The movers are made for it; taking them away is for the caller.
pub async fn reread(movers: &Movers, cx: &Cx, verified: &Verified) -> Result<Reread> {
    are_there(movers, verified).await?;
    let users = [
        Users::now(&movers.source, &movers.belongs).await?,
        Users::now(&movers.target, &movers.belongs).await?,
    ];
    let volumes = &movers.volumes;
    let used = |volume: &Volume| {
        let [source, target] = &users;
        [source.first(&volume.source), target.first(&volume.target)]
    };
    for volume in volumes.iter().filter(|volume| volume.is_exclusive()) {
        if let Some(pod) = used(volume).into_iter().flatten().next() {
            let why = format!(
                "{pod} has claim {} for itself (ReadWriteOncePod): stop it, then give the command again",
                volume.source
            );
            return Err(Failure::new(Kind::Blocked, why).into());
        }
    }
    let copied = cx.find(&FINAL)?.or(cx.find(&WARM)?);
    let copied: Vec<CopiedVolume> = copied.map_or_else(Vec::new, |copied| copied.volumes);
    let expected: Vec<_> = copied.iter().map(|volume| volume.bytes).collect();
    let names = volumes.iter().map(|volume| volume.source.clone());
    let meter = Meter::new(cx.sink.clone(), RECEIPT, Doing::Verifying, names);
    let excused = excused(&copied, volumes);
    let work: Work<Compared> = Arc::new(move |pair| {
        let excused = excused.get(pair.index).cloned().unwrap_or_default();
        Box::pin(async move { pair.verify(&excused, Reading::Afresh).await })
    });
    let found = movers.each(cx, &meter, &expected, &work).await?;
    let read = volumes.iter().zip(found).filter_map(|(volume, found)| {
        let receipt = of(verified, volume)?;
        Some(beside(receipt, &found.verification, used(volume)))
    });
    Ok(Reread {
        volumes: read.collect(),
    })
}

/// Refuses when a claim is gone, is another one, or was never verified.
async fn are_there(movers: &Movers, verified: &Verified) -> Result<()> {
    let mut missing = verified_claims::lost(&movers.target, verified).await?;
    // A run may list the source's claims, and needs no right to read one by one.
    let sources: Vec<PersistentVolumeClaim> =
        list_all(&movers.source.api(), &Selector::all()).await?;
    for volume in &movers.volumes {
        let mut named = sources.iter().map(|claim| &claim.metadata);
        let claim = named.find(|claim| claim.name.as_ref() == Some(&volume.source));
        let uid = claim
            .and_then(|claim| claim.uid.clone())
            .unwrap_or_default();
        let evidence = match uid.as_str() {
            "" => "is gone: the source was deleted",
            uid if !volume.uid.is_empty() && uid != volume.uid => {
                "is not the one that was copied: that was deleted, and this one made since"
            }
            _ if of(verified, volume).is_none() => "was never verified",
            _ => continue,
        };
        let object = movers
            .source
            .object("persistentvolumeclaim", &volume.source);
        let cure = "without it there is nothing to compare";
        missing.push(Check::block("source volume", object, evidence, cure));
    }
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let why = format!("{} {}", first.object, first.evidence);
    Err(Failure::new(Kind::Blocked, why).into())
}

fn of<'a>(verified: &'a Verified, volume: &Volume) -> Option<&'a VerifiedVolume> {
    let mut all = verified.volumes.iter();
    all.find(|one| one.source == volume.source && one.target == volume.target)
}

/// What was read, beside the receipt.
fn beside(
    receipt: &VerifiedVolume,
    found: &Verification,
    [source_used_by, target_used_by]: [Option<String>; 2],
) -> RereadVolume {
    let source_digest = found.source.digest.to_string();
    let target_digest = found.target.digest.to_string();
    let named = found.differences.iter().take(NAMED);
    RereadVolume {
        source: receipt.source.clone(),
        target: receipt.target.clone(),
        source_equal: source_digest == receipt.source_digest,
        target_equal: target_digest == receipt.target_digest,
        source_digest,
        target_digest,
        source_used_by,
        target_used_by,
        differences: found.difference_count,
        named: named
            .map(|difference| told(&receipt.source, difference))
            .collect(),
    }
}

impl Reread {
    /// The failure that it is when one side is not what was verified.
    pub fn outcome(&self, movers: &Movers) -> Result<(), Failure> {
        let changed = |side| {
            let all = self.volumes.iter();
            all.filter(|volume| !volume.is_equal(side)).count()
        };
        let (sources, targets) = (changed(Side::Source), changed(Side::Target));
        let of = self.volumes.len();
        let why = match (sources, targets) {
            (0, 0) => return Ok(()),
            (0, _) => format!(
                "the target of {targets} of {of} volumes is not what was verified; the source still is, whole"
            ),
            (_, 0) => format!(
                "the source of {sources} of {of} volumes is not what was verified; the target still is, whole"
            ),
            _ => format!(
                "the source of {sources} and the target of {targets} of {of} volumes are not what was verified"
            ),
        };
        let told = self.volumes.iter();
        let evidence = told.flat_map(|volume| volume.told(movers)).collect();
        Err(Failure::new(Kind::Difference, why).with_evidence(evidence))
    }
}

impl RereadVolume {
    fn is_equal(&self, side: Side) -> bool {
        match side {
            Side::Source => self.source_equal,
            Side::Target => self.target_equal,
        }
    }

    /// Which side changed, whether that was to be expected, and where the two differ.
    fn told(&self, movers: &Movers) -> Vec<String> {
        let mut lines = Vec::new();
        for (side, claim, user) in [
            (Side::Source, &self.source, &self.source_used_by),
            (Side::Target, &self.target, &self.target_used_by),
        ] {
            if self.is_equal(side) {
                continue;
            }
            let object = movers.place(side).object("persistentvolumeclaim", claim);
            lines.push(match user {
                Some(pod) => format!(
                    "the {side} {object} changed since it was verified; {pod} uses it, so that this is to be expected"
                ),
                None => format!(
                    "the {side} {object} changed since it was verified, and no pod uses it now"
                ),
            });
        }
        if lines.len() == 2 && self.differences == 0 {
            lines.push("both are the same as each other".to_owned());
        }
        if !lines.is_empty() {
            lines.extend(self.named.iter().cloned());
            let more = self.differences.saturating_sub(self.named.len() as u64);
            if more > 0 {
                lines.push(format!("and {more} differences more"));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        plan::RunAs,
        steps::{inventory::Mode, movers::testing::movers, users::tests::place_with},
    };

    fn receipt() -> VerifiedVolume {
        serde_json::from_value(json!({
            "source": "data", "target": "new-data", "entries": 1, "files": 1, "bytes": 1,
            "source_digest": "aa".repeat(32), "target_digest": "aa".repeat(32), "differences": 0,
            "findings": [], "seconds": 1.0,
        }))
        .expect("a receipt of an older version, too")
    }

    fn found(source: &str, target: &str, differences: usize) -> Verification {
        let tree = |digest: &str| json!({"digest": digest.repeat(32), "entries": 1, "files": 1, "bytes": 1, "directories": 1, "links": 0});
        let one = json!({"path": "a/b", "kind": "content", "source": "1f", "target": "2e"});
        serde_json::from_value(json!({
            "source": tree(source), "target": tree(target), "difference_count": differences,
            "differences": vec![one; differences.min(200)], "findings": [], "milliseconds": 1,
        }))
        .expect("a verification")
    }

    #[tokio::test]
    async fn the_side_that_changed_is_named_with_who_uses_it_and_where_it_differs() {
        let movers = movers(RunAs::Root, Mode::Filesystem, place_with(json!([])));
        let told = |source: &str, target: &str, differences, used: [Option<&str>; 2]| {
            let used = used.map(|pod| pod.map(str::to_owned));
            let volume = beside(&receipt(), &found(source, target, differences), used);
            let reread = Reread {
                volumes: vec![volume],
            };
            match reread.outcome(&movers) {
                Ok(()) => "the same".to_owned(),
                Err(failure) => {
                    assert_eq!(failure.kind, Kind::Difference);
                    let lines = failure.evidence.join("\n  ");
                    format!("{}\n  {lines}", failure.message)
                }
            }
        };
        let cases = [
            told("aa", "aa", 0, [None, Some("pod shop/db-0")]),
            told("aa", "bb", 12, [None, Some("pod shop/db-0")]),
            told("aa", "bb", 1, [None, None]),
            told("bb", "aa", 1, [Some("pod shop/old-0"), None]),
            told("bb", "cc", 1, [None, None]),
            told("bb", "bb", 0, [None, None]),
        ];
        insta::assert_snapshot!(cases.join("\n"));
    }
}
