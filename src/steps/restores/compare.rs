use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{FILLED, Restoring};
use crate::{
    engine::{Cx, Failure, Key, Kind, Outcome, Step, UndoPlan, Undone},
    steps::{
        archives::in_bucket,
        movers::{Doing, LoneWork},
        verify,
    },
    transfer::{Excuse, Finding, Side, Verification},
};

/// Reads the volumes back, and compares every file with the digest that the snapshot has of it.
#[derive(Clone, Debug)]
pub struct Compare(pub Restoring);

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// Each volume.
    pub volumes: Vec<ComparedVolume>,
}

/// What was read back of one volume.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ComparedVolume {
    /// Its claim.
    pub claim: String,
    /// The digest of the snapshot's tree.
    pub snapshot: String,
    /// The digest of the volume's tree, which is another where something could not be kept.
    pub volume: String,
    /// Regular files.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// What could not be kept.
    pub findings: Vec<Finding>,
}

/// What it leaves in the journal.
pub const COMPARED: Key<Compared> = Key::new("compare");

/// Differences that are told in full; the rest is counted.
const TOLD: usize = 50;

#[async_trait]
impl Step for Compare {
    fn id(&self) -> &'static str {
        COMPARED.step()
    }

    fn title(&self) -> String {
        "read the volumes back and compare every file by content".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let this = &self.0;
        let filled = cx.get(&FILLED)?;
        let (places, repository) = (this.places(), this.repository.open().await?.clone());
        let work: LoneWork<Verification> = Arc::new(move |lone| {
            let (objects, archive) = places[lone.index].clone();
            let repository = repository.clone();
            let findings = filled.findings.get(lone.index).into_iter().flatten();
            let excused: Vec<Excuse> = findings.map(Excuse::of).collect();
            Box::pin(async move {
                let place = in_bucket(&repository, objects).await;
                lone.compare(&place, &archive, &excused).await
            })
        });
        let meter = this.meter(cx, self.id(), Doing::Verifying);
        let volumes = this.volumes();
        let read = tokio::select! {
            read = this.movers.alone(Side::Target, &volumes, cx, &meter, &work) => read?,
            () = cx.stop.wait() => return Ok(Outcome::Stopped),
        };
        let claims = this.movers.volumes.iter().map(|volume| &volume.target);
        let count: u64 = read.iter().map(|one| one.difference_count).sum();
        if count > 0 {
            let told = claims.zip(&read).flat_map(|(claim, one)| {
                one.differences
                    .iter()
                    .map(|difference| verify::told(claim, difference))
            });
            let why = format!("the volumes differ from the snapshot in {count} places");
            return Err(Failure::new(Kind::Difference, why)
                .with_evidence(told.take(TOLD).collect())
                .into());
        }
        let volumes = claims.zip(read).map(|(claim, one)| ComparedVolume {
            claim: claim.clone(),
            snapshot: one.source.digest.to_string(),
            volume: one.target.digest.to_string(),
            files: one.target.files,
            bytes: one.target.bytes,
            findings: one.findings,
        });
        let volumes = volumes.collect();
        Ok(Outcome::Done(serde_json::to_value(Compared { volumes })?))
    }

    fn repaired_by(&self) -> Option<&'static str> {
        Some(FILLED.step())
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
