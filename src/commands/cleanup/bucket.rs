//! What a snapshot's migration left in its bucket: uploads that nobody finishes, and a snapshot that was begun and is not
//! the one that it made.
use anyhow::Result;

use crate::{
    context::Context,
    engine::{self, Cx, Sink, Stop},
    flags::DryRun,
    plan::{Plan, Playbook},
    playbooks::Sides,
    report::{Report, State},
    state::Seen,
    steps::{
        archives::{RESERVED, Remote},
        snapshots::{Left, Repository},
    },
    ui::Removal,
};

/// What is left in a bucket.
pub(super) struct LeftInBucket {
    repository: Repository,
    left: Left,
}

impl LeftInBucket {
    /// What is there; none where the migration has no bucket or nothing is left. A bucket that cannot be asked keeps
    /// nobody from tidying up the cluster: it is told.
    pub(super) async fn of(
        cx: &Context,
        seen: &Seen,
        report: &Report,
        sides: &Sides,
    ) -> Result<Option<Self>> {
        if seen.header.playbook != Playbook::Snapshot.name() {
            return Ok(None);
        }
        let plan: Plan = serde_json::from_value(seen.header.plan.clone())?;
        let source = &plan.spec.source;
        let name = [&source.statefulset, &source.deployment, &source.pvc];
        let name = name.into_iter().find_map(Option::as_ref);
        let (Some(bucket), Some(name)) = (&plan.spec.target.bucket, name) else {
            return Ok(None);
        };
        let state = engine::State::fold(&seen.entries)?;
        let (sink, _, _) = Sink::new();
        let (_, stop) = Stop::new();
        let reserved = Cx::of(&state, sink, stop).find(&RESERVED)?;
        let made = match (report.state, reserved) {
            (State::Done, Some(reserved)) => Some(reserved.id()?),
            // Where the journal says that it was made, and not which: it cannot be told from what was not.
            (State::Done, None) => return Ok(None),
            _ => None,
        };
        let remote = Remote::new(bucket, &sides.source)?;
        let asked = async {
            let repository = remote.open().await?.clone();
            let left = repository
                .left_by(name, &seen.header.run, made.as_ref())
                .await?;
            anyhow::Ok(Self { repository, left })
        };
        match asked.await {
            Ok(found) => Ok((!found.left.is_empty()).then_some(found)),
            Err(error) => {
                cx.ui.warn(&format!(
                    "what is left in {} cannot be looked at: {error:#}",
                    remote.address()
                ));
                Ok(None)
            }
        }
    }

    /// As it is shown before.
    pub(super) fn shown(&self) -> impl Iterator<Item = Removal> {
        let place = self.repository.address().to_string();
        let row = |kind: &str, name: String, why: &str| Removal {
            kind: kind.to_owned(),
            namespace: place.clone(),
            name,
            why: why.to_owned(),
        };
        let snapshots = self.left.snapshots.iter();
        let snapshots =
            snapshots.map(|id| row("snapshot", id.to_string(), "it was begun and not finished"));
        let uploads = self.left.uploads.iter();
        let uploads = uploads.map(|upload| row("upload", upload.key.clone(), "nobody finishes it"));
        snapshots.chain(uploads).collect::<Vec<_>>().into_iter()
    }

    /// Deletes it; a dry run only tells it.
    pub(super) async fn delete(&self, cx: &Context, how: DryRun) -> Result<()> {
        let dry = if how == DryRun::None {
            ""
        } else {
            " (dry run)"
        };
        for id in &self.left.snapshots {
            if how == DryRun::None {
                self.repository.delete(id).await?;
            }
            let address = self.repository.address_of(id);
            cx.ui.data(&format!("snapshot {address} deleted{dry}"))?;
        }
        for upload in &self.left.uploads {
            if how == DryRun::None {
                self.repository.bucket().abort(upload).await?;
            }
            let address = self.repository.bucket().address(&upload.key);
            cx.ui.data(&format!("upload of {address} aborted{dry}"))?;
        }
        Ok(())
    }
}
