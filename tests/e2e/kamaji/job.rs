//! A switch by the controller's own Job.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    gate::Stopped,
    place::{GOLD, SILVER},
    tenant::Tenant,
};

/// The arguments of a Job.
fn arguments(job: &Value) -> Value {
    job["spec"]["template"]["spec"]["containers"][0]["args"].clone()
}

pub fn is_complete(tenant: &Tenant) -> Result<Option<Value>> {
    Ok(tenant.found_job()?.filter(|job| {
        let conditions = job["status"]["conditions"].as_array();
        let complete = |one: &Value| one["type"] == "Complete" && one["status"] == "True";
        conditions.is_some_and(|all| all.iter().any(complete))
    }))
}

#[test]
fn a_job_moves_a_tenant_and_stays_behind() -> Result<()> {
    let brass = Stopped::new("brass")?;
    let tenant = Tenant::new("by-job", SILVER)?;
    tenant.write("before")?;
    tenant.wish(brass.name())?;
    // It cannot be over before it is seen.
    tenant.until("Migrating", || {
        Ok((tenant.phase()? == "Migrating").then_some(()))
    })?;
    brass.start()?;
    tenant.until_ready_on(brass.name())?;
    tenant.is_served_from(brass.name())?;
    tenant.until("the thaw", || {
        Ok((!tenant.is_frozen().unwrap_or(true)).then_some(()))
    })?;
    ensure!(tenant.has("before")?, "lost");
    tenant.write("after")?;

    let job = tenant.until("its job", || is_complete(&tenant))?;
    let wanted = json!([
        "migrate",
        format!(
            "--tenant-control-plane={}/{}",
            tenant.namespace.name, tenant.name
        ),
        "--target-datastore=brass",
    ]);
    ensure!(arguments(&job) == wanted, "{job}");
    ensure!(job["metadata"]["ownerReferences"].is_null(), "{job}");
    ensure!(
        job["metadata"]["labels"]["kamaji.clastix.io/component"] == "migrate",
        "{job}"
    );
    let pods = format!("batch.kubernetes.io/job-name={}", tenant.job()?);
    let pods = tenant
        .place
        .system
        .kubectl(&["get", "pods", "-l", &pods, "-o", "json"])?;
    let pods: Value = serde_json::from_str(&pods)?;
    ensure!(pods["items"][0]["status"]["phase"] == "Succeeded", "{pods}");
    Ok(())
}

#[test]
fn a_switch_back_brings_deleted_objects_back() -> Result<()> {
    let tenant = Tenant::new("merged", SILVER)?;
    for name in ["kept", "deleted"] {
        tenant.write(name)?;
    }
    tenant.wish(GOLD)?;
    tenant.until_ready_on(GOLD)?;
    tenant.is_served_from(GOLD)?;
    tenant.until("the delete to be taken", || {
        Ok(tenant.kubectl(&["delete", "configmap", "deleted"]).ok())
    })?;
    tenant.wish(SILVER)?;
    tenant.until_ready_on(SILVER)?;
    tenant.is_served_from(SILVER)?;
    ensure!(
        tenant.has("kept")? && tenant.has("deleted")?,
        "what was there was not merged with"
    );

    // The cure: an annotation has the target cleaned first.
    tenant.until("the delete to be taken", || {
        Ok(tenant.kubectl(&["delete", "configmap", "deleted"]).ok())
    })?;
    let clean = json!({"kamaji.clastix.io/cleanup-prior-migration": "true"});
    tenant.patch(&json!({"metadata": {"annotations": clean}, "spec": {"dataStore": GOLD}}))?;
    tenant.until_ready_on(GOLD)?;
    tenant.is_served_from(GOLD)?;
    ensure!(
        tenant.has("kept")? && !tenant.has("deleted")?,
        "the target was not cleaned"
    );
    let job = tenant.until("its job", || is_complete(&tenant))?;
    let clean = json!("--cleanup-prior-migration=true");
    ensure!(
        arguments(&job)
            .as_array()
            .is_some_and(|all| all.contains(&clean)),
        "{job}"
    );
    Ok(())
}

#[test]
fn a_copy_drops_leases_and_revisions() -> Result<()> {
    let tenant = Tenant::new("leases", SILVER)?;
    let (silver, gold, schema) = (&tenant.place.silver, &tenant.place.gold, tenant.schema()?);
    let key = format!("/{schema}/leased");
    let granted = silver.ask(&["lease", "grant", "3600"])?;
    let lease = format!("--lease={:x}", granted["ID"].as_u64().unwrap_or_default());
    silver.etcdctl(&["put", &key, "value", &lease])?;
    let before = gold.revision()?;
    tenant.wish(GOLD)?;
    tenant.until_ready_on(GOLD)?;
    let of = |answer: Value| answer["kvs"][0]["lease"].as_u64();
    ensure!(
        of(silver.ask(&["get", &key])?).is_some(),
        "no lease on the source"
    );
    let there = gold.ask(&["get", &key])?;
    ensure!(
        there["count"] == 1 && of(there.clone()).is_none(),
        "{there}"
    );
    let made = there["kvs"][0]["create_revision"].as_u64();
    ensure!(made > Some(before), "not after {before}: {there}");
    Ok(())
}
