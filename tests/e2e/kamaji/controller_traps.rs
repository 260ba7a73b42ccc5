//! The traps of a switch by Kamaji's own Job, each provoked and caught by its name.
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    super::{kills::Kills, proxy::Fate, support::end},
    controller::Happens,
    controller_causes::{held, hold},
    gate::{Stopped, stop},
    kills::{point, wanted},
    place::{GOLD, SILVER},
    switch::{migration, switch},
    tenant::Tenant,
};

/// The controller cannot log in to the tenant any more, and so cannot freeze it.
fn lock_out(tenant: &Tenant) -> Result<()> {
    let key = json!({"kamaji.clastix.io/kubeconfig-secret-key": "nowhere"});
    tenant.patch(&json!({"metadata": {"annotations": key}}))
}

pub(super) fn let_in(tenant: &Tenant) -> Result<()> {
    let key = json!({"kamaji.clastix.io/kubeconfig-secret-key": null});
    tenant.patch(&json!({"metadata": {"annotations": key}}))
}

/// A freeze that never comes leaves nothing to hold: the Job ends, and Kamaji flips, before anybody looks for the
/// freeze.
pub(super) fn faster(tenant: &Arc<Tenant>, to: &str) -> Vec<(&'static str, Happens)> {
    let (first, then, to) = (Arc::clone(tenant), Arc::clone(tenant), to.to_owned());
    vec![
        ("patch request", Box::new(move || lock_out(&first))),
        ("request done", Box::new(move || then.until_given_to(&to))),
    ]
}

fn defects(tenant: &Tenant) -> Result<Value> {
    let report = tenant.namespace.report(&migration(tenant, GOLD))?;
    Ok(report["outputs"]["job"]["defects"].clone())
}

fn named<'a>(defects: &'a Value, name: &str) -> Result<&'a Value> {
    let mut all = defects.as_array().into_iter().flatten();
    all.find(|defect| defect["name"] == name)
        .with_context(|| format!("no {name} in {defects}"))
}

#[test]
fn dropped_leases_and_merged_stale_keys_are_named_and_put_right() -> Result<()> {
    let tenant = Tenant::new("trap-merged", SILVER)?;
    tenant.write("kept")?;
    let (place, schema) = (tenant.place, tenant.schema()?);
    let granted = place.silver.ask(&["lease", "grant", "3600"])?;
    let lease = format!("--lease={:x}", granted["ID"].as_u64().unwrap_or_default());
    let event = format!("/{schema}/events/default/leased");
    place.silver.etcdctl(&["put", &event, "value", &lease])?;
    let stale = format!("/{schema}/configmaps/default/resurrected");
    let key = stale.clone();
    let ended = tenant.by_held_job_with(GOLD, "patch request", move || {
        place.gold.etcdctl(&["put", &key, "of an earlier time"])?;
        Ok(())
    })?;
    ended.with_code(0)?.says(&[
        "Kamaji's job: leases: 1 events were written without their leases",
        "Kamaji's job: stale keys: 1",
        "configmaps/default/resurrected",
    ])?;
    let defects = defects(&tenant)?;
    ensure!(named(&defects, "leases")?["keys"] == 1, "{defects}");
    ensure!(
        named(&defects, "stale keys")?["first"] == json!(["configmaps/default/resurrected"]),
        "{defects}"
    );
    ensure!(place.gold.ask(&["get", &stale])?["count"].is_null());
    let there = place.gold.ask(&["get", &event])?;
    ensure!(
        there["kvs"][0]["lease"].as_u64().is_some(),
        "without its lease: {there}"
    );
    tenant.until_ready_on(GOLD)
}

