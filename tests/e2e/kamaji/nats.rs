//! A tenant on NATS, and what Kamaji's Job cannot do there.
use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    place::stand_in_image,
    store::{Kind, Store},
    stuck::{is_stuck_until_taken_back, until_job_fails},
    tenant::Tenant,
};

/// Copies as the Job does, without the controller.
fn copy(tenant: &Tenant, to: &Store) -> Result<()> {
    let name = format!("by-hand-{}", tenant.schema()?);
    let mine = format!("{}/{}", tenant.namespace.name, tenant.name);
    tenant.place.system.apply(&[json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "serviceAccountName": "kamaji-controller-manager", "restartPolicy": "Never",
            "containers": [{"name": "copy", "image": stand_in_image()?, "args": [
                "migrate", format!("--tenant-control-plane={mine}"),
                format!("--target-datastore={}", to.name),
            ]}],
        },
    })])?;
    to.finish_copy(&name)
}

/// The revision of a ConfigMap.
fn revision(tenant: &Tenant, name: &str) -> Result<u64> {
    let query = "jsonpath={.metadata.resourceVersion}";
    let text = tenant.until("a revision", || {
        Ok(tenant
            .kubectl(&["get", "configmap", name, "-o", query])
            .ok())
    })?;
    text.parse().context("no number")
}

#[test]
fn the_job_makes_no_bucket_in_nats_and_resets_revisions() -> Result<()> {
    let [silver, gold] = Kind::Nats.both()?;
    let tenant = Tenant::new("nats", &silver.name)?;
    tenant.is_served_from(&silver.name)?;
    // kine's user is the store's own.
    ensure!(tenant.setting("DB_USER")? == "root");
    tenant.write("before")?;
    let schema = tenant.schema()?;
    let missing = format!("bucket {schema} not found");
    tenant.wish(&gold.name)?;
    until_job_fails(&tenant, &missing)?;
    is_stuck_until_taken_back(&tenant, &silver.name)?;

    gold.make_bucket(&schema)?;
    let origin = revision(&tenant, "before")?;
    tenant.move_by(&gold.name, || copy(&tenant, gold))?;
    tenant.is_served_from(&gold.name)?;
    let now = revision(&tenant, "before")?;
    ensure!(now < origin, "at {now}, where it was at {origin}");
    tenant.write("after")?;

    // To clean the target first is to delete its bucket, and then there is none.
    let clean = json!({"kamaji.clastix.io/cleanup-prior-migration": "true"});
    tenant
        .patch(&json!({"metadata": {"annotations": clean}, "spec": {"dataStore": silver.name}}))?;
    until_job_fails(&tenant, &missing)?;
    is_stuck_until_taken_back(&tenant, &gold.name)
}
