//! Switches that never end, and no field of the tenant says so: only the Job's pod does.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    place::{GOLD, SILVER},
    tenant::Tenant,
};

/// What a switch that gets nowhere has in common; then the way back, which is patching the store back.
pub fn is_stuck_until_taken_back(tenant: &Tenant, home: &str) -> Result<()> {
    ensure!(tenant.phase()? == "Migrating", "no longer migrating");
    tenant.until("the freeze", || Ok(tenant.is_frozen()?.then_some(())))?;
    tenant.wish(home)?;
    tenant.until_ready_on(home)?;
    tenant.until("the thaw", || Ok((!tenant.is_frozen()?).then_some(())))?;
    tenant.write(&format!("back-on-{home}"))?;
    let job = tenant.job()?;
    let flags = ["--cascade=foreground", "--timeout=900s"];
    tenant
        .place
        .system
        .kubectl(&[&["delete", "job", &job], &flags[..]].concat())?;
    Ok(())
}

/// The state of the Job's pod's container.
fn container(tenant: &Tenant) -> Result<Value> {
    let selector = format!("batch.kubernetes.io/job-name={}", tenant.job()?);
    let args = ["get", "pods", "-l", &selector, "-o", "json"];
    let pods: Value = serde_json::from_str(&tenant.place.system.kubectl(&args)?)?;
    Ok(pods["items"][0]["status"]["containerStatuses"][0].clone())
}

/// Waits until the copy has failed with this text. Logs are asked for again: for a moment after a restart there are
/// none, or kubectl says that it has none as if that were them.
pub fn until_job_fails(tenant: &Tenant, text: &str) -> Result<()> {
    tenant.until("its job's pod to fail", || {
        let restarts = container(tenant)?["restartCount"].as_u64();
        Ok((restarts > Some(0)).then_some(()))
    })?;
    let selector = format!("batch.kubernetes.io/job-name={}", tenant.job()?);
    tenant.until(&format!("its job's pod to say `{text}`"), || {
        let told = tenant.place.system.kubectl(&["logs", "-l", &selector]);
        Ok(told.is_ok_and(|told| told.contains(text)).then_some(()))
    })
}

#[test]
fn another_driver_is_taken_and_never_gets_anywhere() -> Result<()> {
    let tenant = Tenant::new("driver", SILVER)?;
    let name = format!("other-driver-{}", std::process::id());
    let text = json!({"content": "dXNlcg=="});
    tenant.place.system.apply(&[json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": name},
        "spec": {
            "driver": "PostgreSQL", "endpoints": ["nowhere.example.com:5432"],
            "basicAuth": {"username": text, "password": text},
        },
    })])?;
    let other = format!("datastore/{name}");
    tenant.until("the other store", || {
        let ready = &tenant.place.system.get(&other)?["status"]["ready"];
        Ok((*ready == true).then_some(()))
    })?;
    tenant.wish(&name)?;
    until_job_fails(&tenant, "different drivers")?;
    is_stuck_until_taken_back(&tenant, SILVER)?;
    tenant.place.system.kubectl(&["delete", &other])?;
    Ok(())
}

#[test]
fn an_image_that_cannot_be_pulled_is_waited_for() -> Result<()> {
    let tenant = Tenant::new("image", SILVER)?;
    tenant.wish_with_image(GOLD, "docker.io/clastix/kamaji:no-such-tag")?;
    tenant.until("the pull to fail", || {
        let reason = container(&tenant)?["state"]["waiting"]["reason"].clone();
        let failed = ["ErrImagePull", "ImagePullBackOff"].contains(&reason.as_str().unwrap_or(""));
        Ok(failed.then_some(()))
    })?;
    is_stuck_until_taken_back(&tenant, SILVER)
}

#[test]
fn a_copy_that_takes_too_long_fails() -> Result<()> {
    let timeout = json!({"kamaji.clastix.io/migration-timeout": "1ms"});
    let tenant = Tenant::with("timeout", SILVER, &timeout)?;
    tenant.wish(GOLD)?;
    until_job_fails(&tenant, "context deadline exceeded")?;
    is_stuck_until_taken_back(&tenant, SILVER)
}

#[test]
fn a_store_that_does_not_exist_is_refused() -> Result<()> {
    let tenant = Tenant::new("absent", SILVER)?;
    let refused = tenant.wish("no-such-store").err();
    let said = refused
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        said.contains("no-such-store DataStore does not exist"),
        "{said}"
    );
    tenant.until_ready_on(SILVER)
}
