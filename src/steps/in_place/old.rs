//! The old volumes after a swap: the way back, until they are deleted.
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolume;
use serde_json::json;

use super::{
    Held, InPlace, Kept, RETAINED,
    bind::{claim_of, volume_of},
    change::change,
    note::{Letting, RETAIN, is_the_same, policy, shown},
};
use crate::{
    adapters::kube::{Look, Wait, get_opt, wait_for},
    engine::{Cx, Failure, Kind},
    marks::IN_PLACE,
};

/// Provisioners delete a volume in seconds; the storage behind it may be slow.
const GONE: Duration = Duration::from_mins(10);
/// How often it is looked whether one is gone. Volumes belong to no namespace, so that the right to watch them would be
/// one on everybody's; to get one by its name is enough, and is needed for the swap already.
const LOOK: Duration = Duration::from_secs(2);

/// The old volumes of a migration that is done, and what else it left on objects.
#[derive(Clone, Debug)]
pub struct OldVolumes {
    in_place: InPlace,
    kept: Kept,
    /// Those that are still there.
    old: Vec<Held>,
}

impl InPlace {
    /// What is not there any more of the way back, for people.
    pub async fn no_way_back(&self, cx: &Cx) -> Result<Vec<String>> {
        if let Some(kept) = cx.find(&RETAINED)? {
            return self.missing(kept.volumes.iter().map(|one| &one.old)).await;
        }
        let mut gone = Vec::new();
        for volume in &self.inventory.volumes {
            let found = get_opt(&self.claims(), &volume.source).await?;
            let on = found.as_ref().and_then(volume_of);
            if on != Some(volume.volume.as_str()) {
                gone.push(format!(
                    "{} does not have {} any more",
                    self.claim(&volume.source),
                    shown(&volume.volume)
                ));
            }
        }
        Ok(gone)
    }

    /// Those volumes that are gone, or replaced, or on their way out, for people.
    pub(super) async fn missing(&self, held: impl Iterator<Item = &Held>) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for held in held {
            match get_opt(&self.volumes(), &held.volume).await? {
                None => missing.push(format!("{} is gone", shown(&held.volume))),
                Some(found) => {
                    let refused = is_the_same(&found, &held.uid).err();
                    missing.extend(refused.map(|failure| failure.message));
                }
            }
        }
        Ok(missing)
    }
}

impl OldVolumes {
    /// The old volumes, if every proof that nobody needs them still stands; none when nothing is left of them.
    pub async fn of(in_place: InPlace, cx: &Cx) -> Result<Option<Self>> {
        let kept = cx.get(&RETAINED)?;
        let mut old = Vec::new();
        for one in &kept.volumes {
            let name = one.name();
            let claim = get_opt(&in_place.claims(), name).await?;
            let new = get_opt(&in_place.volumes(), &one.new.volume).await?;
            let bound = claim.as_ref().is_some_and(|claim| {
                volume_of(claim) == Some(one.new.volume.as_str())
                    && claim.data["status"]["phase"] == "Bound"
                    && claim.metadata.deletion_timestamp.is_none()
            });
            if !bound || new.is_none_or(|new| is_the_same(&new, &one.new.uid).is_err()) {
                let why = format!(
                    "{} does not have its new volume, {}: the old one is the only copy, and is kept",
                    in_place.claim(name),
                    one.new.volume
                );
                return Err(Failure::new(Kind::Blocked, why).into());
            }
            let Some(found) = get_opt(&in_place.volumes(), &one.old.volume).await? else {
                continue;
            };
            let ours = in_place.belongs.owns(&found.metadata);
            if one.old.policy == RETAIN && !ours {
                // Let go of by an earlier cleanup: it is the operator's to delete.
                continue;
            }
            // A cleanup that was cut off may have let go of it already.
            if found.metadata.deletion_timestamp.is_none() {
                is_the_same(&found, &one.old.uid)?;
            }
            refuse_taken(&in_place, &found, name)?;
            old.push(one.old.clone());
        }
        let marked = in_place.is_marked(&kept).await?;
        Ok((marked || !old.is_empty()).then_some(Self {
            in_place,
            kept,
            old,
        }))
    }

    /// Each old volume, and what becomes of it.
    pub fn shown(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.old.iter().map(|held| {
            let why = if held.policy == RETAIN {
                "the old volume; its policy is Retain, so that it stays for you to delete"
            } else {
                "the old volume"
            };
            (held.volume.clone(), why)
        })
    }

    /// Gives the new volumes their policy back, and lets go of the old ones, which their policy deletes. Gives those that
    /// are gone then.
    pub async fn delete(&self) -> Result<Vec<String>> {
        for one in &self.kept.volumes {
            let new = &one.new.volume;
            self.in_place.let_go(new, Letting::InUse).await?;
        }
        let mut gone = Vec::new();
        for held in &self.old {
            let old = &held.volume;
            self.in_place.let_go(old, Letting::ToBeDeleted).await?;
            if held.policy == RETAIN {
                continue;
            }
            let object = shown(&held.volume);
            let what = format!("{object} to be deleted by its provisioner");
            let wait = Wait::new(&what, GONE).reading_each(LOOK);
            wait_for(
                &self.in_place.volumes(),
                &held.volume,
                &wait,
                |found: Option<&PersistentVolume>| match found {
                    Some(found) if found.metadata.uid.as_ref() == Some(&held.uid) => {
                        let status = found.status.as_ref();
                        let phase = status.and_then(|status| status.phase.as_deref());
                        let message = status.and_then(|status| status.message.as_deref());
                        Look::NotYet(format!(
                            "it is {} {}",
                            phase.unwrap_or("there"),
                            message.unwrap_or_default()
                        ))
                    }
                    _ => Look::Done,
                },
            )
            .await?;
            gone.push(held.volume.clone());
        }
        let api = self.in_place.statefulsets();
        let run = &self.in_place.belongs.run;
        change(&api, &self.in_place.name, |seen| {
            let annotations = seen.metadata.annotations.as_ref();
            let ours = annotations.and_then(|all| all.get(IN_PLACE)) == Some(run);
            Ok(ours.then(|| json!({"metadata": {"annotations": {IN_PLACE: null}}})))
        })
        .await?;
        Ok(gone)
    }
}

impl InPlace {
    /// Whether a note of ours is left on a volume or on the StatefulSet.
    async fn is_marked(&self, kept: &Kept) -> Result<bool> {
        let found = get_opt(&self.statefulsets(), &self.name).await?;
        let annotations = found.and_then(|found| found.metadata.annotations);
        if annotations.is_some_and(|all| all.get(IN_PLACE) == Some(&self.belongs.run)) {
            return Ok(true);
        }
        for one in &kept.volumes {
            let found = get_opt(&self.volumes(), &one.new.volume).await?;
            if found.is_some_and(|found| self.belongs.owns(&found.metadata)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Refuses a volume that somebody else has taken into use.
fn refuse_taken(of: &InPlace, volume: &PersistentVolume, claim: &str) -> Result<()> {
    let object = shown(volume.metadata.name.as_deref().unwrap_or_default());
    let ours = claim_of(volume)
        .is_some_and(|(namespace, name, _)| namespace == of.place.namespace && name == claim);
    let phase = volume
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default();
    ensure!(
        ours && phase != "Bound",
        Failure::new(
            Kind::Blocked,
            format!(
                "{object}, the old volume of {claim}, is in use by somebody else ({phase}, {}): it is kept",
                policy(volume)
            )
        )
    );
    Ok(())
}
