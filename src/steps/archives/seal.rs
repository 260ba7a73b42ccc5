use anyhow::Result;
use async_trait::async_trait;

use super::{Archiving, MEASURED, RESERVED, UPLOADED};
use crate::{
    engine::{Cx, Key, Outcome, Step, UndoPlan, Undone},
    plan::Size,
    steps::snapshots::{
        Kind, SnapshotId, StoredVolume, VOLUMES_FORMAT, VolumesManifest, kept, referenced,
    },
};

/// Writes the manifest, which makes the snapshot whole.
#[derive(Clone, Debug)]
pub struct Seal(pub Archiving);

/// What it leaves in the journal: nothing.
pub const SEALED: Key<serde_json::Value> = Key::new("seal");

impl Seal {
    /// What it says follows from the journal alone, so that a second try writes the same.
    fn manifest(&self, cx: &Cx) -> Result<(SnapshotId, VolumesManifest)> {
        let this = &self.0;
        let reserved = cx.get(&RESERVED)?;
        let uploaded = cx.get(&UPLOADED)?;
        let id = reserved.id()?;
        let kind = this.subject.split('/').next().unwrap_or_default();
        let volumes = this.inventory.volumes.iter().zip(uploaded.volumes);
        let volumes = volumes.map(|(volume, uploaded)| StoredVolume {
            claim: volume.source.clone(),
            data: uploaded.data,
            index: uploaded.index,
            size: volume.size.clone(),
            capacity: volume.capacity,
            class: volume.class.clone(),
            mode: volume.mode,
            access: volume.access.clone(),
            archive: uploaded.archive,
        });
        let manifest = VolumesManifest {
            kubectl_migrate_snapshot: VOLUMES_FORMAT,
            kind: Kind::Volumes,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: reserved.cluster,
            source: this.movers.source.object(kind, this.name()),
            frozen: uploaded.frozen,
            volumes: volumes.collect(),
            workload: kept(&this.inventory.workload),
            references: referenced(&this.inventory.workload),
            checks: cx
                .find(&MEASURED)?
                .map_or_else(Vec::new, |measured| measured.checks),
        };
        Ok((id, manifest))
    }
}

#[async_trait]
impl Step for Seal {
    fn id(&self) -> &'static str {
        SEALED.step()
    }

    fn title(&self) -> String {
        "write the manifest, which makes the snapshot whole".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete the manifest".to_owned())
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let (id, manifest) = self.manifest(cx)?;
        self.0
            .repository
            .open()
            .await?
            .seal_volumes(&id, &manifest)
            .await?;
        let trees = manifest.volumes.iter().map(|volume| &volume.archive.tree);
        let (files, bytes) = trees.fold((0, 0), |(files, bytes), tree| {
            (files + tree.files, bytes + tree.bytes)
        });
        cx.sink.notice(format!(
            "{} is whole: {files} files, {}",
            self.0.repository.address_of(&id),
            Size(bytes)
        ));
        Ok(Outcome::Done(serde_json::Value::Null))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        if let Some(reserved) = cx.find(&RESERVED)? {
            let repository = self.0.repository.open().await?;
            repository.unseal(&reserved.id()?).await?;
        }
        Ok(Undone::Restored)
    }
}
