//! `switch-datastore` of a tenant behind kine.
use anyhow::{Result, ensure};

use super::{store::Kind, switch::switch, tenant::Tenant};

#[test]
fn a_tenant_behind_kine_is_refused_before_anything_is_changed() -> Result<()> {
    let [silver, gold] = Kind::PostgreSql.both()?;
    let tenant = Tenant::new("behind-kine", &silver.name)?;
    let before = tenant.get()?["spec"].clone();
    switch(&tenant, &gold.name, &[])?.with_code(10)?.says(&[
        "preflight",
        "tenants on PostgreSQL cannot be switched by this version yet",
    ])?;
    let after = tenant.get()?;
    ensure!(after["spec"] == before, "{after}");
    ensure!(
        after["metadata"]["annotations"]["kamaji.clastix.io/paused"].is_null(),
        "{after}"
    );
    let there = format!(
        "SELECT count(*) FROM pg_database WHERE datname = '{}'",
        tenant.schema()?
    );
    ensure!(gold.psql("postgres", &there)? == "0");
    tenant.write("after")
}
