//! Whether the source is still there as it was when the migration began: the way back, and at times the only
//! other copy.
use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::api::{Api, ApiResource, DynamicObject, ObjectMeta};

use super::{Inventory, Place, claims::uses};
use crate::adapters::kube::{KubeError, Selector, get_opt, list_all};

/// A part of the source, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `statefulset`, `deployment` or `persistentvolumeclaim`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The uid that it had; empty where that was not written down.
    pub uid: String,
    /// How it is now.
    pub now: Now,
}

/// How a part of the source is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Now {
    /// As it was.
    There,
    /// Not there.
    Gone,
    /// Another one of the same name.
    Replaced,
    /// On its way out.
    Leaving,
    /// A claim that has no volume, and its phase.
    Unbound(String),
}

impl Part {
    /// What is wrong with it, for people; none where nothing is.
    #[must_use]
    pub fn why(&self, source: &Place) -> Option<String> {
        let object = source.object(self.kind, &self.name);
        match &self.now {
            Now::There => None,
            Now::Gone => Some(format!("{object} is gone")),
            Now::Replaced => Some(format!(
                "{object} is another one of the same name: it was deleted and made again"
            )),
            Now::Leaving => Some(format!("{object} is being deleted")),
            Now::Unbound(phase) => Some(format!("{object} has lost its volume: it is {phase}")),
        }
    }

    fn of(kind: &'static str, name: &str, uid: &str, found: Option<&ObjectMeta>) -> Self {
        let now = match found {
            None => Now::Gone,
            Some(meta) if !uid.is_empty() && meta.uid.as_deref() != Some(uid) => Now::Replaced,
            Some(meta) if meta.deletion_timestamp.is_some() => Now::Leaving,
            Some(_) => Now::There,
        };
        Self {
            kind,
            name: name.to_owned(),
            uid: uid.to_owned(),
            now,
        }
    }
}

impl Inventory {
    /// The source as it is now: its workload, where it has one, then its claims. `frozen` is the uid of the
    /// workload that was frozen; before that, one that was made again is as good.
    pub async fn source_now(
        &self,
        source: &Place,
        frozen: Option<&str>,
    ) -> Result<Vec<Part>, KubeError> {
        let mut parts = Vec::new();
        if let Some(name) = self.workload["metadata"]["name"].as_str() {
            let (kind, resource) = if self.workload["kind"] == "Deployment" {
                ("deployment", ApiResource::erase::<Deployment>(&()))
            } else {
                ("statefulset", ApiResource::erase::<StatefulSet>(&()))
            };
            let api: Api<DynamicObject> =
                Api::namespaced_with(source.cluster.client(), &source.namespace, &resource);
            let found = get_opt(&api, name).await?;
            let meta = found.as_ref().map(|object| &object.metadata);
            parts.push(Part::of(kind, name, frozen.unwrap_or_default(), meta));
        }
        let claims = list_all(&source.api::<PersistentVolumeClaim>(), &Selector::all()).await?;
        let claims: BTreeMap<_, _> = claims
            .iter()
            .filter_map(|claim| Some((claim.metadata.name.as_deref()?, claim)))
            .collect();
        for volume in &self.volumes {
            let claim = claims.get(volume.source.as_str());
            let meta = claim.map(|claim| &claim.metadata);
            let mut part = Part::of("persistentvolumeclaim", &volume.source, &volume.uid, meta);
            let phase = claim
                .and_then(|claim| claim.status.as_ref()?.phase.as_deref())
                .unwrap_or("Pending");
            if part.now == Now::There && phase != "Bound" {
                part.now = Now::Unbound(phase.to_owned());
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// The pods that use one of the source's claims now, as `pod shop/other uses data-db-0`.
    pub async fn users_now(&self, source: &Place) -> Result<Vec<String>, KubeError> {
        let pods = list_all(&source.api::<Pod>(), &Selector::all()).await?;
        let mut users = Vec::new();
        for pod in &pods {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let used = self
                .volumes
                .iter()
                .filter(|volume| uses(pod, &volume.source));
            let object = source.object("pod", name);
            users.extend(used.map(|volume| format!("{object} uses {}", volume.source)));
        }
        Ok(users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_object_is_the_way_back() {
        let meta = |uid: &str| ObjectMeta {
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        };
        let now = |uid, found: Option<&ObjectMeta>| Part::of("statefulset", "db", uid, found).now;
        assert_eq!(now("u1", Some(&meta("u1"))), Now::There);
        assert_eq!(now("", Some(&meta("u2"))), Now::There);
        assert_eq!(now("u1", Some(&meta("u2"))), Now::Replaced);
        assert_eq!(now("u1", None), Now::Gone);
        let leaving = ObjectMeta {
            deletion_timestamp: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                jiff::Timestamp::UNIX_EPOCH,
            )),
            ..meta("u1")
        };
        assert_eq!(now("u1", Some(&leaving)), Now::Leaving);
    }
}
