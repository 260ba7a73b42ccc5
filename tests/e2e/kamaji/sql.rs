//! `switch-datastore` of tenants behind kine: written to and watched all the time, there and back.
use anyhow::{Result, ensure};

use super::{
    super::support::end,
    store::{Kind, Store},
    switch::{is_proven, migration, move_it, switch},
    tenant::Tenant,
};

/// There, the old data away, and back. `holds` tells whether a store has the tenant's database or bucket.
fn there_and_back(
    [silver, gold]: &[Store; 2],
    name: &str,
    holds: impl Fn(&Store, &str) -> Result<bool>,
) -> Result<()> {
    let tenant = Tenant::new(name, &silver.name)?;
    let schema = tenant.schema()?;
    let report = move_it(&tenant, &gold.name, &[])?;
    is_proven(&tenant, &gold.name, &report)?;
    // The ids are the revisions: the target's go on behind all that the source gave.
    let of = |step: &str, key: &str| report["outputs"][step][key].as_u64();
    ensure!(
        of("lead", "now") >= of("lead", "source").map(|source| source + 10_000)
            && of("thaw", "revision") > of("settle", "source"),
        "{report}"
    );
    ensure!(holds(silver, &schema)? && holds(gold, &schema)?);
    let migration = migration(&tenant, &gold.name);
    let cleanup = ["cleanup", &migration, "--old-data", "--confirm", &schema];
    end(tenant.namespace.migrate(&cleanup)?)?.with_code(0)?;
    ensure!(!holds(silver, &schema)?, "the old data is left");
    ensure!(holds(gold, &schema)?, "the new data is gone");
    let report = move_it(&tenant, &silver.name, &["--freeze", "offline"])?;
    is_proven(&tenant, &silver.name, &report)
}

#[test]
fn a_tenant_on_postgresql_moves_there_and_back() -> Result<()> {
    there_and_back(Kind::PostgreSql.both()?, "sql-postgres", |store, schema| {
        let sql = format!("SELECT count(*) FROM pg_database WHERE datname = '{schema}'");
        Ok(store.psql("postgres", &sql)? == "1")
    })
}

#[test]
fn a_tenant_on_mysql_moves_there_and_back() -> Result<()> {
    there_and_back(Kind::MySql.both()?, "sql-mysql", |store, schema| {
        let sql = format!(
            "SELECT count(*) FROM information_schema.schemata WHERE schema_name = '{schema}'"
        );
        Ok(store.mysql("mysql", &sql)? == "1")
    })
}

#[test]
fn a_tenant_on_nats_moves_there_and_back() -> Result<()> {
    // A NATS is for one tenant: these are this one's.
    let stores = Kind::Nats.two(["bronze", "copper"])?;
    there_and_back(&stores, "sql-nats", |store, schema| {
        store.has_bucket(schema)
    })
}

#[test]
fn only_one_tenant_per_nats_datastore() -> Result<()> {
    let stores = Kind::Nats.two(["tin", "zinc"])?;
    let [one, other] = [("nats-one", &stores[0]), ("nats-other", &stores[1])]
        .map(|(name, store)| Tenant::new(name, &store.name));
    let (one, other) = (one?, other?);
    let evidence = format!(
        "serves {}/{} already (status.usedBy), and a NATS serves one tenant only",
        other.namespace.name, other.name
    );
    switch(&one, &stores[1].name, &[])?
        .with_code(10)?
        .says(&["one tenant", &evidence])?;
    ensure!(one.get()?["spec"]["dataStore"] == stores[0].name);
    one.write("after")
}
