//! What a pause, an annotation and a change of mind do while the controller's Job copies.
use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    controller_causes::{held, let_go},
    job::is_complete,
    place::{GOLD, Place, SILVER},
    store::Store,
    tenant::Tenant,
};

/// A store whose server is stopped: to Kamaji it is ready, but a copy to it goes on until it is started.
pub(super) struct Stopped(Store);

/// Ends a store's server; it is gone afterwards.
pub(super) fn stop(place: &Place, store: &str) -> Result<()> {
    let pod = format!("pod/{store}-0");
    for args in [
        &["scale", "statefulset", store, "--replicas=0"][..],
        &["wait", "--for=delete", &pod, "--timeout=900s"],
    ] {
        place.system.kubectl(args)?;
    }
    Ok(())
}

impl Stopped {
    pub(super) fn new(name: &str) -> Result<Self> {
        // First, for there is no namespace before.
        let place = Place::get()?;
        let store = Store::new(name)?;
        // Its server has ended, and is not just about to.
        stop(place, name)?;
        super::super::support::wait_for("its datastore", || store.is_ready())?;
        Ok(Self(store))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn start(&self) -> Result<()> {
        let system = &Place::get()?.system;
        system.kubectl(&["scale", "statefulset", self.name(), "--replicas=1"])?;
        system.ready(&format!("statefulset/{}", self.name()))
    }
}

#[test]
fn a_pause_after_the_freeze_holds_the_flip() -> Result<()> {
    let iron = Stopped::new("iron")?;
    // Any annotation from the begin on: else the pause would change the Job's arguments.
    let tenant = Tenant::with("gate", SILVER, &json!({"example.com/any": "thing"}))?;
    tenant.write("before")?;
    tenant.wish(iron.name())?;
    tenant.until("the freeze", || Ok(tenant.is_frozen()?.then_some(())))?;
    tenant.refuses(&["create", "configmap", "refused"], "freezing mode")?;
    tenant.kubectl(&["create", "-n", "kube-system", "configmap", "taken"])?;

    tenant.pause(true)?;
    iron.start()?;
    tenant.until("the job to be complete", || is_complete(&tenant))?;
    ensure!(tenant.phase()? == "Migrating", "not held");
    let storage = tenant.get()?["status"]["storage"].clone();
    ensure!(storage["dataStoreName"] == SILVER, "flipped: {storage}");
    ensure!(tenant.is_frozen()?, "thawed");

    tenant.pause(false)?;
    tenant.until_ready_on(iron.name())?;
    tenant.is_served_from(iron.name())?;
    tenant.until("the thaw", || {
        Ok((!tenant.is_frozen().unwrap_or(true)).then_some(()))
    })?;
    ensure!(tenant.has("before")?, "lost");
    ensure!(!tenant.has("refused")?, "a refused write is there");
    Ok(())
}

#[test]
fn a_pause_before_the_freeze_leaves_the_tenant_open() -> Result<()> {
    // Without a kubeconfig it cannot freeze: so the pause is certain to come first. Nothing is on its way to the tenant
    // then, as it would be to one that does not answer.
    const KUBECONFIG_KEY: &str = "kamaji.clastix.io/kubeconfig-secret-key";
    let annotations = json!({
        "kamaji.clastix.io/migration-timeout": "10m", KUBECONFIG_KEY: "held-back.conf",
    });
    let tenant = Tenant::with("early", SILVER, &annotations)?;
    // The pause must come before the end of the Job, or there is nothing to hold.
    tenant.pause(true)?;
    tenant.place.system.apply(&[held(&tenant, GOLD)?])?;
    tenant.wish(GOLD)?;
    tenant.pause(false)?;
    tenant.until("Migrating", || {
        Ok((tenant.phase()? == "Migrating").then_some(()))
    })?;
    tenant.pause(true)?;
    tenant.patch(&json!({"metadata": {"annotations": {KUBECONFIG_KEY: null}}}))?;
    let_go(tenant.place.system, &tenant.job()?)?;
    tenant.until("the job to be complete", || is_complete(&tenant))?;
    ensure!(tenant.phase()? == "Migrating", "not held");
    tenant.write("during")?;
    ensure!(!tenant.is_frozen()?, "frozen");

    tenant.wish(SILVER)?;
    tenant.pause(false)?;
    tenant.until_ready_on(SILVER)?;
    ensure!(tenant.has("during")?, "lost");
    Ok(())
}

#[test]
fn the_first_annotation_begins_the_copy_anew() -> Result<()> {
    let tin = Stopped::new("tin")?;
    let tenant = Tenant::new("anew", SILVER)?;
    let flag = "--cleanup-prior-migration=false";
    tenant.wish(tin.name())?;
    let first = tenant.until("its job", || tenant.found_job())?;
    ensure!(!first.to_string().contains(flag), "{first}");
    let selector = format!(
        "batch.kubernetes.io/controller-uid={}",
        first["metadata"]["uid"].as_str().unwrap_or_default()
    );
    let pods = || {
        tenant
            .place
            .system
            .kubectl(&["get", "pods", "-l", &selector, "-o", "name"])
    };
    tenant.until("its pod", || Ok((!pods()?.is_empty()).then_some(())))?;
    tenant.patch(&json!({"metadata": {"annotations": {"example.com/any": "thing"}}}))?;
    tenant.until("another job", || {
        let found = tenant.found_job()?;
        Ok(found.filter(|job| {
            job["metadata"]["uid"] != first["metadata"]["uid"] && job.to_string().contains(flag)
        }))
    })?;
    ensure!(!pods()?.is_empty(), "the first job's pod is gone");

    // Going back is the way out; the Job goes on until somebody deletes it.
    tenant.wish(SILVER)?;
    tenant.until_ready_on(SILVER)?;
    tenant.until("the thaw", || Ok((!tenant.is_frozen()?).then_some(())))?;
    ensure!(tenant.found_job()?.is_some(), "its job is gone");
    tenant.write("after")?;
    let job = tenant.job()?;
    tenant
        .place
        .system
        .kubectl(&["delete", "job", &job, "--cascade=foreground"])?;
    tenant
        .place
        .system
        .kubectl(&["delete", "pods", "-l", &selector, "--now"])?;
    Ok(())
}
