use anyhow::{Result, ensure};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::Switch;
use crate::{
    adapters::{
        kamaji::{PAUSED, TenantControlPlane, tenants},
        kube::{JsonPatchOperation, json_patch, pointer},
    },
    engine::{Cx, Failure, Holds, Kind, Outcome, Step, UndoPlan, Undone},
    marks::{Belongs, PROGRAM},
};

/// Lets Kamaji's controller leave the tenant alone.
#[derive(Clone, Debug)]
pub struct Pause(pub Switch);

impl Switch {
    /// What our annotation says: whoever finds it knows whose it is.
    pub(super) fn pause_value(&self) -> String {
        let Belongs {
            migration,
            home,
            run,
        } = &self.belongs;
        format!("{PROGRAM} {home}/{migration} {run}")
    }

    /// Whether it is paused by this very run.
    pub(super) fn has_paused(&self, tenant: &TenantControlPlane) -> bool {
        tenant.annotation(PAUSED) == Some(&self.pause_value())
    }

    /// Removes our annotation, and nobody else's.
    pub(super) async fn resume(&self) -> Result<()> {
        let tenant = self.control_plane().await?;
        if !self.has_paused(&tenant) {
            return Ok(());
        }
        self.remove_pause(&self.pause_value()).await
    }

    /// Removes the annotation of whichever switch.
    pub(super) async fn resume_any(&self) -> Result<()> {
        let tenant = self.control_plane().await?;
        match tenant
            .annotation(PAUSED)
            .filter(|value| paused_by(value).is_some())
        {
            Some(value) => self.remove_pause(value).await,
            None => Ok(()),
        }
    }

    async fn remove_pause(&self, value: &str) -> Result<()> {
        let path = pointer(&["metadata", "annotations", PAUSED]);
        let operations = [
            JsonPatchOperation::Test {
                path: path.clone(),
                value: json!(value),
            },
            JsonPatchOperation::Remove { path },
        ];
        self.patch(&self.place, &operations).await
    }

    async fn patch(
        &self,
        place: &crate::steps::Place,
        operations: &[JsonPatchOperation],
    ) -> Result<()> {
        let api = tenants(&place.cluster, &place.namespace);
        json_patch(&api, &self.tenant.name, operations).await?;
        Ok(())
    }

    /// Sets our annotation, unless somebody else's is there.
    pub(super) async fn pause(&self, place: &crate::steps::Place) -> Result<()> {
        let tenant = self.control_plane().await?;
        if self.has_paused(&tenant) {
            return Ok(());
        }
        ensure!(
            !tenant.is_paused(),
            Failure::new(
                Kind::Blocked,
                format!(
                    "{} is paused by somebody else (annotation {PAUSED})",
                    self.shown()
                ),
            )
        );
        let version = tenant
            .object
            .metadata
            .resource_version
            .clone()
            .unwrap_or_default();
        let mut operations = vec![JsonPatchOperation::Test {
            path: pointer(&["metadata", "resourceVersion"]),
            value: Value::String(version),
        }];
        if tenant.object.metadata.annotations.is_none() {
            operations.push(JsonPatchOperation::Add {
                path: pointer(&["metadata", "annotations"]),
                value: json!({}),
            });
        }
        operations.push(JsonPatchOperation::Add {
            path: pointer(&["metadata", "annotations", PAUSED]),
            value: Value::String(self.pause_value()),
        });
        self.patch(place, &operations).await
    }
}

/// The migration that an annotation's value tells of; none when it is not ours.
pub(super) fn paused_by(value: &str) -> Option<Belongs> {
    let mut words = value.split(' ');
    let (PROGRAM, Some(journal), Some(run), None) =
        (words.next()?, words.next(), words.next(), words.next())
    else {
        return None;
    };
    let (home, migration) = journal.split_once('/')?;
    Some(Belongs {
        migration: migration.to_owned(),
        home: home.to_owned(),
        run: run.to_owned(),
    })
}

#[async_trait]
impl Step for Pause {
    fn id(&self) -> &'static str {
        "pause"
    }

    fn title(&self) -> String {
        format!("let Kamaji leave {} alone", self.0.tenant.name)
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("let Kamaji work on it again".to_owned())
    }

    async fn rehearse(&self, _: &Cx) -> Result<Vec<String>> {
        let mut dry = self.0.place.clone();
        dry.cluster = dry.cluster.dry_run();
        self.0.pause(&dry).await?;
        Ok(vec![format!("{}: annotate {PAUSED}", self.0.shown())])
    }

    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        self.0.pause(&self.0.place).await?;
        Ok(Outcome::Done(Value::Null))
    }

    async fn holds(&self, _: &Cx) -> Result<Holds> {
        let tenant = self.0.control_plane().await?;
        if self.0.has_paused(&tenant) || self.0.is_flipped(&tenant) {
            return Ok(Holds::Yes);
        }
        Ok(Holds::No(format!(
            "somebody removed annotation {PAUSED} from {}",
            self.0.shown()
        )))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        self.0.resume().await?;
        Ok(Undone::Restored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pause_is_known() {
        let found = paused_by("kubectl-migrate tenants/switch-t1-gold 42bq").expect("ours");
        assert_eq!(
            (&*found.home, &*found.migration, &*found.run),
            ("tenants", "switch-t1-gold", "42bq")
        );
        for other in [
            "",
            "true",
            "kubectl-migrate",
            "kubectl-migrate a b",
            "other a/b c",
        ] {
            assert_eq!(paused_by(other), None, "{other}");
        }
    }
}