#[test]
fn keys_written_through_the_holes_of_kamaji_s_freeze_are_named_and_copied() -> Result<()> {
    let tenant = Tenant::new("trap-holes", SILVER)?;
    let (place, schema) = (tenant.place, tenant.schema()?);
    let before = wanted(&tenant)?;
    // As late as what a tenant's own controllers write is, and past every webhook.
    let late = |name: &str| {
        let key = format!("/{schema}/example.com/late/{name}");
        move || {
            place.silver.etcdctl(&["put", &key, "late"])?;
            Ok(())
        }
    };
    let ended = tenant.by_held_job_with(GOLD, "final-copy done", late("after-the-copy"))?;
    ended.with_code(12)?.says(&[
        "1 of",
        "example.com/late/after-the-copy",
        "missing at the target",
    ])?;
    // What was found is copied, and compared again; the last look before the flip finds one more.
    let ended = tenant.by_controller_with(GOLD, "commit started", late("before-the-flip"))?;
    ended
        .with_code(12)?
        .says(&["1 writes came", "example.com/late/before-the-flip"])?;
    ensure!(wanted(&tenant)?["dataStoreName"] == SILVER, "flipped");
    for name in ["after-the-copy", "before-the-flip"] {
        let key = format!("/{schema}/example.com/late/{name}");
        place.silver.etcdctl(&["del", &key])?;
    }
    tenant.goes_back(GOLD, &before)
}

#[test]
fn the_holes_of_kamaji_s_freeze_are_closed() -> Result<()> {
    let tenant = Arc::new(Tenant::new("trap-open", SILVER)?);
    let inside = Arc::clone(&tenant);
    let ended = tenant.by_held_job_with(GOLD, "freeze done", move || {
        let hole = ["create", "-n", "kube-system", "configmap", "hole"];
        inside.refuses(&hole, "read-only")
    })?;
    ended.with_code(0)?;
    tenant.until_ready_on(GOLD)
}

#[test]
fn a_job_that_is_faster_than_the_pause_is_said_so() -> Result<()> {
    let tenant = Arc::new(Tenant::new("trap-race", SILVER)?);
    tenant.write("kept")?;
    let ended = tenant.by_controller_with_all(GOLD, faster(&tenant, GOLD))?;
    ended
        .with_code(0)?
        .says(&["Kamaji's job was done before Kamaji could be held"])?;
    let report = tenant.namespace.report(&migration(&tenant, GOLD))?;
    ensure!(report["outputs"]["freeze"]["raced"] == true, "{report}");
    let_in(&tenant)?;
    tenant.until_ready_on(GOLD)?;
    ensure!(tenant.has("kept")?, "lost");
    // It cannot be taken back any more.
    let name = migration(&tenant, GOLD);
    let args = ["rollback", &name, "--confirm", &name];
    let back = end(tenant.namespace.migrate(&args)?)?;
    ensure!(back.code != Some(0), "{back:?}");
    tenant.until_ready_on(GOLD)
}

#[test]
fn a_tenant_that_kamaji_never_freezes_is_not_given_away() -> Result<()> {
    let tenant = Arc::new(Tenant::new("trap-early", SILVER)?);
    let inside = Arc::clone(&tenant);
    let before = wanted(&tenant)?;
    // A Job that never begins: who waits for a freeze that never comes has nothing to hold then.
    let (job, system) = (held(&tenant, GOLD)?, tenant.place.system);
    let ended = tenant.by_controller_with(GOLD, "patch request", move || {
        system.apply(&[job])?;
        lock_out(&inside)
    })?;
    ended
        .with_code(14)?
        .says(&["Kamaji has not frozen", "Kamaji is paused", "roll back"])?;
    // Gone on with, it would not get the freeze any more either.
    end(tenant.by_controller(GOLD)?)?
        .with_code(14)?
        .says(&["Kamaji is paused: roll back"])?;
    ensure!(wanted(&tenant)?["dataStoreName"] == SILVER, "flipped");
    let_in(&tenant)?;
    tenant.goes_back(GOLD, &before)
}

#[test]
fn somebody_who_sets_the_store_back_or_pauses_is_told() -> Result<()> {
    let tenant = Arc::new(Tenant::new("trap-owner", SILVER)?);
    let before = wanted(&tenant)?;
    let inside = Arc::clone(&tenant);
    let ended = tenant.by_held_job_with(GOLD, "freeze done", move || inside.wish(SILVER))?;
    ended
        .with_code(14)?
        .says(&["wants datastore silver again", "Argo CD"])?;
    tenant.goes_back(GOLD, &before)
}

