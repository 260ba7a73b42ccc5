//! Which claim a volume is for.
use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api,
    api::{ApiResource, DynamicObject},
};
use serde_json::json;

use super::{
    Held, InPlace,
    change::change,
    note::{RETAIN, gone, is_the_same, policy, shown},
};
use crate::{
    adapters::kube::{Look, Wait, get_opt, wait_for},
    engine::{Failure, Kind},
};

/// The binder answers in a second; a controller manager that is restarted takes a while to lead again.
const BOUND: Duration = Duration::from_mins(3);

impl InPlace {
    /// Claims as raw JSON: what this program does not know is kept.
    pub(super) fn claims(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<PersistentVolumeClaim>(&());
        Api::namespaced_with(
            self.place.cluster.client(),
            &self.place.namespace,
            &resource,
        )
    }

    /// Lets a volume wait for the claim of this name, which may be there already, with this uid. `ours` are the names that
    /// the volume may have been for: one that somebody else has taken is not taken back.
    pub(super) async fn reserve(
        &self,
        held: &Held,
        claim: &str,
        uid: Option<&str>,
        ours: [&str; 2],
    ) -> Result<()> {
        let Some(seen) = get_opt(&self.volumes(), &held.volume).await? else {
            bail!(gone(&held.volume));
        };
        let Some((namespace, name, of)) = claim_of(&seen) else {
            return self.refer(held, claim, None).await;
        };
        if namespace != self.place.namespace || !ours.contains(&name) {
            let why = format!(
                "{} was taken by claim {namespace}/{name}, which is not of this migration: give it back first",
                shown(&held.volume)
            );
            bail!(Failure::new(Kind::Blocked, why));
        }
        if name == claim && (of.is_empty() || Some(of) == uid) {
            return Ok(());
        }
        // A claim that is alive would be told that its volume is lost.
        let alive = get_opt(&self.claims(), name).await?;
        if alive.is_some_and(|alive| alive.metadata.uid.as_deref() == Some(of)) {
            let why = format!(
                "{} is still that of {}",
                shown(&held.volume),
                self.claim(name)
            );
            bail!(Failure::new(Kind::Blocked, why));
        }
        self.refer(held, claim, Some(of)).await
    }

    /// Writes the claim's name into the volume, without a uid: the claim that gets it is still to be made.
    async fn refer(&self, held: &Held, claim: &str, before: Option<&str>) -> Result<()> {
        let plan = |seen: &PersistentVolume| {
            is_the_same(seen, &held.uid)?;
            let found = claim_of(seen);
            if found.is_some_and(|(namespace, name, uid)| {
                namespace == self.place.namespace && name == claim && uid.is_empty()
            }) {
                return Ok(None);
            }
            if found.map(|(_, _, uid)| uid) != before {
                let why = format!(
                    "{} was given to another claim meanwhile",
                    shown(&held.volume)
                );
                bail!(Failure::new(Kind::Blocked, why));
            }
            let claim = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "namespace": self.place.namespace, "name": claim,
                "uid": null, "resourceVersion": null, "fieldPath": null,
            });
            Ok(Some(json!({
                "spec": {"claimRef": claim, "persistentVolumeReclaimPolicy": RETAIN},
            })))
        };
        match change(&self.volumes(), &held.volume, plan).await? {
            None => bail!(gone(&held.volume)),
            Some(seen) if policy(&seen) != RETAIN => bail!(
                "the server did not take the reclaim policy of {}",
                shown(&held.volume)
            ),
            Some(_) => Ok(()),
        }
    }

    /// Waits until a claim has its volume.
    pub(super) async fn bound(&self, claim: &str, held: &Held) -> Result<()> {
        let what = format!("{} to be bound to {}", self.claim(claim), held.volume);
        wait_for(
            &self.claims(),
            claim,
            &Wait::new(&what, BOUND),
            |found: Option<&DynamicObject>| {
                let Some(found) = found else {
                    return Look::Never("it was deleted".to_owned());
                };
                let on = volume_of(found);
                let phase = found.data["status"]["phase"].as_str().unwrap_or("Pending");
                match phase {
                    _ if on != Some(held.volume.as_str()) => Look::Never(format!(
                        "it asks for another volume, {}",
                        on.unwrap_or("any")
                    )),
                    "Bound" => Look::Done,
                    "Lost" => Look::Never("it has lost it".to_owned()),
                    phase => Look::NotYet(format!("it is {phase}")),
                }
            },
        )
        .await?;
        Ok(())
    }
}

/// The volume that a claim has, or asks for by name.
pub(super) fn volume_of(claim: &DynamicObject) -> Option<&str> {
    claim.data["spec"]["volumeName"]
        .as_str()
        .filter(|name| !name.is_empty())
}

/// Namespace, name and uid of the claim that a volume is for; the uid is empty where the claim is still to come.
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<(&str, &str, &str)> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some((
        claim.namespace.as_deref().unwrap_or_default(),
        claim.name.as_deref().unwrap_or_default(),
        claim.uid.as_deref().unwrap_or_default(),
    ))
}
