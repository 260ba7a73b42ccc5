//! Switches that never end.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{place::SILVER, tenant::Tenant};

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
    tenant.until("the other store", || {
        let store = tenant.place.system.get(&format!("datastore/{name}"))?;
        Ok((store["status"]["ready"] == true).then_some(()))
    })?;
    tenant.wish(&name)?;
    let selector = format!("batch.kubernetes.io/job-name={}", tenant.job()?);
    tenant.until("its job's pod to fail", || {
        let pods = tenant
            .place
            .system
            .kubectl(&["get", "pods", "-l", &selector, "-o", "json"])?;
        let pods: Value = serde_json::from_str(&pods)?;
        let container = &pods["items"][0]["status"]["containerStatuses"][0];
        Ok((container["restartCount"].as_u64() > Some(0)).then_some(()))
    })?;
    let told = tenant.place.system.kubectl(&["logs", "-l", &selector])?;
    ensure!(told.contains("different drivers"), "{told}");
    ensure!(tenant.phase()? == "Migrating", "no longer migrating");
    ensure!(tenant.is_frozen()?, "not frozen");

    tenant.wish(SILVER)?;
    tenant.until_ready_on(SILVER)?;
    tenant.until("the thaw", || Ok((!tenant.is_frozen()?).then_some(())))?;
    tenant.write("after")?;
    let job = tenant.job()?;
    tenant
        .place
        .system
        .kubectl(&["delete", "job", &job, "--cascade=foreground"])?;
    tenant
        .place
        .system
        .kubectl(&["delete", "datastore", &name])?;
    Ok(())
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