#[test]
fn an_annotation_changed_meanwhile_leaves_an_orphan_that_is_found_and_removed() -> Result<()> {
    let lead = Stopped::new("lead")?;
    let tenant = Arc::new(Tenant::new("trap-orphan", SILVER)?);
    lead.start()?;
    let before = wanted(&tenant)?;
    let name = lead.name().to_owned();
    let (place, system) = (tenant.place, tenant.place.system);
    let inside = Arc::clone(&tenant);
    // A store that is away holds the first Job; then an annotation has Kamaji make it again, and leave its pod.
    let away: Happens = Box::new(move || stop(place, &name));
    let anew: Happens = Box::new(move || {
        inside.until("its job's pod", || {
            let selector = format!("batch.kubernetes.io/job-name={}", inside.job()?);
            let args = ["get", "pods", "-l", &selector, "-o", "name"];
            Ok((!system.kubectl(&args)?.is_empty()).then_some(()))
        })?;
        let longer = json!({"kamaji.clastix.io/migration-timeout": "11m"});
        inside.patch(&json!({"metadata": {"annotations": longer}}))?;
        inside.until("another job", || {
            let job = inside.found_job()?;
            Ok(job.filter(|job| job.to_string().contains("--timeout=11m")))
        })?;
        Ok(())
    });
    let all = vec![("patch request", away), ("request done", anew)];
    tenant
        .by_controller_with_all("lead", all)?
        .with_code(14)?
        .says(&["is of an earlier job of the same name", "roll back"])?;
    lead.start()?;
    tenant.goes_back("lead", &before)
}

#[test]
fn a_stale_job_and_limits_are_found_before() -> Result<()> {
    let tenant = Tenant::new("trap-stale", SILVER)?;
    tenant.patch(&json!({"spec": {"writePermissions": {"blockCreation": true}}}))?;
    tenant.until("WriteLimited", || {
        Ok((tenant.phase()? == "WriteLimited").then_some(()))
    })?;
    switch(&tenant, GOLD, &["--way", "controller"])?
        .with_code(10)?
        .says(&[
            "way controller",
            "keeps Kamaji from ever lifting its freeze",
        ])?;
    tenant.patch(&json!({"spec": {"writePermissions": null}}))?;
    tenant.until_ready_on(SILVER)?;
    tenant.place.system.apply(&[json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": tenant.job()?},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{
                "name": "migrate", "image": "localhost/busybox:1", "command": ["true"],
            }],
        }}},
    })])?;
    switch(&tenant, GOLD, &["--way", "controller"])?
        .with_code(10)?
        .says(&["migration job", "Kamaji would take it for the new one's"])?;
    ensure!(wanted(&tenant)?["dataStoreName"] == SILVER, "flipped");
    let job = tenant.job()?;
    tenant.place.system.kubectl(&["delete", "job", &job])?;
    Ok(())
}

#[test]
fn a_switch_whose_journal_is_lost_is_taken_back_by_thaw() -> Result<()> {
    let tenant = Tenant::new("trap-lost", SILVER)?;
    let (before, name) = (wanted(&tenant)?, migration(&tenant, GOLD));
    let kills = Kills::new(Some(Fate::KillAfter), {
        let (name, hold) = (name.clone(), hold(&tenant, GOLD)?);
        move |seen| {
            let point = point(seen, &name)?;
            hold(&point);
            (point == "freeze done").then_some(point)
        }
    })?;
    kills.until_cut("freeze done", || tenant.by_controller(GOLD))?;
    ensure!(tenant.is_frozen()?, "not frozen");
    for kind in ["configmap", "lease"] {
        let object = format!("migrate-{name}");
        tenant.namespace.kubectl(&["delete", kind, &object])?;
    }
    let thaw = ["thaw", &format!("tcp/{}", tenant.name)];
    let told = end(tenant
        .namespace
        .migrate(&[&thaw[..], &["--dry-run=client"]].concat())?)?;
    ensure!(told.out.contains("delete Kamaji's job"), "{told:?}");
    end(tenant.namespace.migrate(&thaw)?)?.with_code(0)?;
    tenant.is_as_before(GOLD, &before)
}
