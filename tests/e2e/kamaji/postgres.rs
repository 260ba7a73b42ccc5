//! A tenant on PostgreSQL, and what Kamaji's Job does to its numbers.
use anyhow::{Context as _, Result, ensure};

use super::{store::Kind, tenant::Tenant};

#[test]
fn the_job_s_copy_leaves_the_sequence_of_postgresql_behind() -> Result<()> {
    let [silver, gold] = Kind::PostgreSql.both()?;
    let tenant = Tenant::new("postgres", &silver.name)?;
    tenant.is_served_from(&silver.name)?;
    tenant.write("before")?;
    let schema = tenant.schema()?;
    tenant.move_by(&gold.name, || silver.dump_postgres(gold, &schema))?;
    tenant.is_served_from(&gold.name)?;
    ensure!(tenant.has("before")?, "lost");
    tenant.write("after")?;

    // Where there is no table, the Job makes one; nobody writes behind it, for the tenant sleeps.
    silver.psql(
        "postgres",
        &format!("DROP DATABASE \"{schema}\" WITH (FORCE)"),
    )?;
    tenant.sleep()?;
    tenant.wish(&silver.name)?;
    tenant.until_asleep_on(&silver.name)?;
    let ask = |sql| silver.psql(&schema, sql);
    let kind = ask(
        "SELECT data_type FROM information_schema.columns WHERE table_name = 'kine' AND column_name = 'id'",
    )?;
    ensure!(kind == "integer", "its numbers are of type {kind}");
    let next = ask("SELECT last_value, is_called FROM kine_id_seq")?;
    let highest = ask("SELECT max(id) FROM kine")?;
    ensure!(
        next == "1|f" && highest != "1",
        "{next}, the highest is {highest}"
    );
    let refused = ask("INSERT INTO kine (name) VALUES ('/registry/next')").err();
    let said = format!("{:#}", refused.context("a row was taken")?);
    ensure!(said.contains("kine_pkey"), "{said}");

    // That is all that was wrong.
    ask("SELECT setval('kine_id_seq', max(id)) FROM kine")?;
    tenant.wake()?;
    tenant.until_ready_on(&silver.name)?;
    ensure!(tenant.has("before")? && tenant.has("after")?, "lost");
    tenant.write("healed")
}
