//! Tenants that may not write, and tenants that end.
use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    place::{GOLD, SILVER},
    tenant::Tenant,
};

#[test]
fn a_limited_tenant_refuses_what_is_blocked() -> Result<()> {
    let tenant = Tenant::new("limited", SILVER)?;
    tenant.write("before")?;
    tenant.patch(&json!({"spec": {"writePermissions": {"blockCreation": true}}}))?;
    tenant.until("WriteLimited", || {
        Ok((tenant.phase()? == "WriteLimited").then_some(()))
    })?;
    let refused = tenant.until("a create to be refused", || {
        Ok(tenant
            .kubectl(&["create", "configmap", "one", "--dry-run=server"])
            .err())
    })?;
    ensure!(
        format!("{refused:#}").contains("limited write permissions"),
        "{refused:#}"
    );
    tenant.kubectl(&["label", "configmap", "before", "changed=yes"])?;
    tenant.kubectl(&["delete", "configmap", "before"])?;
    tenant.patch(&json!({"spec": {"writePermissions": null}}))?;
    tenant.until_ready_on(SILVER)?;
    tenant.write("after")
}

#[test]
fn a_tenant_that_ends_leaves_nothing_on_the_store_that_it_wished_for() -> Result<()> {
    let tenant = Tenant::new("ends", SILVER)?;
    let schema = tenant.schema()?;
    let (silver, gold) = (&tenant.place.silver, &tenant.place.gold);
    tenant.wish(GOLD)?;
    tenant.until_ready_on(GOLD)?;
    ensure!(
        gold.count(&schema)? > 0 && silver.count(&schema)? > 0,
        "no keys"
    );
    let config = format!("secret/{}-datastore-config", tenant.name);
    let finalizers = tenant.namespace.get(&config)?["metadata"]["finalizers"].clone();
    ensure!(
        finalizers == json!(["finalizer.kamaji.clastix.io/datastore-secret"]),
        "{finalizers}"
    );

    tenant
        .namespace
        .kubectl(&["delete", "tcp", &tenant.name, "--timeout=900s"])?;
    ensure!(gold.count(&schema)? == 0, "keys are left");
    for (store, left) in [(gold, false), (silver, true)] {
        for kind in ["user", "role"] {
            let all = store.etcdctl(&[kind, "list"])?;
            ensure!(
                all.contains(&schema) == left,
                "{kind} on {}: {all}",
                store.name
            );
        }
    }
    // What was on the store before is nobody's business any longer.
    ensure!(silver.count(&schema)? > 0, "the first store was cleaned up");
    Ok(())
}

#[test]
fn a_stopped_tenant_sleeps() -> Result<()> {
    let tenant = Tenant::new("sleeper", SILVER)?;
    tenant.sleep()?;
    tenant.wake()?;
    tenant.until_ready_on(SILVER)
}
