//! What can be known of a move in place before anything is begun. Changes nothing.
use anyhow::Result;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::DynamicObject;

use super::{
    InPlace,
    bind::volume_of,
    note::{policy, shown},
};
use crate::{
    adapters::kube::get_opt,
    engine::{Check, Verdict},
    plan::Quantity,
    steps::inventory::Volume,
};

/// Kubernetes' own, which keeps a claim while a pod uses it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";

impl InPlace {
    /// Whether everything can be taken apart and put together again.
    pub(super) async fn checks(&self) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        if let Some(found) = get_opt(&self.statefulsets(), &self.name).await? {
            checks.extend(self.of_workload(&found));
        }
        for volume in &self.inventory.volumes {
            checks.extend(self.of_volume(volume).await?);
        }
        let blocks = checks.iter().any(|check| check.verdict == Verdict::Block);
        if !blocks {
            let count = self.inventory.volumes.len();
            checks.push(Check::pass(
                "in place",
                self.object(),
                format!("{count} claims can be given other volumes, and given their own back"),
            ));
        }
        Ok(checks)
    }

    fn of_workload(&self, found: &DynamicObject) -> Vec<Check> {
        let mut checks = Vec::new();
        let finalizers = found.metadata.finalizers.clone().unwrap_or_default();
        if !finalizers.is_empty() {
            checks.push(Check::block(
                "in place",
                self.object(),
                format!(
                    "has the finalizers {}, so that it cannot be deleted and made again",
                    finalizers.join(", ")
                ),
                "take them off, or stop what puts them there",
            ));
        }
        // Scaled to 0 it keeps them: the freeze sees to that.
        let policy = &found.data["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"];
        if policy == "Delete" {
            let (context, namespace) = (self.place.cluster.context(), &self.place.namespace);
            checks.push(Check::block(
                "in place",
                self.object(),
                "whenDeleted is Delete: to get other claim templates it has to be deleted, and would take its claims along",
                format!(
                    "kubectl patch statefulset {} -n {namespace} --context {context} --type merge -p '{}'",
                    self.name, r#"{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain"}}}"#
                ),
            ));
        }
        checks
    }

    async fn of_volume(&self, volume: &Volume) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        let object = self.claim(&volume.source);
        if let Some(claim) = get_opt(&self.claims(), &volume.source).await? {
            checks.extend(of_claim(&object, &claim));
            // One without a volume is not bound, which is told by the step that reads it.
            if let Some(on) = volume_of(&claim) {
                match get_opt(&self.volumes(), on).await? {
                    None => {
                        checks.push(Check::block("in place", object, "has lost its volume", ""));
                    }
                    Some(found) => checks.extend(self.of_old(&found)?),
                }
            }
        }
        if let Some(found) = get_opt(&self.claims(), &volume.target).await?
            && !self.belongs.made(&found.metadata)
        {
            checks.push(Check::block(
                "in place",
                self.claim(&volume.target),
                "exists already, and was not made by this migration",
                "delete it if it holds nothing, or give the migration another name",
            ));
        }
        Ok(checks)
    }

    fn of_old(&self, volume: &PersistentVolume) -> Result<Vec<Check>> {
        let object = shown(volume.metadata.name.as_deref().unwrap_or_default());
        let mut checks = Vec::new();
        if volume.metadata.deletion_timestamp.is_some() {
            checks.push(Check::block(
                "in place",
                &object,
                "is being deleted",
                "copy its data before it is gone",
            ));
        }
        if let Some(by) = self.kept_by_other(volume)? {
            checks.push(Check::block(
                "in place",
                object,
                format!("is kept by {by}"),
                "end that one first, with cleanup or rollback",
            ));
        } else if policy(volume) == "Recycle" {
            checks.push(Check::block(
                "in place",
                object,
                "its reclaim policy is Recycle",
                "set it to Retain",
            ));
        }
        Ok(checks)
    }
}

fn of_claim(object: &str, claim: &DynamicObject) -> Vec<Check> {
    let mut checks = Vec::new();
    let finalizers = claim.metadata.finalizers.iter().flatten();
    let foreign: Vec<_> = finalizers
        .filter(|one| *one != PROTECTION)
        .cloned()
        .collect();
    if !foreign.is_empty() {
        checks.push(Check::block(
            "in place",
            object,
            format!(
                "has the finalizers {}, so that it cannot be deleted and made again",
                foreign.join(", ")
            ),
            "wait until what uses it is done, or take them off",
        ));
    }
    let bytes = |value: &serde_json::Value| {
        let quantity: Option<Quantity> = value.as_str().and_then(|text| text.parse().ok());
        quantity.map(|quantity| quantity.bytes())
    };
    let asked = bytes(&claim.data["spec"]["resources"]["requests"]["storage"]);
    let has = bytes(&claim.data["status"]["capacity"]["storage"]);
    if let (Some(asked), Some(has)) = (asked, has)
        && asked > has
    {
        checks.push(Check::block(
            "in place",
            object,
            format!("asks for {asked} bytes and has {has}: it is being resized"),
            "wait until that is done",
        ));
    }
    checks
}
