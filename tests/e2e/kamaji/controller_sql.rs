//! What Kamaji's Job does wrong behind kine, named and put right.
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::{
    super::{kills::Kills, proxy::Fate, support::end},
    controller::BY_CONTROLLER,
    controller_causes::hold,
    controller_traps::{faster, let_in},
    kills::point,
    store::Kind,
    switch::{is_proven, migration, switch},
    tenant::Tenant,
};

#[test]
fn postgresql_sequence_left_behind_is_named_and_put_right() -> Result<()> {
    let [silver, gold] = Kind::PostgreSql.both()?;
    let tenant = Tenant::new("job-postgres", &silver.name)?;
    tenant.write("before")?;
    tenant.by_held_job(&gold.name)?.with_code(0)?.says(&[
        "Kamaji's job: sequence: 1 counter was left behind: its sequence of ids stands at 0",
    ])?;
    let report = tenant.namespace.report(&migration(&tenant, &gold.name))?;
    is_proven(&tenant, &gold.name, &report)?;
    ensure!(tenant.has("before")?, "lost");
    tenant.write("after")
}

#[test]
fn postgresql_sequence_of_a_job_that_is_faster_than_the_pause_is_put_right() -> Result<()> {
    let [silver, gold] = Kind::PostgreSql.both()?;
    let tenant = Arc::new(Tenant::new("race-postgres", &silver.name)?);
    tenant.write("before")?;
    let ended = tenant.by_controller_with_all(&gold.name, faster(&tenant, &gold.name))?;
    ended.with_code(0)?.says(&[
        "Kamaji's job was done before Kamaji could be held",
        "in use with a counter left behind, and is put right",
    ])?;
    let_in(&tenant)?;
    tenant.until_ready_on(&gold.name)?;
    ensure!(tenant.has("before")?, "lost");
    tenant.write("after")
}

#[test]
fn mysql_corruption_is_named_and_put_right() -> Result<()> {
    let [silver, gold] = Kind::MySql.both()?;
    let tenant = Tenant::new("job-mysql", &silver.name)?;
    let path = r"C:\new";
    tenant.kubectl(&[
        "create",
        "configmap",
        "path",
        &format!("--from-literal=path={path}"),
    ])?;
    let value = |tenant: &Tenant| {
        tenant.kubectl(&["get", "configmap", "path", "-o", "jsonpath={.data.path}"])
    };
    let schema = tenant.schema()?;
    let there =
        format!("SELECT count(*) FROM information_schema.schemata WHERE schema_name = '{schema}'");

    // Gone back from what the Job has left, corrupted as it is.
    let name = migration(&tenant, &gold.name);
    let kills = Kills::new(Some(Fate::KillAfter), {
        let (name, hold) = (name.clone(), hold(&tenant, &gold.name)?);
        move |seen| {
            let point = point(seen, &name)?;
            hold(&point);
            (point == "job done").then_some(point)
        }
    })?;
    kills.until_cut("job done", || tenant.by_controller(&gold.name))?;
    ensure!(gold.mysql("mysql", &there)? == "1", "the job made nothing");
    let back = ["rollback", &name, "--confirm", &name];
    end(tenant.namespace.migrate(&back)?)?.with_code(0)?;
    tenant.until_ready_on(&silver.name)?;
    ensure!(gold.mysql("mysql", &there)? == "0", "the copy is left");
    ensure!(value(&tenant)? == path);

    tenant.by_held_job(&gold.name)?.with_code(0)?.says(&[
        "Kamaji's job: corrupted values: ",
        "values lost their backslashes on the way",
    ])?;
    let report = tenant.namespace.report(&name)?;
    is_proven(&tenant, &gold.name, &report)?;
    ensure!(value(&tenant)? == path);
    tenant.write("after")
}

#[test]
fn nats_bucket_that_the_job_does_not_make_is_told_before() -> Result<()> {
    let stores = Kind::Nats.two(["lead", "iron"])?;
    let tenant = Tenant::new("job-nats", &stores[0].name)?;
    switch(&tenant, &stores[1].name, &BY_CONTROLLER)?
        .with_code(10)?
        .says(&["way controller", "makes no bucket in NATS", "--way"])?;
    ensure!(tenant.get()?["spec"]["dataStore"] == stores[0].name);
    Ok(())
}
