//! `switch-datastore`: a tenant with a client that writes all the time moves to another store.
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, ensure};

use super::{
    super::support::end,
    place::{GOLD, SILVER},
    tenant::Tenant,
};

/// What a client was told: what it made, and what it deleted again.
#[derive(Default)]
struct Acknowledged {
    made: BTreeSet<String>,
    deleted: BTreeSet<String>,
    refused: usize,
}

/// Makes ConfigMaps, and deletes every second one again, until it is to stop.
fn write(tenant: &Tenant, stop: &AtomicBool) -> Acknowledged {
    let mut told = Acknowledged::default();
    let mut number = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("written-{number}");
        let value = format!("--from-literal=number={number}");
        // One that is cut off may have been made or not; only an answer counts.
        if tenant
            .kubectl(&["create", "configmap", &name, &value])
            .is_err()
        {
            told.refused += 1;
            number += 1;
            continue;
        }
        if number % 2 == 1 && tenant.kubectl(&["delete", "configmap", &name]).is_ok() {
            told.deleted.insert(name);
        } else if number % 2 == 0 {
            told.made.insert(name);
        }
        number += 1;
    }
    told
}

#[test]
fn a_tenant_that_is_written_to_loses_nothing_and_nothing_comes_back() -> Result<()> {
    let tenant = Tenant::new("switch", SILVER)?;
    let schema = tenant.schema()?;
    let stop = AtomicBool::new(false);
    let told = thread::scope(|scope| {
        let writer = scope.spawn(|| write(&tenant, &stop));
        let run = tenant
            .namespace
            .migrate(&["switch-datastore", "switch", "--to", GOLD, "--yes"]);
        let ended = run.and_then(end).and_then(|ended| ended.with_code(0));
        stop.store(true, Ordering::Relaxed);
        let told = writer.join().expect("the writer");
        ended.map(|_| told)
    })?;
    ensure!(
        !told.made.is_empty() && !told.deleted.is_empty(),
        "nothing was written"
    );
    let names = tenant.kubectl(&["get", "configmaps", "-o", "name"])?;
    let there: BTreeSet<_> = names
        .lines()
        .filter_map(|line| line.strip_prefix("configmap/"))
        .collect();
    for name in &told.made {
        ensure!(
            there.contains(name.as_str()),
            "{name} was acknowledged and is lost"
        );
    }
    for name in &told.deleted {
        ensure!(
            !there.contains(name.as_str()),
            "{name} was deleted and is back"
        );
    }
    tenant.until_ready_on(GOLD)?;
    ensure!(tenant.get()?["metadata"]["annotations"]["kamaji.clastix.io/paused"].is_null());
    ensure!(tenant.place.gold.count(&schema)? > 0);
    let report = tenant.namespace.report("switch-switch-gold")?;
    ensure!(report["state"] == "done", "{report}");
    ensure!(report["outputs"]["verify"]["different"] == 0, "{report}");
    ensure!(
        report["outputs"]["thaw"]["restart_kubelets"] == false,
        "{report}"
    );
    Ok(())
}

#[test]
fn until_the_flip_a_switch_goes_back() -> Result<()> {
    let tenant = Tenant::new("switch-back", SILVER)?;
    let schema = tenant.schema()?;
    tenant.write("before")?;
    // Kamaji's definition has no such store: preflight names it, and nothing is changed.
    let absent =
        tenant
            .namespace
            .migrate(&["switch-datastore", "switch-back", "--to", "none", "--yes"])?;
    end(absent)?
        .with_code(10)?
        .says(&["datastore none", "does not exist"])?;
    let same =
        tenant
            .namespace
            .migrate(&["switch-datastore", "switch-back", "--to", SILVER, "--yes"])?;
    end(same)?
        .with_code(10)?
        .says(&["is the one that the tenant uses already"])?;
    ensure!(tenant.place.gold.count(&schema)? == 0);
    ensure!(tenant.get()?["metadata"]["annotations"]["kamaji.clastix.io/paused"].is_null());
    Ok(())
}
