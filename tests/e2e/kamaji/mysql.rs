//! A tenant on MySQL, and what Kamaji's Job does to its values.
use anyhow::{Result, ensure};

use super::{store::Kind, tenant::Tenant};

/// What a ConfigMap holds, and the same bytes in hexadecimal digits.
const WRITTEN: (&str, &str) = (r"C:\new", "433A5C6E6577");
/// What becomes of them.
const CORRUPTED: &str = "433A0A6577";

#[test]
fn the_job_s_dump_corrupts_backslashes_in_mysql() -> Result<()> {
    let [silver, gold] = Kind::MySql.both()?;
    let tenant = Tenant::new("mysql", &silver.name)?;
    tenant.is_served_from(&silver.name)?;
    tenant.write("before")?;
    let value = format!("--from-literal=path={}", WRITTEN.0);
    tenant.kubectl(&["create", "configmap", "path", &value])?;
    let schema = tenant.schema()?;
    tenant.move_by(&gold.name, || silver.dump_mysql(gold, &schema))?;
    tenant.is_served_from(&gold.name)?;
    ensure!(tenant.has("before")?, "lost");
    let held = tenant.kubectl(&["get", "configmap", "path", "-o", "jsonpath={.data.path}"])?;
    ensure!(held == WRITTEN.0, "{held}");
    tenant.write("after")?;

    // What was on the target is dropped; and nobody reads what the Job brings, for the tenant sleeps.
    let name = "/registry/configmaps/default";
    silver.mysql(
        &schema,
        &format!("INSERT INTO kine (name) VALUES ('{name}/only-here')"),
    )?;
    tenant.sleep()?;
    tenant.wish(&silver.name)?;
    tenant.until_asleep_on(&silver.name)?;
    let only = silver.mysql(
        &schema,
        &format!("SELECT COUNT(*) FROM kine WHERE name = '{name}/only-here'"),
    )?;
    ensure!(only == "0", "the target's table was kept");
    let sql =
        format!("SELECT HEX(value) FROM kine WHERE name = '{name}/path' ORDER BY id DESC LIMIT 1");
    let (there, here) = (gold.mysql(&schema, &sql)?, silver.mysql(&schema, &sql)?);
    ensure!(there.contains(WRITTEN.1), "{there}");
    ensure!(here.contains(CORRUPTED), "{here}");
    Ok(())
}
