//! The claims of a StatefulSet that is about to be deleted, and that are not to go with it.
//!
//! With `whenDeleted: Delete` its controller makes the StatefulSet the owner of its claims, so that the
//! garbage collector deletes them, with the data. The controller takes that back where the policy is
//! `Retain`, but only for pods that are ready, which a target that is rolled back may not have. So the
//! policy is changed first, and when the controller has seen it, what is left of the ownership is removed.
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt, api::DynamicObject};
use serde_json::{Value, json};

use super::Place;
use crate::adapters::kube::{
    JsonPatchOperation, KubeError, Look, Wait, get_opt, json_patch, merge_patch, wait_for,
};

/// A controller that is at work has seen a change in seconds.
const SEEN: Duration = Duration::from_mins(2);
/// Somebody who changes a claim between our look and our patch this often is at war with us.
const TRIES: u32 = 10;

/// Makes these claims independent of the StatefulSet.
pub(super) async fn keep(
    place: &Place,
    api: &Api<DynamicObject>,
    found: &DynamicObject,
    claims: impl Iterator<Item = &String>,
) -> Result<()> {
    let name = found.name_any();
    if deletes(&found.data) {
        let policy = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        let patch = json!({"spec": {"persistentVolumeClaimRetentionPolicy": policy}});
        merge_patch(api, &name, &patch).await?;
    }
    let object = place.object("statefulset", &name);
    let what = format!("the controller of {object} to know that its claims are kept");
    wait_for(api, &name, &Wait::new(&what, SEEN), |object| {
        // An earlier try may have been cut off after the patch, so this is waited for in any case.
        object.map_or(Look::Done, seen)
    })
    .await?;
    let claimed: Api<PersistentVolumeClaim> = place.api();
    for claim in claims {
        disown(&claimed, claim, found).await?;
    }
    Ok(())
}

/// Whether its claims go with it, or with its pods.
pub(super) fn deletes(object: &Value) -> bool {
    let policy = &object["spec"]["persistentVolumeClaimRetentionPolicy"];
    ["whenDeleted", "whenScaled"]
        .iter()
        .any(|when| policy[when] == "Delete")
}

fn seen(object: &DynamicObject) -> Look {
    let observed = object.data["status"]["observedGeneration"].as_i64();
    let generation = object.metadata.generation.unwrap_or_default();
    if deletes(&object.data) {
        Look::NotYet("its policy is Delete".to_owned())
    } else if observed.unwrap_or_default() >= generation {
        Look::Done
    } else {
        Look::NotYet("it has not looked yet".to_owned())
    }
}

/// Takes the StatefulSet and its pods out of the owners of a claim.
async fn disown(
    claims: &Api<PersistentVolumeClaim>,
    name: &str,
    found: &DynamicObject,
) -> Result<(), KubeError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(claim) = get_opt(claims, name).await? else {
            return Ok(());
        };
        let owners = claim.metadata.owner_references.unwrap_or_default();
        let count = owners.len();
        let kept: Vec<_> = owners
            .into_iter()
            .filter(|owner| Some(&owner.uid) != found.metadata.uid.as_ref() && owner.kind != "Pod")
            .collect();
        if kept.len() == count {
            return Ok(());
        }
        let operations = [
            JsonPatchOperation::Test {
                path: "/metadata/resourceVersion".to_owned(),
                value: json!(claim.metadata.resource_version),
            },
            JsonPatchOperation::Replace {
                path: "/metadata/ownerReferences".to_owned(),
                value: json!(kept),
            },
        ];
        match json_patch(claims, name, &operations).await {
            Ok(_) => return Ok(()),
            // The test failed: it was changed in between.
            Err(KubeError::Invalid { .. } | KubeError::Conflict { .. }) if tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use k8s_openapi::api::apps::v1::StatefulSet;
    use kube::api::ApiResource;

    use super::*;
    use crate::adapters::kube::fake::{Answer, FakeApi};

    fn statefulset(when_deleted: &str, observed: u32) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "db", "uid": "s1", "generation": 2},
            "spec": {"persistentVolumeClaimRetentionPolicy":
                {"whenDeleted": when_deleted, "whenScaled": "Retain"}},
            "status": {"observedGeneration": observed},
        })
    }

    fn claim(owners: &Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data-db-0", "resourceVersion": "7", "ownerReferences": owners},
        })
    }

    fn owner(kind: &str, uid: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "name": "o", "uid": uid})
    }

    #[tokio::test]
    async fn the_policy_is_changed_and_seen_before_a_claim_is_disowned() {
        let owners = json!([
            owner("StatefulSet", "s1"),
            owner("Backup", "b1"),
            owner("Pod", "p1")
        ]);
        let state = Arc::new(Mutex::new((statefulset("Delete", 1), claim(&owners))));
        let fake = FakeApi::new(move |seen| {
            let mut state = state.lock().expect("no panic");
            let set = seen.target.contains("/statefulsets/db");
            match (seen.method.as_str(), set) {
                ("PATCH", true) => state.0 = statefulset("Retain", 2),
                ("PATCH", false) => {
                    assert_eq!(state.0, statefulset("Retain", 2), "it would be owned again");
                    assert_eq!(seen.body[0]["value"], "7");
                    state.1 = claim(&seen.body[1]["value"]);
                }
                _ => {}
            }
            Answer::Json(
                200,
                if set {
                    state.0.clone()
                } else {
                    state.1.clone()
                },
            )
        });
        let place = Place {
            cluster: fake.cluster(),
            namespace: "new".to_owned(),
            remote: false,
        };
        let resource = ApiResource::erase::<StatefulSet>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(place.cluster.client(), "new", &resource);
        let found = api.get("db").await.expect("the StatefulSet");
        let claims = ["data-db-0".to_owned()];
        for _ in 0..2 {
            keep(&place, &api, &found, claims.iter())
                .await
                .expect("claims of their own");
        }
        let claim: Api<PersistentVolumeClaim> = place.api();
        let left = claim.get("data-db-0").await.expect("the claim").metadata;
        let left = left.owner_references.unwrap_or_default();
        assert_eq!(json!(left), json!([owner("Backup", "b1")]));
        let patches = fake.targets();
        let patches = patches.iter().filter(|line| line.starts_with("PATCH"));
        assert_eq!(
            patches.count(),
            3,
            "the second time it only looks at the claim"
        );
    }
}
