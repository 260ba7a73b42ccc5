//! A freeze that goes on although the workload is deleted and made again meanwhile, by ourselves.
use anyhow::{Context as _, Result};
use kube::api::DynamicObject;
use serde_json::Value;

use super::{FreezeStep, Frozen, mark::Mark, original::Part};
use crate::{engine::Cx, plan::FreezeMode};

impl FreezeStep {
    /// Freezes the workload and proves it, whatever it is by now: for a step that stops again what it started.
    pub async fn freeze_again(&self, cx: &Cx) -> Result<Frozen> {
        let whatever = Self {
            begun: Value::Null,
            ..self.clone()
        };
        Box::pin(whatever.freeze_and_prove(cx)).await
    }

    /// Writes the note of this freeze on the workload that was made again, which has another uid; where it has it
    /// already, nothing is changed.
    pub async fn note_again(&self, frozen: &Frozen) -> Result<()> {
        let watched = self.watched();
        let subject = watched.subject();
        let shown = subject.shown();
        let note = |object: &DynamicObject| {
            let meta = &object.metadata;
            if Mark::read(meta, &shown)?.is_some() {
                return Ok(Vec::new());
            }
            let uid = meta.uid.as_deref().unwrap_or_default();
            let mark = Mark::new(&self.belongs, uid, frozen.mode, frozen.original.clone());
            let note = mark.write(meta);
            Ok(vec![
                note.context("failed to write the note of the freeze")?,
            ])
        };
        subject.change(note).await?;
        Ok(())
    }

    /// Puts back what the freeze of a workload in mode `scale` replaced, and takes the note off; the pods are not waited
    /// for. A workload that is awake is left as it is.
    pub async fn wake(&self, frozen: &Frozen) -> Result<()> {
        let watched = self.watched();
        let subject = watched.subject();
        let Some(object) = subject.read().await? else {
            return Ok(());
        };
        let noted = Mark::read(&object.metadata, &subject.shown())?;
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let original = noted.map_or_else(|| frozen.original.clone(), |mark| mark.original);
        if original.is_in(&object.data) {
            watched.put_back(uid, &original, Part::Pods).await?;
        }
        Ok(())
    }

    /// Whether the workload was made again since it was frozen, and nothing of the freeze is on it any more.
    pub async fn is_another_and_awake(&self, frozen: &Frozen) -> Result<bool> {
        let watched = self.watched();
        let subject = watched.subject();
        let Some(object) = subject.read().await? else {
            return Ok(false);
        };
        let noted = Mark::read(&object.metadata, &subject.shown())?.is_some();
        let another = object.metadata.uid.as_ref() != Some(&frozen.uid);
        let scaled = frozen.mode == FreezeMode::Scale;
        Ok(scaled && another && !noted && !frozen.original.is_in(&object.data))
    }
}
