//! Retain: every volume, old and new, is to outlive its claim, and all that is taken apart is written down.
use anyhow::{Result, bail};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::DynamicObject;

use super::{
    InPlace, Kept, KeptVolume, RETAINED,
    bind::{claim_of, volume_of},
    note::{Letting, Role, gone},
    record,
    workload::Stands,
};
use crate::{
    adapters::kube::get_opt,
    engine::{Check, Cx, Failure, Holds, Kind, Outcome, Probe, Step, UndoPlan, Undone},
    steps::{
        copy::still_frozen, freeze::FROZEN, inventory::Volume, kept_claims, verified_claims,
        verify::VERIFIED,
    },
};

/// Lets every volume outlive its claim.
#[derive(Clone, Debug)]
pub struct Retain(pub InPlace);

impl Retain {
    /// A claim as it is, and its volume; both have to be each other's.
    async fn pair(&self, name: &str) -> Result<(DynamicObject, PersistentVolume)> {
        let object = self.0.claim(name);
        let Some(claim) = get_opt(&self.0.claims(), name).await? else {
            bail!(Failure::new(Kind::Blocked, format!("{object} is gone")));
        };
        let Some(on) = volume_of(&claim).map(str::to_owned) else {
            bail!(Failure::new(
                Kind::Blocked,
                format!("{object} has no volume")
            ));
        };
        let Some(volume) = get_opt(&self.0.volumes(), &on).await? else {
            bail!(gone(&on));
        };
        let uid = claim.metadata.uid.as_deref().unwrap_or_default();
        if claim.metadata.deletion_timestamp.is_some() {
            bail!(Failure::new(
                Kind::Blocked,
                format!("{object} is being deleted")
            ));
        }
        if claim_of(&volume).is_none_or(|(_, _, of)| of != uid) {
            let why = format!("{object} and persistentvolume {on} are not each other's");
            bail!(Failure::new(Kind::Blocked, why));
        }
        Ok((claim, volume))
    }

    async fn one(&self, volume: &Volume, filled_uid: &str) -> Result<KeptVolume> {
        let in_place = &self.0;
        let (claim, old) = self.pair(&volume.source).await?;
        let (filled, new) = self.pair(&volume.target).await?;
        if volume_of(&claim) != Some(volume.volume.as_str()) {
            let why = format!(
                "{} has another volume than the one that was copied, {}",
                in_place.claim(&volume.source),
                volume.volume
            );
            bail!(Failure::new(Kind::Blocked, why));
        }
        let compared = filled.metadata.uid.as_deref() == Some(filled_uid);
        if !compared || !in_place.belongs.made(&filled.metadata) {
            let why = format!(
                "{} is not the one that this migration made and compared: roll back, and begin anew",
                in_place.claim(&volume.target)
            );
            bail!(Failure::new(Kind::Blocked, why));
        }
        Ok(KeptVolume {
            claim: record::claim(&claim, &old)?,
            filled: record::claim(&filled, &new)?,
            old: in_place.retain(&old, &volume.source, Role::Old).await?,
            new: in_place.retain(&new, &volume.source, Role::New).await?,
        })
    }

    /// The StatefulSet as it is to be made again.
    async fn workload(&self, cx: &Cx) -> Result<serde_json::Value> {
        let frozen = cx.get(&FROZEN)?;
        let Stands::Frozen(found) = self.0.stands(&frozen).await? else {
            bail!(self.0.foreign());
        };
        if kept_claims::deletes(&found.data) {
            let why = format!(
                "{} deletes its claims when it is deleted (persistentVolumeClaimRetentionPolicy): set it to Retain, then give the command again",
                self.0.object()
            );
            bail!(Failure::new(Kind::Blocked, why));
        }
        record::workload(&found)
    }
}

#[async_trait]
impl Step for Retain {
    fn id(&self) -> &'static str {
        RETAINED.step()
    }

    fn title(&self) -> String {
        let count = self.0.inventory.volumes.len() * 2;
        format!("let {count} volumes, old and new, outlive their claims (Retain)")
    }

    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::By("give them their reclaim policies back".to_owned())
    }

    async fn preflight(&self, _: &Cx) -> Result<Vec<Check>> {
        self.0.checks().await
    }

    async fn probe(&self, cx: &Cx) -> Result<Probe> {
        still_frozen(Some(&self.0.freeze.watched()), cx).await?;
        let lost = verified_claims::lost(&self.0.place, &cx.get(&VERIFIED)?).await?;
        if lost.is_empty() {
            Ok(Probe::Ready)
        } else {
            Ok(Probe::Blocked(lost))
        }
    }

    async fn apply(&self, cx: &Cx) -> Result<Outcome> {
        let workload = self.workload(cx).await?;
        let verified = cx.get(&VERIFIED)?;
        let mut volumes = Vec::new();
        for volume in &self.0.inventory.volumes {
            let mut compared = verified.volumes.iter();
            let compared = compared.find(|one| one.target == volume.target);
            let uid = compared.map_or("", |one| one.target_uid.as_str());
            volumes.push(self.one(volume, uid).await?);
        }
        still_frozen(Some(&self.0.freeze.watched()), cx).await?;
        let kept = Kept { workload, volumes };
        Ok(Outcome::Done(serde_json::to_value(kept)?))
    }

    async fn holds(&self, cx: &Cx) -> Result<Holds> {
        let frozen = cx.get(&FROZEN)?;
        let (Stands::Frozen(found) | Stands::Old(found)) = self.0.stands(&frozen).await? else {
            return Ok(Holds::Yes);
        };
        if record::is_same(&record::workload(&found)?, &cx.get(&RETAINED)?.workload) {
            return Ok(Holds::Yes);
        }
        let why = format!("{} was changed since", self.0.object());
        Ok(Holds::No(why))
    }

    async fn undo(&self, cx: &Cx) -> Result<Undone> {
        let kept = cx.find(&RETAINED)?;
        // A claim that somebody deleted meanwhile is made again: what outlives it now would not for long.
        for volume in kept.iter().flat_map(|kept| &kept.volumes) {
            self.0.back(volume).await?;
        }
        // By what is there, not by the journal alone: the step may have been cut off half way.
        let mut new: Vec<_> = kept
            .into_iter()
            .flat_map(|kept| kept.volumes)
            .map(|volume| volume.new.volume)
            .collect();
        for volume in &self.0.inventory.volumes {
            let found = get_opt(&self.0.claims(), &volume.target).await?;
            new.extend(found.as_ref().and_then(volume_of).map(str::to_owned));
            if let Some(found) = get_opt(&self.0.claims(), &volume.source).await?
                && let Some(old) = volume_of(&found)
            {
                if found.metadata.deletion_timestamp.is_some() {
                    let why = format!(
                        "{} is being deleted, and its volume, {old}, is kept for that: make the claim again on it, then give the command again",
                        self.0.claim(&volume.source)
                    );
                    bail!(Failure::new(Kind::Blocked, why));
                }
                self.0.let_go(old, Letting::InUse).await?;
            }
        }
        new.sort();
        new.dedup();
        for name in new {
            self.0.let_go(&name, Letting::Any).await?;
        }
        Ok(Undone::Restored)
    }
}
