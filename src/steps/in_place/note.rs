//! The note on a volume that is kept: whose doing it is, and what to put back, should the journal be lost.
use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Held, InPlace, change::change};
use crate::{
    engine::{Failure, Kind},
    marks::{self, ORIGINAL},
};

/// Version of the note's format. A reader refuses every other.
const VERSION: u32 = 1;
/// The policy with which a volume outlives its claim.
pub(super) const RETAIN: &str = "Retain";

/// The note in the annotation [`ORIGINAL`] of a volume.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Note {
    version: u32,
    /// The migration that keeps it.
    migration: String,
    /// The namespace of its journal.
    home: String,
    /// The journal's id.
    run: String,
    /// The claim whose data it has, as `namespace/name`.
    claim: String,
    /// The reclaim policy that it had.
    policy: String,
}

/// Only what every version of the note has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// What a volume is for: the label [`marks::ROLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Old,
    New,
}

/// What a volume has to be when its own reclaim policy is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letting {
    /// A claim has it: the policy does nothing yet.
    InUse,
    /// No claim has it: the policy deletes it, and that is wanted.
    ToBeDeleted,
    /// Its data is nobody's only copy.
    Any,
}

impl Letting {
    fn allows(self, bound: bool) -> bool {
        match self {
            Self::InUse => bound,
            Self::ToBeDeleted => !bound,
            Self::Any => true,
        }
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Old => "old-volume",
            Self::New => "new-volume",
        }
    }
}

/// A volume's reclaim policy; Kubernetes' default for one that was made by hand is Retain.
pub(super) fn policy(volume: &PersistentVolume) -> &str {
    let spec = volume.spec.as_ref();
    spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref())
        .unwrap_or(RETAIN)
}

/// A volume, for people.
pub(super) fn shown(name: &str) -> String {
    format!("persistentvolume {name}")
}

fn read(volume: &PersistentVolume) -> Result<Option<Note>, Failure> {
    let annotations = volume.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|all| all.get(ORIGINAL)) else {
        return Ok(None);
    };
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let unreadable = |why: String| {
        let message = format!(
            "{} is kept by a migration, and its annotation {ORIGINAL} cannot be read: {why}; restore the annotation, or put its reclaim policy back by hand and remove it",
            shown(name)
        );
        Failure::new(Kind::Blocked, message)
    };
    let found: Versioned =
        serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    if found.version != VERSION {
        return Err(unreadable(format!(
            "it has version {}, and this program reads version {VERSION}",
            found.version
        )));
    }
    let note = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    Ok(Some(note))
}

impl InPlace {
    pub(super) fn volumes(&self) -> Api<PersistentVolume> {
        self.place.cluster.cluster_scoped()
    }

    /// Whose it is, where another migration keeps it.
    pub(super) fn kept_by_other(&self, volume: &PersistentVolume) -> Result<Option<String>> {
        let note = read(volume)?.filter(|note| note.run != self.belongs.run);
        Ok(note.map(|note| format!("migration {}/{}", note.home, note.migration)))
    }

