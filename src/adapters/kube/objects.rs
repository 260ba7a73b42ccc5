//! Objects of any kind: created once, changed only as seen, deleted until gone.
use std::fmt::Debug;

use http::{Method, Request, header::CONTENT_TYPE};
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    KubeError, Look, MANAGED_BY_LABEL, ObjectName, Selector, Wait, action::Action, wait_for,
};

/// Anything that an `Api` can carry: a typed object or a `DynamicObject` of raw JSON.
pub trait Object:
    Resource + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
}
impl<K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static> Object
    for K
{
}

/// Objects per page: as many as kubectl asks for.
const PAGE: u32 = 500;

/// A list that expires this often is longer than the server can keep it.
const LIST_RESTARTS: u32 = 5;

/// A create whose fate is unknown this often, and that left nothing, is not tried again.
const CREATE_TRIES: u32 = 4;

/// Somebody else who changes an object this often while we scale it does not want it scaled.
const SCALE_TRIES: u32 = 5;

/// What a create found.
#[derive(Clone, Debug)]
pub enum Created<K> {
    /// It was made by this call.
    New(K),
    /// It was there already and carries our own labels: an earlier try, or an earlier run.
    Ours(K),
}

impl<K> Created<K> {
    /// The object, whoever made it.
    pub fn into_object(self) -> K {
        match self {
            Self::New(object) | Self::Ours(object) => object,
        }
    }
}

/// The object, or `None` when it (or its whole kind) is not there.
pub async fn get_opt<K: Object>(api: &Api<K>, name: &str) -> Result<Option<K>, KubeError> {
    match api.get(name).await.map_err(KubeError::from) {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates the object, or takes the one that is there if it is ours: it carries the same value of
/// each of our labels that the wanted one carries. A foreign object is `AlreadyExists`; an object
/// without our labels is never taken.
pub async fn create_owned<K: Object>(api: &Api<K>, wanted: &K) -> Result<Created<K>, KubeError> {
    let name = wanted.name_any();
    let mut tries = 0;
    let (refused, found) = loop {
        tries += 1;
        let created = api.create(&PostParams::default(), wanted).await;
        let refused = match created.map_err(KubeError::from) {
            Ok(object) => return Ok(Created::New(object)),
            Err(error @ (KubeError::AlreadyExists { .. } | KubeError::Ambiguous { .. })) => error,
            Err(error) => return Err(error),
        };
        if let Some(found) = get_opt(api, &name).await? {
            break (refused, found);
        }
        // Read after the fact: an ambiguous create left nothing, or the object in the way is gone.
        if tries == CREATE_TRIES {
            return Err(refused);
        }
    };
    let foreign = || {
        let object = Box::new(ObjectName {
            name: Some(name.clone()),
            ..ObjectName::from_path(api.resource_url())
        });
        match refused {
            KubeError::AlreadyExists { tries, .. } => KubeError::AlreadyExists { object, tries },
            _ => KubeError::AlreadyExists { object, tries: 1 },
        }
    };
    if !carries_our_labels(wanted.meta(), found.meta()) {
        return Err(foreign());
    }
    if found.meta().deletion_timestamp.is_some() {
        return Err(KubeError::Conflict {
            action: Box::new(request_name(api, "create", &name)),
            message: "an earlier one of the same name is still being deleted".to_owned(),
            tries: 1,
        });
    }
    Ok(Created::Ours(found))
}

fn carries_our_labels(wanted: &ObjectMeta, found: &ObjectMeta) -> bool {
    let ours = |key: &str| key == MANAGED_BY_LABEL || key.starts_with("kubectl-migrate/");
    let wanted: Vec<_> = wanted
        .labels
        .iter()
        .flatten()
        .filter(|(key, _)| ours(key))
        .collect();
    let found = found.labels.as_ref();
    !wanted.is_empty()
        && wanted
            .iter()
            .all(|(key, value)| found.and_then(|labels| labels.get(*key)) == Some(*value))
}

/// What a delete found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was there and is gone now.
    Gone,
    /// It was not there.
    WasAbsent,
}

/// Deletes the object, only if it still has this UID, and waits until it is gone.
///
/// An object of the same name but another UID means that the wanted one is gone.
pub async fn delete_and_wait<K: Object>(
    api: &Api<K>,
    name: &str,
    uid: Option<&str>,
    wait: &Wait<'_>,
) -> Result<Deleted, KubeError> {
    let preconditions = uid.map(|uid| Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    });
    let params = DeleteParams {
        preconditions,
        ..DeleteParams::background()
    };
    match api.delete(name, &params).await.map_err(KubeError::from) {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(Deleted::WasAbsent),
        Err(conflict @ KubeError::Conflict { .. }) => {
            return match (uid, get_opt(api, name).await?) {
                (_, None) => Ok(Deleted::Gone),
                (Some(uid), Some(found)) if found.meta().uid.as_deref() != Some(uid) => {
                    Ok(Deleted::WasAbsent)
                }
                _ => Err(conflict),
            };
        }
        Err(error) => return Err(error),
    }
    wait_gone(api, name, uid, wait).await?;
    Ok(Deleted::Gone)
}

