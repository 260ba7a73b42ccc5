//! `snapshot` of a tenant and `restore`: out of a store into a file, and back.
use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    super::support::{Ended, end},
    place::SILVER,
    tenant::Tenant,
};

fn restore(tenant: &Tenant, file: &str, into: &str, flags: &[&str]) -> Result<Ended> {
    let into = format!("datastore/{into}");
    let args = ["restore", file, "--into", &into];
    end(tenant.namespace.migrate(&[&args[..], flags].concat())?)
}

#[test]
fn a_tenant_s_data_goes_into_a_file_and_back() -> Result<()> {
    let tenant = Tenant::new("filed", SILVER)?;
    tenant.write("kept")?;
    let (schema, place) = (tenant.schema()?, tenant.place);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tenant.snapshot").display().to_string();
    let object = format!("tcp/{}", tenant.name);
    let snapshot = || {
        end(tenant
            .namespace
            .migrate(&["snapshot", &object, "--to", &file])?)
    };
    let told = snapshot()?.with_code(0)?;
    for said in [
        &*object,
        &file,
        &schema,
        "datastore silver (etcd)",
        "digest",
    ] {
        ensure!(told.out.contains(said), "no {said} in {told:?}");
    }
    // What is there is never written over.
    let whole = fs::read(&file)?;
    snapshot()?
        .with_code(10)?
        .says(&["is kept as it is", "File exists", "zstd -dc"])?;
    ensure!(fs::read(&file)? == whole);
    let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
    ensure!(
        mode == 0o600,
        "others can read the tenant's Secrets: {mode:o}"
    );

    // Not under a running API server.
    tenant.write("later")?;
    tenant.kubectl(&["delete", "configmap", "kept"])?;
    let running = restore(
        &tenant,
        &file,
        SILVER,
        &["--overwrite", "--confirm", &schema],
    )?;
    running
        .with_code(10)?
        .says(&["of its API servers run", "--replicas=0"])?;
    ensure!(tenant.has("later")?, "it was written over");
    // Nor under one that keeps only some kinds there.
    let some_kinds = |overrides: Value, paused: Value| {
        tenant.patch(&json!({
            "metadata": {"annotations": {"kamaji.clastix.io/paused": paused}},
            "spec": {"dataStoreOverrides": overrides},
        }))
    };
    some_kinds(
        json!([{"resource": "/events", "dataStore": "gold"}]),
        json!("by hand"),
    )?;
    restore(&tenant, &file, "gold", &[])?
        .with_code(10)?
        .says(&["has this schema in datastore gold"])?;
    some_kinds(Value::Null, Value::Null)?;

    // A damaged file is found before anything is written.
    let damaged = folder.path().join("damaged").display().to_string();
    fs::write(&damaged, &whole[..whole.len() - 9])?;
    restore(&tenant, &damaged, "gold", &[])?
        .with_code(1)?
        .says(&[&damaged])?;
    ensure!(place.gold.count(&schema)? == 0);
    restore(&tenant, &file, "platinum", &[])?
        .with_code(10)?
        .says(&["datastore platinum does not exist"])?;

    // Into another store.
    let told = restore(&tenant, &file, "gold", &["--dry-run=client"])?.with_code(0)?;
    ensure!(told.out.contains("(dry run)"), "{told:?}");
    ensure!(place.gold.count(&schema)? == 0, "a dry run has written");
    let told = restore(&tenant, &file, "gold", &[])?.with_code(0)?;
    ensure!(
        told.out.contains("in datastore/gold restored from"),
        "{told:?}"
    );
    let there = place.gold.count(&schema)?;
    ensure!(there > 100, "{there}");
    restore(&tenant, &file, "gold", &[])?
        .with_code(10)?
        .says(&["keys already", "--overwrite"])?;

    // And back to what it was.
    tenant.sleep()?;
    restore(&tenant, &file, SILVER, &["--overwrite"])?
        .with_code(2)?
        .says(&[&schema])?;
    restore(
        &tenant,
        &file,
        SILVER,
        &["--overwrite", "--confirm", &schema],
    )?
    .with_code(0)?;
    tenant.wake()?;
    tenant.until_ready_on(SILVER)?;
    ensure!(
        tenant.has("kept")? && !tenant.has("later")?,
        "not as it was"
    );
    tenant.write("after")
}
