//! A workload of ours is taken away again, and its claims stay.
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::DynamicObject};

use super::{Place, kept_claims, ready};
use crate::{
    adapters::kube::{Look, Selector, Wait, delete_and_wait, get_opt, wait_for_all},
    marks::Belongs,
    plan::Workload,
};

/// Pods end within their grace; a node may be slow to say so.
const GONE: Duration = Duration::from_mins(10);

/// Deletes a workload that this migration has made, with its pods, and waits until all of them are gone. One that
/// somebody else has made is left alone, and so are its pods.
pub(super) async fn take_down(
    place: &Place,
    belongs: &Belongs,
    workload: &Workload,
    claims: impl Iterator<Item = &String>,
) -> Result<()> {
    let resource = ready::resource(workload);
    let api: Api<DynamicObject> =
        Api::namespaced_with(place.cluster.client(), &place.namespace, &resource);
    let (name, object) = (
        workload.name(),
        place.object(workload.kind(), workload.name()),
    );
    if let Some(found) = get_opt(&api, name).await? {
        if !belongs.made(&found.metadata) {
            return Ok(());
        }
        if matches!(workload, Workload::StatefulSet(_)) {
            kept_claims::keep(place, &api, &found, claims).await?;
        }
        let what = format!("{object} to be gone");
        let uid = found.metadata.uid.as_deref();
        delete_and_wait(&api, name, uid, &Wait::new(&what, GONE)).await?;
    }
    // Also after an undo that was cut off behind the delete.
    let what = format!("the pods of {object} to be gone");
    let wait = Wait::new(&what, GONE);
    wait_for_all(
        &place.api::<Pod>(),
        &Selector::all(),
        &wait,
        |pods: &[Pod]| {
            let left = pods
                .iter()
                .filter(|pod| ready::is_of_workload(pod, workload));
            let left: Vec<_> = left.filter_map(|pod| pod.metadata.name.clone()).collect();
            if left.is_empty() {
                Look::Done
            } else {
                Look::NotYet(left.join(", "))
            }
        },
    )
    .await?;
    Ok(())
}
