//! Changes and deletions that hold for an object as it was seen, and for no other.
use std::time::Duration;

use anyhow::Result;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::{
    adapters::kube::{KubeError, Object, Wait, delete_as_seen, get_opt, merge_patch},
    engine::{Failure, Kind},
};

/// Somebody who changes an object between our look and our patch this often is at war with us.
pub(super) const TRIES: u32 = 10;
/// An object that nothing holds is gone in seconds; a volume may be slow to be let go of.
const GONE: Duration = Duration::from_mins(3);

/// Changes an object by what `plan` makes of it, as a merge patch; a look and its change are one, or are done again. None
/// when it is not there.
pub(super) async fn change<K: Object>(
    api: &Api<K>,
    name: &str,
    plan: impl Fn(&K) -> Result<Option<Value>> + Send + Sync,
) -> Result<Option<K>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(seen) = get_opt(api, name).await? else {
            return Ok(None);
        };
        let Some(mut patch) = plan(&seen)? else {
            return Ok(Some(seen));
        };
        patch["metadata"]["uid"] = json!(seen.meta().uid);
        patch["metadata"]["resourceVersion"] = json!(seen.meta().resource_version);
        match merge_patch(api, name, &patch).await {
            Ok(changed) => return Ok(Some(changed)),
            Err(KubeError::Conflict { .. }) if tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The end of so many tries.
pub(super) fn restless(object: &str) -> Failure {
    let why = format!(
        "{object} is changed again and again by somebody else: find out by whom and stop that, then give the command again"
    );
    Failure::new(Kind::Blocked, why)
}

/// Deletes an object as it was seen and waits until it is gone. Its dependents stay. False when it was changed since.
pub(super) async fn delete<K: Object>(
    api: &Api<K>,
    seen: &K,
    object: &str,
) -> Result<bool, KubeError> {
    let what = format!("{object} to be gone");
    let params = DeleteParams::orphan();
    match delete_as_seen(api, seen.meta(), params, &Wait::new(&what, GONE)).await {
        Ok(_) => Ok(true),
        Err(KubeError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
