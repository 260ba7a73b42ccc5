//! Whether the claims at the target are still those that were verified.
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{Place, inventory::Volume, verify::Verified};
use crate::{
    adapters::kube::{KubeError, get_opt},
    engine::Check,
};

/// The uids of the target's claims, in the order of the volumes; empty for one that is gone.
pub(super) async fn uids(target: &Place, volumes: &[Volume]) -> Result<Vec<String>, KubeError> {
    let all = volumes.iter().map(|volume| uid(target, &volume.target));
    let uids = try_join_all(all).await?;
    Ok(uids.into_iter().map(Option::unwrap_or_default).collect())
}

async fn uid(target: &Place, claim: &str) -> Result<Option<String>, KubeError> {
    let found = get_opt(&target.api::<PersistentVolumeClaim>(), claim).await?;
    Ok(found.and_then(|claim| claim.metadata.uid))
}

/// A blocking check for each verified claim that is gone, or is another one.
pub(super) async fn lost(target: &Place, verified: &Verified) -> Result<Vec<Check>, KubeError> {
    let looks = verified.volumes.iter().map(|volume| async move {
        let now = uid(target, &volume.target).await?;
        let evidence = match now {
            // An older version did not write it down.
            _ if volume.target_uid.is_empty() => return Ok::<_, KubeError>(None),
            None => "was verified, and is gone with the copy",
            Some(now) if now != volume.target_uid => {
                "is not the one that was verified: that was deleted, and this one made since"
            }
            Some(_) => return Ok(None),
        };
        let object = target.object("persistentvolumeclaim", &volume.target);
        let cure = "roll back, and begin anew: the source still has everything";
        Ok(Some(Check::block("target volume", object, evidence, cure)))
    });
    Ok(try_join_all(looks).await?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        adapters::kube::fake::{Answer, FakeApi, failure},
        steps::verify::VerifiedVolume,
    };

    /// The target's namespace with claim `a` of uid `u1`, and no other.
    fn target() -> Place {
        let fake = FakeApi::new(|seen| {
            if seen.target.contains("/persistentvolumeclaims/a") {
                let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "a", "uid": "u1"}});
                return Answer::Json(200, claim);
            }
            let mut gone = failure("NotFound", "not found");
            gone["code"] = json!(404);
            Answer::Json(404, gone)
        });
        Place {
            cluster: fake.cluster(),
            namespace: "new".to_owned(),
            remote: false,
        }
    }

    fn verified(claim: &str, uid: &str) -> VerifiedVolume {
        serde_json::from_value(json!({
            "source": claim, "target": claim, "target_uid": uid, "entries": 1, "files": 1, "bytes": 1,
            "source_digest": "d", "target_digest": "d", "differences": 0, "findings": [], "seconds": 1.0,
        }))
        .expect("a receipt")
    }

    #[tokio::test]
    async fn a_verified_claim_that_is_gone_or_another_one_is_named() {
        let lost = async |claim: &str, uid: &str| {
            let volumes = vec![verified(claim, uid)];
            let verified = Verified {
                volumes,
                tool: String::new(),
                image: String::new(),
            };
            let lost = lost(&target(), &verified).await;
            let mut lost = lost.expect("an answer");
            lost.pop().map(|check| (check.object, check.evidence))
        };
        assert_eq!(lost("a", "u1").await, None);
        assert_eq!(lost("b", "").await, None, "of an older version");
        let of = |claim: &str, why: &str| {
            let object = format!("persistentvolumeclaim new/{claim}");
            Some((object, why.to_owned()))
        };
        assert_eq!(
            lost("b", "u1").await,
            of("b", "was verified, and is gone with the copy")
        );
        let other = "is not the one that was verified: that was deleted, and this one made since";
        assert_eq!(lost("a", "u0").await, of("a", other));
    }
}
