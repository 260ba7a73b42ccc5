use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, ServiceAccount};
use kube::{Api, api::ObjectMeta};
use serde_json::{Value, json};

use crate::{
    adapters::kube::{
        KubeError, Look, Selector, Wait, create_owned, delete_and_wait, get_opt, list_all,
        merge_patch, wait_for,
    },
    engine::{Cx, Outcome, Sink, Step, UndoPlan, Undone},
    marks::Belongs,
    steps::Place,
};

/// The role of a namespace that is made for the time of a check.
pub const SCRATCH_ROLE: &str = "scratch";

/// Labels by which a namespace says which pods it takes.
const SECURITY: &str = "pod-security.kubernetes.io/";
/// The account that every namespace gets by itself, and that every pod needs.
const ACCOUNT: &str = "default";
/// A controller that is at work makes it in a second.
const SETTLED: Duration = Duration::from_mins(1);
/// All its pods have to end, and its volumes to be deleted.
const GONE: Duration = Duration::from_mins(15);

/// The namespace of a run: no other run has it.
#[must_use]
pub fn scratch_name(run: &str) -> String {
    format!("migrate-check-{run}")
}

/// Makes the namespace that a snapshot is tried in.
#[derive(Clone, Debug)]
pub struct Scratch {
    /// The migration.
    pub belongs: Belongs,
    /// The namespace.
    pub place: Place,
    /// The namespace that the snapshot was taken in, where it is there: which pods it takes is copied.
    pub like: Option<Place>,
}

impl Scratch {
    fn api(&self) -> Api<Namespace> {
        self.place.cluster.cluster_scoped()
    }

    fn name(&self) -> &str {
        &self.place.namespace
    }

    async fn wanted(&self) -> Result<Namespace> {
        let mut labels = self.belongs.labels(SCRATCH_ROLE);
        labels.extend(self.security().await?);
        Ok(Namespace {
            metadata: ObjectMeta {
                name: Some(self.name().to_owned()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        })
    }

    /// Which pods the snapshot's namespace takes.
    async fn security(&self) -> Result<BTreeMap<String, String>> {
        let Some(like) = &self.like else {
            return Ok(BTreeMap::new());
        };
        let found = get_opt(&self.api(), &like.namespace).await?;
        let labels = found.and_then(|found| found.metadata.labels);
        let labels = labels.into_iter().flatten();
        Ok(labels
            .filter(|(key, _)| key.starts_with(SECURITY))
            .collect())
    }

    /// Takes the namespace away, with all that is in it.
    async fn remove(&self, step: &str, sink: &Sink) -> Result<()> {
        let Some(found) = get_opt(&self.api(), self.name()).await? else {
            return Ok(());
        };
        if !self.belongs.made(&found.metadata) {
            return Ok(());
        }
        let_volumes_go(&self.place).await?;
        let what = format!("namespace {} to be gone", self.name());
        let tell = |seen: &str| sink.waiting(step, seen);
        let wait = Wait::new(&what, GONE).telling(&tell);
        let uid = found.metadata.uid.as_deref();
        delete_and_wait(&self.api(), self.name(), uid, &wait).await?;
        Ok(())
    }
}

/// A volume is changed by its controller once or twice, when its claim goes.
const TRIES: u32 = 10;

/// Lets the volumes that were made for claims of a scratch namespace go with them: those of classes that keep them would
/// outlive it, with all that was restored. One that was there before, and that a claim only got, is somebody's.
pub async fn let_volumes_go(place: &Place) -> Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match let_volumes_go_once(place).await {
            // Their controller changed one meanwhile: what is there now decides.
            Err(KubeError::Conflict { .. }) if tries < TRIES => {}
            done => return Ok(done?),
        }
    }
}

async fn let_volumes_go_once(place: &Place) -> Result<(), KubeError> {
    let api = place.cluster.cluster_scoped::<PersistentVolume>();
    for volume in list_all(&api, &Selector::all()).await? {
        let spec = volume.spec.unwrap_or_default();
        let claim = spec.claim_ref.unwrap_or_default();
        let kept = spec.persistent_volume_reclaim_policy.as_deref() == Some("Retain");
        let name = volume.metadata.name.unwrap_or_default();
        // A provisioner names what it makes after the claim.
        let uid = claim.uid.filter(|uid| !uid.is_empty());
        let made = uid.is_some_and(|uid| name.ends_with(&uid));
        if kept && made && claim.namespace.as_deref() == Some(place.namespace.as_str()) {
            // Only as it was seen: by now it may be another's.
            let patch = json!({
                "metadata": {"resourceVersion": volume.metadata.resource_version},
                "spec": {"persistentVolumeReclaimPolicy": "Delete"},
            });
            merge_patch(&api, &name, &patch).await?;
        }
    }
    Ok(())
}

#[async_trait]
impl Step for Scratch {
    fn id(&self) -> &'static str {
        "scratch"
    }

    fn title(&self) -> String {
        "make a namespace for the time of the check".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("delete it, with all that is in it".to_owned())
    }

    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        create_owned(&self.api(), &self.wanted().await?).await?;
        let accounts = self.place.api::<ServiceAccount>();
        let what = format!("serviceaccount {}/{ACCOUNT} to be made", self.name());
        wait_for(
            &accounts,
            ACCOUNT,
            &Wait::new(&what, SETTLED),
            |found| match found {
                Some(_) => Look::Done,
                None => Look::NotYet("it is not there".to_owned()),
            },
        )
        .await?;
        Ok(Outcome::Done(Value::Null))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        self.remove(self.id(), &cx.sink).await?;
        Ok(Undone::Restored)
    }
}

/// Takes it away again, when everything was seen.
#[derive(Clone, Debug)]
pub struct TearDown(pub Scratch);

#[async_trait]
impl Step for TearDown {
    fn id(&self) -> &'static str {
        "tear-down"
    }

    fn title(&self) -> String {
        "delete the namespace, with all that is in it".to_owned()
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }

    fn seals(&self) -> bool {
        // Nothing that was made in it could be made again.
        true
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        self.0.remove(self.id(), &cx.sink).await?;
        Ok(Outcome::Done(Value::Null))
    }

    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}
