//! Who has which name: the two things that a swap does with a claim.
use anyhow::{Result, bail};
use kube::api::{DynamicObject, PostParams};
use serde_json::Value;

use super::{
    Held, InPlace, KeptVolume,
    bind::volume_of,
    change::{TRIES, delete, restless},
    note::shown,
};
use crate::{
    adapters::kube::{KubeError, get_opt},
    engine::{Failure, Kind},
    steps::Users,
};

impl InPlace {
    /// Takes a name from a volume: the claim is deleted where it has this volume. Its data stays, for the volume was seen
    /// to outlive the claim right before.
    pub(super) async fn vacate(&self, claim: &str, held: &Held) -> Result<()> {
        let object = self.claim(claim);
        for _ in 0..TRIES {
            let Some(found) = get_opt(&self.claims(), claim).await? else {
                return Ok(());
            };
            if volume_of(&found) != Some(held.volume.as_str()) {
                return Ok(());
            }
            let users = Users::now(&self.place, &self.belongs).await?;
            if let Some(pod) = users.first(claim) {
                let why = format!(
                    "{pod} uses {object}, whose volume is to be exchanged: stop that pod, then give the command again"
                );
                bail!(Failure::new(Kind::Blocked, why));
            }
            self.outlives(held).await?;
            if delete(&self.claims(), &found, &object).await? {
                return Ok(());
            }
        }
        bail!(restless(&object))
    }

    /// Gives a name to a volume: the claim is made, and waited for until it is bound. `ours` are the names of the pair.
    pub(super) async fn give(&self, wanted: &Value, held: &Held, ours: [&str; 2]) -> Result<()> {
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
        let object: DynamicObject = serde_json::from_value(wanted.clone())?;
        for _ in 0..TRIES {
            let found = get_opt(&self.claims(), name).await?;
            if let Some(found) = &found {
                if volume_of(found) != Some(held.volume.as_str()) {
                    bail!(self.taken(name, found));
                }
                if found.metadata.deletion_timestamp.is_some() {
                    self.outlives(held).await?;
                    delete(&self.claims(), found, &self.claim(name)).await?;
                    continue;
                }
            }
            let uid = found
                .as_ref()
                .and_then(|found| found.metadata.uid.as_deref());
            self.reserve(held, name, uid, ours).await?;
            if found.is_some() {
                return self.bound(name, held).await;
            }
            let made = self.claims().create(&PostParams::default(), &object).await;
            match made.map_err(KubeError::from) {
                Ok(_) => return self.bound(name, held).await,
                // Made by an earlier try, or by somebody else: it is looked at again.
                Err(KubeError::AlreadyExists { .. } | KubeError::Ambiguous { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!(restless(&self.claim(name)))
    }

    fn taken(&self, name: &str, found: &DynamicObject) -> Failure {
        let (context, namespace) = (self.place.cluster.context(), &self.place.namespace);
        let on = volume_of(found).unwrap_or("none yet");
        let why = format!(
            "{} was made by somebody else meanwhile, with another volume ({on}): both volumes of this migration are kept; delete that claim if it holds nothing, then give the command again",
            self.claim(name)
        );
        Failure::new(Kind::Blocked, why).with_next(
            format!("kubectl get pvc {name} -n {namespace} --context {context} -o yaml"),
            "shows it",
        )
    }

    /// The pods' name for the new volume.
    pub(super) async fn forward(&self, volume: &KeptVolume) -> Result<()> {
        let (name, filled) = (volume.name(), volume.filled_name());
        self.vacate(name, &volume.old).await?;
        self.vacate(filled, &volume.new).await?;
        self.give(&volume.renewed(), &volume.new, [name, filled])
            .await
    }

    /// The pods' name for the old volume, and the new one's own name back. A new volume that is gone is no reason to keep
    /// the old one waiting: false then.
    pub(super) async fn back(&self, volume: &KeptVolume) -> Result<bool> {
        let (name, filled) = (volume.name(), volume.filled_name());
        let new = get_opt(&self.volumes(), &volume.new.volume).await?;
        let there = match &new {
            Some(new) => new.metadata.uid.as_ref() == Some(&volume.new.uid),
            None => false,
        };
        if there {
            self.vacate(name, &volume.new).await?;
        } else {
            self.drop_lost(name, &volume.new, new.is_some()).await?;
        }
        self.give(&volume.claim, &volume.old, [name, filled])
            .await?;
        if there {
            self.give(&volume.filled, &volume.new, [name, filled])
                .await?;
        }
        Ok(there)
    }

    /// Deletes a claim whose volume is gone; not one that has another volume of the same name, whose data would go.
    async fn drop_lost(&self, claim: &str, held: &Held, another: bool) -> Result<()> {
        if let Some(found) = get_opt(&self.claims(), claim).await?
            && volume_of(&found) == Some(held.volume.as_str())
        {
            if another {
                let why = format!(
                    "{} has {}, which was deleted and made again since: delete that claim yourself if its data may go, then give the command again",
                    self.claim(claim),
                    shown(&held.volume)
                );
                bail!(Failure::new(Kind::Blocked, why));
            }
            delete(&self.claims(), &found, &self.claim(claim)).await?;
        }
        Ok(())
    }
}
