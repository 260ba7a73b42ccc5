use anyhow::Result;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::EXAMINED;
use crate::{
    engine::{Cx, Failure, Key, Kind, Outcome, Step, UndoPlan, Undone},
    steps::{archives::Remote, checks::Judged, snapshots::SnapshotId},
};

/// The level at which a snapshot is started.
const LEVEL: u8 = 3;

/// Says yes or no, and writes a yes down beside the snapshot.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Where the snapshot is.
    pub repository: Remote,
    /// What it is called there.
    pub id: SnapshotId,
}

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// How closely it was looked at.
    pub level: u8,
    /// When it was seen to be good.
    pub at: Timestamp,
    /// The snapshot.
    pub snapshot: String,
}

/// What it leaves in the journal.
pub const ANSWERED: Key<Answered> = Key::new("answer");

#[async_trait]
impl Step for Answer {
    fn id(&self) -> &'static str {
        ANSWERED.step()
    }

    fn title(&self) -> String {
        "say yes or no, and write a yes down beside the snapshot".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let examined = cx.get(&EXAMINED)?;
        let bad = examined.checks.iter().filter(|check| !check.good);
        let bad: Vec<_> = bad.map(Judged::line).collect();
        if !bad.is_empty() {
            let all = examined.checks.len();
            let why = format!(
                "restore-check level {LEVEL}: no: {} of {all} checks found something else than expected",
                bad.len()
            );
            return Err(Failure::new(Kind::Difference, why)
                .with_evidence(bad)
                .into());
        }
        let at = Timestamp::now();
        let proven = async {
            self.repository
                .open()
                .await?
                .prove(&self.id, LEVEL, at)
                .await
        };
        if let Err(error) = proven.await {
            cx.sink.notice(format!(
                "that it is good could not be written down beside the snapshot: {error:#}"
            ));
        }
        Ok(Outcome::Done(serde_json::to_value(Answered {
            level: LEVEL,
            at,
            snapshot: self.id.to_string(),
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
