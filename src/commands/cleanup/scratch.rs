//! Namespaces that were made for checks which were cut off.
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::ObjectMeta};

use crate::{
    adapters::kube::{Selector, Wait, delete_and_wait, list_all},
    context::Context,
    flags::DryRun,
    marks::{MANAGED_BY, PROGRAM, ROLE},
    plan::Playbook,
    playbooks::Sides,
    state::Seen,
    steps::{
        Place,
        drills::{SCRATCH_ROLE, let_volumes_go},
    },
    ui::Removal,
};

/// All pods in it have to end, and its volumes to be deleted.
const GONE: Duration = Duration::from_mins(15);

/// A namespace of ours.
pub(super) struct Left {
    place: Place,
    uid: Option<String>,
}

/// Whether it is the check of a snapshot.
pub(super) fn is_check(seen: &Seen) -> bool {
    seen.header.playbook == Playbook::RestoreCheck.name()
}

/// Those of this migration, of this and of earlier runs; by their labels alone.
pub(super) async fn left(seen: &Seen, sides: &Sides) -> Result<Vec<Left>> {
    if !is_check(seen) {
        return Ok(Vec::new());
    }
    let selector = format!(
        "{},{MANAGED_BY}={PROGRAM},{ROLE}={SCRATCH_ROLE}",
        sides.belongs.selector()
    );
    let all = list_all(&api(&sides.target), &Selector::labels(selector)).await?;
    let left = all.into_iter().map(|found| {
        let ObjectMeta { name, uid, .. } = found.metadata;
        Left {
            place: Place {
                namespace: name.unwrap_or_default(),
                ..sides.target.clone()
            },
            uid,
        }
    });
    Ok(left.collect())
}

fn api(place: &Place) -> Api<Namespace> {
    place.cluster.cluster_scoped()
}

impl Left {
    /// As it is shown before.
    pub(super) fn shown(&self) -> Removal {
        Removal {
            kind: "namespace".to_owned(),
            namespace: "–".to_owned(),
            name: self.place.namespace.clone(),
            why: "a check that was cut off".to_owned(),
        }
    }

    /// Deletes it with all that is in it; a dry run only tells it.
    pub(super) async fn delete(&self, cx: &Context, how: DryRun) -> Result<()> {
        let name = &self.place.namespace;
        if how != DryRun::None {
            cx.ui.data(&format!("namespace/{name} deleted (dry run)"))?;
            return Ok(());
        }
        let_volumes_go(&self.place).await?;
        let what = format!("namespace {name} to be gone");
        let wait = Wait::new(&what, GONE);
        delete_and_wait(&api(&self.place), name, self.uid.as_deref(), &wait).await?;
        cx.ui.data(&format!("namespace/{name} deleted"))?;
        Ok(())
    }
}
