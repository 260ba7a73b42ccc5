//! What others want of the holder: how fast it may copy.
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::{
    super::{Cluster, KubeError, replace},
    LIMIT_ANNOTATION, ROUNDS,
};

/// What stands on a Lease about the limit, as it was written.
#[must_use]
pub fn limit_of(lease: &Lease) -> Option<String> {
    lease
        .metadata
        .annotations
        .as_ref()?
        .get(LIMIT_ANNOTATION)
        .cloned()
}

/// Writes a limit on a Lease, whoever holds it: the holder reads it when it renews. It takes no right that a run does
/// not have, as the Lease is replaced and not patched.
pub async fn set_limit(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    text: &str,
) -> Result<(), KubeError> {
    let api: Api<Lease> = cluster.namespaced(namespace);
    for _ in 0..ROUNDS {
        let mut lease = api.get(name).await?;
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.insert(LIMIT_ANNOTATION.to_owned(), text.to_owned());
        match replace(&api, &lease).await {
            Ok(_) => return Ok(()),
            // The holder renewed it meanwhile.
            Err(KubeError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(KubeError::Other {
        what: format!("cannot write to lease {namespace}/{name}"),
        cause: "others keep changing it; see who does with kubectl get lease -o yaml".to_owned(),
    })
}
