//! The StatefulSet itself: taken away while it has no pods, and made again.
use anyhow::{Result, bail};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::Value;

use super::{InPlace, change};
use crate::{
    adapters::kube::{KubeError, get_opt},
    engine::{Failure, Kind},
    marks::{IN_PLACE, ORIGINAL},
    steps::freeze::Frozen,
};

/// Which StatefulSet has the name now.
#[derive(Clone, Debug)]
pub(super) enum Stands {
    /// None.
    Nothing,
    /// The one that was frozen.
    Frozen(Box<DynamicObject>),
    /// The one that this run made with the new claim templates.
    New(Box<DynamicObject>),
    /// The one that this run made again as it was.
    Old(Box<DynamicObject>),
    /// Somebody else's.
    Foreign,
}

impl InPlace {
    /// StatefulSets as raw JSON: what this program does not know is kept.
    pub(super) fn statefulsets(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<StatefulSet>(&());
        Api::namespaced_with(
            self.place.cluster.client(),
            &self.place.namespace,
            &resource,
        )
    }

    /// Which StatefulSet has the name now.
    pub(super) async fn stands(&self, frozen: &Frozen) -> Result<Stands> {
        let found = get_opt(&self.statefulsets(), &self.name).await?;
        Ok(found.map_or(Stands::Nothing, |found| self.told(found, frozen)))
    }

    fn told(&self, found: DynamicObject, frozen: &Frozen) -> Stands {
        let annotations = found.metadata.annotations.as_ref();
        let annotation = |key: &str| annotations.and_then(|all| all.get(key));
        if annotation(IN_PLACE) == Some(&self.belongs.run) {
            return Stands::New(Box::new(found));
        }
        if found.metadata.uid.as_ref() == Some(&frozen.uid) {
            return Stands::Frozen(Box::new(found));
        }
        // Made again with the note that it had, which names another uid until it is written anew.
        let note: Option<Value> =
            annotation(ORIGINAL).and_then(|text| serde_json::from_str(text).ok());
        if note.is_some_and(|note| note["run"] == self.belongs.run.as_str()) {
            return Stands::Old(Box::new(found));
        }
        Stands::Foreign
    }

    /// Whether the swap has begun in the world: the StatefulSet that was frozen has made room, or is about to.
    pub(super) async fn is_swapped(&self, frozen: &Frozen) -> Result<bool> {
        Ok(match self.stands(frozen).await? {
            Stands::Frozen(found) => found.metadata.deletion_timestamp.is_some(),
            _ => true,
        })
    }

    /// Why a StatefulSet that is frozen, or was made again so, is not frozen any more.
    pub(super) async fn is_awake(
        &self,
        found: &DynamicObject,
        frozen: &Frozen,
    ) -> Result<Option<String>> {
        let uid = found.metadata.uid.clone().unwrap_or_default();
        let now = if uid == frozen.uid {
            frozen.clone()
        } else {
            // Its spec is as it was made as long as this number is the first.
            Frozen {
                uid,
                generation: 1,
                ..frozen.clone()
            }
        };
        Ok(self.freeze.watched().broken(&now).await?)
    }

    /// Takes it away while it has no pods. Its revisions and claims stay. False when it was changed since.
    pub(super) async fn take_away(&self, seen: &DynamicObject) -> Result<bool> {
        let pods = |part: &str, field: &str| seen.data[part][field].as_u64().unwrap_or(0);
        if pods("spec", "replicas") > 0 || pods("status", "replicas") > 0 {
            let why = format!(
                "{} has pods again: scale it to 0, then give the command again",
                self.object()
            );
            bail!(Failure::new(Kind::Blocked, why));
        }
        Ok(change::delete(&self.statefulsets(), seen, &self.object()).await?)
    }

    /// Makes it again, frozen as it was, and notes on it what a thaw puts back.
    pub(super) async fn make(&self, wanted: &Value, frozen: &Frozen) -> Result<String> {
        let object: DynamicObject = serde_json::from_value(wanted.clone())?;
        let new = wanted["metadata"]["annotations"][IN_PLACE].is_string();
        let made = self
            .statefulsets()
            .create(&PostParams::default(), &object)
            .await;
        let made = match made.map_err(KubeError::from) {
            Ok(made) => made,
            Err(error @ (KubeError::AlreadyExists { .. } | KubeError::Ambiguous { .. })) => {
                match self.stands(frozen).await? {
                    Stands::New(found) if new => *found,
                    Stands::Old(found) if !new => *found,
                    _ => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        self.freeze.note_again(frozen).await?;
        Ok(made.metadata.uid.unwrap_or_default())
    }

    /// The refusal to touch what somebody else made.
    pub(super) fn foreign(&self) -> Failure {
        let (context, namespace) = (self.place.cluster.context(), &self.place.namespace);
        let why = format!(
            "{} was made by somebody else meanwhile: all volumes are kept; delete it with its pods (kubectl delete statefulset {} -n {namespace} --context {context}), then give the command again",
            self.object(),
            self.name
        );
        Failure::new(Kind::Blocked, why)
    }
}