/// Deletes the object as it was seen, and waits until it is gone: `Conflict` when it was changed since.
pub async fn delete_as_seen<K: Object>(
    api: &Api<K>,
    seen: &ObjectMeta,
    params: DeleteParams,
    wait: &Wait<'_>,
) -> Result<Deleted, KubeError> {
    let name = seen.name.as_deref().unwrap_or_default();
    let uid = seen.uid.as_deref();
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: seen.uid.clone(),
            resource_version: seen.resource_version.clone(),
        }),
        ..params
    };
    match api.delete(name, &params).await.map_err(KubeError::from) {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(Deleted::WasAbsent),
        Err(conflict @ KubeError::Conflict { .. }) => match get_opt(api, name).await? {
            // By a first try, whose answer was lost; or by somebody else, which is as good.
            Some(found)
                if found.meta().uid.as_deref() == uid
                    && found.meta().deletion_timestamp.is_some() => {}
            Some(found) if found.meta().uid.as_deref() == uid => return Err(conflict),
            _ => return Ok(Deleted::Gone),
        },
        Err(error) => return Err(error),
    }
    wait_gone(api, name, uid, wait).await?;
    Ok(Deleted::Gone)
}

async fn wait_gone<K: Object>(
    api: &Api<K>,
    name: &str,
    uid: Option<&str>,
    wait: &Wait<'_>,
) -> Result<(), KubeError> {
    wait_for(api, name, wait, |found: Option<&K>| match found {
        None => Look::Done,
        Some(found) if uid.is_some() && found.meta().uid.as_deref() != uid => Look::Done,
        Some(found) => Look::NotYet(what_holds(found.meta())),
    })
    .await?;
    Ok(())
}

fn what_holds(meta: &ObjectMeta) -> String {
    match meta.finalizers.as_deref() {
        Some(finalizers) if !finalizers.is_empty() => {
            format!("being deleted, held by {}", finalizers.join(", "))
        }
        _ if meta.deletion_timestamp.is_some() => "being deleted".to_owned(),
        _ => "still there".to_owned(),
    }
}

/// One operation of a JSON patch; `Test` makes the patch apply only to what was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum JsonPatchOperation {
    /// The value must be equal, else the whole patch is refused (`Invalid`).
    Test {
        /// JSON pointer.
        path: String,
        /// Expected value.
        value: Value,
    },
    /// Adds, or replaces what is there.
    Add {
        /// JSON pointer.
        path: String,
        /// New value.
        value: Value,
    },
    /// Replaces what is there.
    Replace {
        /// JSON pointer.
        path: String,
        /// New value.
        value: Value,
    },
    /// Removes what is there.
    Remove {
        /// JSON pointer.
        path: String,
    },
}

/// A JSON pointer from plain names, escaped (`a/b` becomes `a~1b`).
#[must_use]
pub fn pointer(names: &[&str]) -> String {
    names.iter().fold(String::new(), |path, name| {
        path + "/" + &name.replace('~', "~0").replace('/', "~1")
    })
}

/// Applies a JSON patch.
///
/// A patch whose answer was lost is sent again; its own `Test` may then fail on its own change, so on
/// `Invalid` look at the object before giving up.
pub async fn json_patch<K: Object>(
    api: &Api<K>,
    name: &str,
    operations: &[JsonPatchOperation],
) -> Result<K, KubeError> {
    let unbuildable = |cause: String| KubeError::Other {
        what: format!("cannot build the patch of {name}"),
        cause,
    };
    let body = serde_json::to_vec(operations).map_err(|error| unbuildable(error.to_string()))?;
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("{}/{name}?", api.resource_url()))
        .header(CONTENT_TYPE, "application/json-patch+json")
        .body(body)
        .map_err(|error| unbuildable(error.to_string()))?;
    Ok(api.clone().into_client().request(request).await?)
}

