//! The workload as raw JSON: typed structs would lose fields that this program does not know.
use anyhow::Result;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Pod,
};
use kube::{Api, api::DynamicObject, core::ApiResource};
use serde_json::{Value, json};

use super::{blame, field::get, original::Changed};
use crate::{
    adapters::kube::{JsonPatchOperation, KubeError, Selector, json_patch, list_all},
    engine::{Failure, Kind},
    plan::Workload,
    steps::Place,
};

/// A controller that changes the object between our look and our patch this often in a row is at war with us.
const TRIES: u32 = 10;

/// A workload in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub place: &'a Place,
    pub workload: &'a Workload,
}

impl Subject<'_> {
    pub(super) fn api(&self) -> Api<DynamicObject> {
        let resource = match self.workload {
            Workload::StatefulSet(_) => ApiResource::erase::<StatefulSet>(&()),
            Workload::Deployment(_) => ApiResource::erase::<Deployment>(&()),
        };
        Api::namespaced_with(
            self.place.cluster.client(),
            &self.place.namespace,
            &resource,
        )
    }

    /// Its name for people: `statefulset shop/orders-db`.
    pub(super) fn shown(&self) -> String {
        self.place
            .object(self.workload.kind(), self.workload.name())
    }

    /// The kubectl command that acts on it: `kubectl -n shop VERB statefulset/orders-db`.
    pub(super) fn kubectl(&self, verb: &str) -> String {
        let (context, namespace) = (self.place.cluster.context(), &self.place.namespace);
        format!(
            "kubectl --context {context} -n {namespace} {verb} {}",
            self.workload
        )
    }

    /// The object, or `None` when it is not there.
    ///
    /// An API server that has just started may not serve the kind yet: that is an error, and says
    /// nothing about the object.
    pub(super) async fn read(&self) -> Result<Option<DynamicObject>, KubeError> {
        match self
            .api()
            .get(self.workload.name())
            .await
            .map_err(KubeError::from)
        {
            Ok(object) => Ok(Some(object)),
            Err(KubeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All pods of its namespace: whoever uses its volumes may be anybody's.
    pub(super) async fn pods(&self) -> Result<Vec<Pod>, KubeError> {
        list_all(&self.place.api(), &Selector::all()).await
    }

    /// Changes the object by what `plan` makes of it; a look and its change are one, or are done again.
    ///
    /// Where `plan` finds nothing to change, the object is given back as it is.
    pub(super) async fn change(
        &self,
        plan: impl Fn(&DynamicObject) -> Result<Vec<JsonPatchOperation>> + Send + Sync,
    ) -> Result<DynamicObject> {
        let api = self.api();
        let name = self.workload.name();
        let mut tries = 0;
        loop {
            tries += 1;
            let seen = api.get(name).await.map_err(KubeError::from)?;
            let mut operations = plan(&seen)?;
            if operations.is_empty() {
                return Ok(seen);
            }
            let test = JsonPatchOperation::Test {
                path: "/metadata/resourceVersion".to_owned(),
                value: json!(seen.metadata.resource_version),
            };
            operations.insert(0, test);
            match json_patch(&api, name, &operations).await {
                Ok(changed) => return Ok(changed),
                // The test failed (or another write came first), or the server refuses the change itself.
                Err(error @ (KubeError::Invalid { .. } | KubeError::Conflict { .. })) => {
                    let now = api.get(name).await.map_err(KubeError::from)?;
                    let same = now.metadata.resource_version == seen.metadata.resource_version;
                    if same || tries >= TRIES {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A field that somebody else changed while it was ours: who, and what to do.
    pub(super) fn refuse(&self, object: &DynamicObject, changed: &Changed) -> Failure {
        let by = blame::of(&object.metadata, Some(&changed.at));
        let now = shown(changed.now.as_ref());
        let was = shown(changed.was.as_ref());
        let at = changed.at.trim_start_matches('/').replace('/', ".");
        let message = format!(
            "{}: {at} is {now}, set by {by} during the freeze, and was {was} before; nothing was changed: set it to {was} ({}), then run this again",
            self.shown(),
            self.kubectl("edit"),
        );
        Failure::new(Kind::Blocked, message)
    }
}

/// How many pods the spec asks for; Kubernetes' default is one.
pub(super) fn replicas(object: &DynamicObject) -> i64 {
    get(&object.data, "/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1)
}

/// A number of the status; the API leaves out zeros.
pub(super) fn status(object: &DynamicObject, field: &str) -> i64 {
    get(&object.data, &format!("/status/{field}"))
        .and_then(Value::as_i64)
        .unwrap_or(0)
}

/// Whether the controller has seen the spec as it is.
pub(super) fn is_observed(object: &DynamicObject) -> bool {
    object
        .metadata
        .generation
        .is_none_or(|generation| status(object, "observedGeneration") >= generation)
}

/// A value on one line, `absent` for none.
pub(super) fn shown(value: Option<&Value>) -> String {
    /// Enough to recognise a command or a probe.
    const LONGEST: usize = 80;
    let Some(value) = value else {
        return "absent".to_owned();
    };
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain("…".chars()).collect()
}
