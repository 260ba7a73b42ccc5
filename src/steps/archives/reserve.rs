use anyhow::Result;
use async_trait::async_trait;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Archiving, named};
use crate::{
    engine::{Check, Cx, Key, Outcome, Step, UndoPlan, Undone},
    plan::Size,
    steps::{
        inventory::{Mode, Volume},
        snapshots::SnapshotId,
    },
    transfer::archive::MOST_TAR,
};

/// Gives the snapshot its name, and begins its objects: a bucket that takes none is found before writes stop.
#[derive(Clone, Debug)]
pub struct Reserve(pub Archiving);

/// What it leaves in the journal.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// What the snapshot is called, as NAME/TIME-RUN.
    pub id: String,
    /// What tells the cluster from every other.
    pub cluster: String,
}

/// What it leaves in the journal.
pub const RESERVED: Key<Reserved> = Key::new("reserve");

impl Reserved {
    /// The snapshot's name.
    pub fn id(&self) -> Result<SnapshotId> {
        self.id.parse().map_err(anyhow::Error::msg)
    }
}

impl Archiving {
    /// The name of what the snapshot is of.
    pub(super) fn name(&self) -> &str {
        self.subject
            .split_once('/')
            .map_or(&*self.subject, |(_, name)| name)
    }

    async fn check_bucket(&self) -> Result<Check> {
        let address = self.repository.address();
        let object = address.to_string();
        let earlier = address.join(self.name()).join("").key;
        let repository = self.repository.open().await?;
        Ok(match repository.bucket().list(&earlier).await {
            Ok(found) => Check::pass(
                "bucket",
                object,
                format!("answers, with {} objects of this name", found.len()),
            ),
            Err(error) => {
                let cure = error
                    .next()
                    .map_or_else(String::new, |(command, what)| format!("`{command}` {what}"));
                Check::block("bucket", object, error.to_string(), cure)
            }
        })
    }

    fn check_volume(&self, volume: &Volume) -> Vec<Check> {
        let object = self
            .movers
            .source
            .object("persistentvolumeclaim", &volume.source);
        let mut checks = Vec::new();
        if volume.phase != "Bound" {
            checks.push(Check::block(
                "source volume",
                object.clone(),
                format!("is {}, so that there is nothing to read", volume.phase),
                format!(
                    "see `kubectl describe pvc -n {} {}`",
                    self.movers.source.namespace, volume.source
                ),
            ));
        }
        checks.extend(too_large(volume, &object));
        if self.guard.is_none()
            && let Some(user) = volume.used.first()
        {
            checks.push(if volume.mode == Mode::Block {
                Check::block(
                    "source volume",
                    object,
                    format!("pod {} may write to it, and a device does not tell what changed while it was read", user.pod),
                    "freeze the workload: a snapshot of it does that by itself",
                )
            } else if volume.is_exclusive() {
                Check::block(
                    "source volume",
                    object,
                    format!("is ReadWriteOncePod, and pod {} has it", user.pod),
                    "freeze the workload: a snapshot of it does that by itself",
                )
            } else {
                Check::warn(
                    "source volume",
                    object,
                    format!("pod {} may write to it meanwhile", user.pod),
                    "files that change while they are read are named; a snapshot of the workload freezes it",
                )
            });
        }
        checks
    }
}

/// What is said of a volume on which more may be than an archive holds. Of a device all of it goes in.
fn too_large(volume: &Volume, object: &str) -> Option<Check> {
    if volume.capacity <= MOST_TAR {
        return None;
    }
    let evidence = format!(
        "has {}, and an archive holds {} at most",
        Size(volume.capacity),
        Size(MOST_TAR)
    );
    let cure = "copy it to another volume instead";
    Some(match volume.mode {
        Mode::Block => Check::block("source volume", object, evidence, cure),
        Mode::Filesystem => {
            let evidence = format!("{evidence}: refused if more is on it, before anything is sent");
            Check::warn("source volume", object, evidence, cure)
        }
    })
}

#[async_trait]
impl Step for Reserve {
    fn id(&self) -> &'static str {
        RESERVED.step()
    }

    fn title(&self) -> String {
        format!("begin a snapshot in {}", self.0.repository.address())
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete what was begun".to_owned())
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        let mut checks = vec![self.0.check_bucket().await?];
        for volume in &self.0.inventory.volumes {
            checks.extend(self.0.check_volume(volume));
        }
        Ok(checks)
    }

    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        let this = &self.0;
        let cluster = this.movers.source.cluster.identity().await?.to_owned();
        let run = &this.movers.belongs.run;
        let repository = this.repository.open().await?;
        // Begun by a try that was cut off before it could write its name down.
        let begun = repository.begun_by(this.name(), run).await?;
        let id = begun
            .into_iter()
            .next()
            .unwrap_or_else(|| SnapshotId::of_run(this.name(), Timestamp::now(), run));
        let begin = named(&this.inventory)
            .into_iter()
            .enumerate()
            .map(|(index, named)| {
                let key = repository.key_of(&id, &named.data);
                let mark = this.movers.run_of(index);
                async move { repository.bucket().ongoing(&key, &mark).await }
            });
        if let Err(error) = try_join_all(begin).await {
            // Its own failure tells more than that of tidying up; the name is this run's alone.
            repository.delete(&id).await.ok();
            return Err(error.into());
        }
        Ok(Outcome::Done(serde_json::to_value(Reserved {
            id: id.to_string(),
            cluster,
        })?))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        let this = &self.0;
        // By what is there: a try that was cut off has written nothing down.
        let run = &this.movers.belongs.run;
        let repository = this.repository.open().await?;
        for id in repository.begun_by(this.name(), run).await? {
            repository.delete(&id).await?;
        }
        Ok(Undone::Restored)
    }
}