/// Applies a JSON merge patch: may be sent twice without harm.
pub async fn merge_patch<K: Object>(
    api: &Api<K>,
    name: &str,
    patch: &Value,
) -> Result<K, KubeError> {
    Ok(api
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?)
}

/// Replaces the object as it was read: `Conflict` when somebody changed it since.
///
/// When the answer of a first try was lost, the object is read back: if it says what we sent, it was us.
pub async fn replace<K: Object>(api: &Api<K>, wanted: &K) -> Result<K, KubeError> {
    let name = wanted.name_any();
    match api
        .replace(&name, &PostParams::default(), wanted)
        .await
        .map_err(KubeError::from)
    {
        Err(conflict @ KubeError::Conflict { tries: 2.., .. }) => {
            match get_opt(api, &name).await? {
                Some(found) if says_the_same(wanted, &found) => Ok(found),
                _ => Err(conflict),
            }
        }
        other => other,
    }
}

/// Everything that we sent is in the answer, but for what the server keeps itself.
fn says_the_same<K: Serialize>(wanted: &K, found: &K) -> bool {
    let plain = |object: &K| {
        let mut value = serde_json::to_value(object).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.remove("status");
        }
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for kept_by_server in ["resourceVersion", "generation", "managedFields"] {
                meta.remove(kept_by_server);
            }
        }
        value
    };
    contains(&plain(found), &plain(wanted))
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len()
                && whole
                    .iter()
                    .zip(part)
                    .all(|(whole, part)| contains(whole, part))
        }
        _ => whole == part,
    }
}

/// All objects that match, page by page; begins again when a page has expired.
pub async fn list_all<K: Object>(api: &Api<K>, selector: &Selector) -> Result<Vec<K>, KubeError> {
    Ok(list_with_version(api, selector).await?.0)
}

/// The objects and the resource version from which a watch goes on.
pub(super) async fn list_with_version<K: Object>(
    api: &Api<K>,
    selector: &Selector,
) -> Result<(Vec<K>, String), KubeError> {
    let mut restarts = 0;
    'from_the_start: loop {
        let mut objects = Vec::new();
        let mut params: ListParams = selector.list_params().limit(PAGE);
        loop {
            let page = match api.list(&params).await.map_err(KubeError::from) {
                Ok(page) => page,
                Err(KubeError::Expired { .. }) if restarts < LIST_RESTARTS => {
                    restarts += 1;
                    continue 'from_the_start;
                }
                Err(error) => return Err(error),
            };
            objects.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok((objects, page.metadata.resource_version.unwrap_or_default())),
            }
        }
    }
}

/// Sets the number of replicas and gives back the number before.
pub async fn scale<K: Object>(api: &Api<K>, name: &str, replicas: i32) -> Result<i32, KubeError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut scale: Scale = api.get_scale(name).await?;
        let spec = scale.spec.get_or_insert_default();
        let before = spec.replicas.unwrap_or_default();
        if before == replicas {
            return Ok(before);
        }
        spec.replicas = Some(replicas);
        match api
            .replace_scale(name, &PostParams::default(), &scale)
            .await
            .map_err(KubeError::from)
        {
            Ok(_) => return Ok(before),
            // Ours, by a try whose answer was lost: the number before is still the one that we read.
            Err(KubeError::Conflict { tries: 2.., .. })
                if replicas_of(api, name).await? == replicas =>
            {
                return Ok(before);
            }
            Err(KubeError::Conflict { .. }) if tries < SCALE_TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

async fn replicas_of<K: Object>(api: &Api<K>, name: &str) -> Result<i32, KubeError> {
    let scale: Scale = api.get_scale(name).await?;
    Ok(scale
        .spec
        .and_then(|spec| spec.replicas)
        .unwrap_or_default())
}

fn request_name<K: Object>(api: &Api<K>, verb: &str, name: &str) -> Action {
    let object = ObjectName {
        name: Some(name.to_owned()),
        ..ObjectName::from_path(api.resource_url())
    };
    Action {
        verb: verb.to_owned(),
        object,
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