    /// Lets a volume outlive its claim; what it had is noted on it in the same change.
    pub(super) async fn retain(
        &self,
        volume: &PersistentVolume,
        claim: &str,
        role: Role,
    ) -> Result<Held> {
        let name = volume.metadata.name.clone().unwrap_or_default();
        let uid = volume.metadata.uid.clone().unwrap_or_default();
        let plan = |seen: &PersistentVolume| {
            is_the_same(seen, &uid)?;
            if let Some(note) = read(seen)? {
                if note.run != self.belongs.run {
                    let (by, name) = (format!("{}/{}", note.home, note.migration), shown(&name));
                    bail!(Failure::new(
                        Kind::Blocked,
                        format!("{name} is kept by migration {by}: end that one first")
                    ));
                }
                return Ok((policy(seen) != RETAIN).then(outlive));
            }
            let note = Note {
                version: VERSION,
                migration: self.belongs.migration.clone(),
                home: self.belongs.home.clone(),
                run: self.belongs.run.clone(),
                claim: format!("{}/{claim}", self.place.namespace),
                policy: policy(seen).to_owned(),
            };
            let mut patch = outlive();
            patch["metadata"] = json!({
                "annotations": {ORIGINAL: serde_json::to_string(&note)?},
                "labels": self.belongs.marks(role.name()),
            });
            Ok(Some(patch))
        };
        let Some(kept) = change(&self.volumes(), &name, plan).await? else {
            bail!(gone(&name));
        };
        let Some(note) = read(&kept)?.filter(|_| policy(&kept) == RETAIN) else {
            bail!(
                "the server did not take the reclaim policy of {}",
                shown(&name)
            );
        };
        Ok(Held {
            volume: name,
            uid,
            policy: note.policy,
        })
    }

    /// Sees again that a volume outlives its claim: asked before each claim that is deleted.
    pub(super) async fn outlives(&self, held: &Held) -> Result<()> {
        let plan = |seen: &PersistentVolume| {
            is_the_same(seen, &held.uid)?;
            Ok((policy(seen) != RETAIN).then(outlive))
        };
        let kept = change(&self.volumes(), &held.volume, plan).await?;
        match kept {
            None => bail!(gone(&held.volume)),
            Some(kept) if policy(&kept) != RETAIN => bail!(
                "the server did not take the reclaim policy of {}",
                shown(&held.volume)
            ),
            Some(_) => Ok(()),
        }
    }

    /// Gives a volume that this run keeps its reclaim policy back, and takes the note off. Others are left alone. A policy
    /// that may delete it is given back only while it has a claim, or none, as `wanted` says: the look and the change are
    /// one.
    pub(super) async fn let_go(
        &self,
        name: &str,
        wanted: Letting,
    ) -> Result<Option<PersistentVolume>> {
        let plan = |seen: &PersistentVolume| {
            let Some(note) = read(seen)?.filter(|note| note.run == self.belongs.run) else {
                return Ok(None);
            };
            let status = seen.status.as_ref();
            let phase = status.and_then(|status| status.phase.as_deref());
            let phase = phase.unwrap_or_default();
            if note.policy != RETAIN && !wanted.allows(phase == "Bound") {
                let why = format!(
                    "{} is {phase}, and its reclaim policy {} would delete its data, or somebody else's: it is kept; see `kubectl describe pv {name}`",
                    shown(name),
                    note.policy
                );
                bail!(Failure::new(Kind::Blocked, why));
            }
            let none = [marks::MIGRATION, marks::HOME, marks::RUN, marks::ROLE];
            let labels: serde_json::Map<String, Value> = none
                .map(|label| (label.to_owned(), Value::Null))
                .into_iter()
                .collect();
            Ok(Some(json!({
                "metadata": {"annotations": {ORIGINAL: null}, "labels": labels},
                "spec": {"persistentVolumeReclaimPolicy": note.policy},
            })))
        };
        change(&self.volumes(), name, plan).await
    }
}

fn outlive() -> Value {
    json!({"spec": {"persistentVolumeReclaimPolicy": RETAIN}})
}

/// Refuses another volume of the same name, and one on its way out.
pub(super) fn is_the_same(seen: &PersistentVolume, uid: &str) -> Result<(), Failure> {
    let name = shown(seen.metadata.name.as_deref().unwrap_or_default());
    let why = if seen.metadata.uid.as_deref() != Some(uid) {
        "is another one of the same name: it was deleted and made again"
    } else if seen.metadata.deletion_timestamp.is_some() {
        "is being deleted"
    } else {
        return Ok(());
    };
    Err(Failure::new(Kind::Blocked, format!("{name} {why}")))
}

pub(super) fn gone(name: &str) -> Failure {
    Failure::new(Kind::Blocked, format!("{} is gone", shown(name)))
}
