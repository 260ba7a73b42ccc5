//! `--max-freeze` of a tenant's switch: what does not fit is refused before anything is frozen, with its parts.
use anyhow::{Context as _, Result, ensure};

use super::{
    super::support::end,
    blocked::{checks, finds},
    place::{GOLD, SILVER},
    store::Kind,
    switch::{migration, switch},
    tenant::Tenant,
};

/// What a switch that does not fit leaves: the tenant as it was, and written to.
fn is_untouched(tenant: &Tenant, store: &str, then: &str) -> Result<()> {
    let object = tenant.get()?;
    ensure!(
        object["spec"]["dataStore"] == store
            && object["status"]["storage"]["dataStoreName"] == store,
        "{object}"
    );
    ensure!(tenant.policies()?.is_empty(), "it was frozen");
    tenant.write(then)
}

#[test]
fn a_freeze_that_can_never_fit_is_a_blocker_of_preflight() -> Result<()> {
    let tenant = Tenant::new("forecast-blocked", SILVER)?;
    // Nothing that an API server takes to start fits into this.
    switch(&tenant, GOLD, &["--max-freeze", "100ms"])?
        .with_code(10)?
        .says(&[
            "100ms is allowed (spec.freeze.max), and writes would be refused for about",
            "the start of an API server",
            "nothing was changed",
        ])?;
    is_untouched(&tenant, SILVER, "after")
}

/// How long preflight thinks that writes would be refused, as it writes it.
fn foretold(tenant: &Tenant, to: &str) -> Result<String> {
    let all = checks(tenant, to)?;
    let told = all.iter().find(|[_, name, _, _]| name == "freeze");
    let [_, _, _, evidence] = told.with_context(|| format!("no freeze in {all:#?}"))?;
    let span = evidence
        .split_once("refused for about ")
        .and_then(|(_, rest)| rest.split_once(" ("))
        .with_context(|| evidence.clone())?;
    Ok(span.0.to_owned())
}

#[test]
fn what_the_last_copy_takes_is_measured_and_refused_before_the_freeze() -> Result<()> {
    let tenant = Tenant::new("forecast-measured", SILVER)?;
    let schema = tenant.schema()?;
    // All parts that preflight knows of etcd are whole seconds, so that it is allowed exactly what it foretells; the
    // copy then takes at least a moment more.
    let span = foretold(&tenant, GOLD)?;
    switch(&tenant, GOLD, &["--max-freeze", &span])?
        .with_code(10)?
        .says(&[
            "step `warm-verify` failed",
            &format!("{span} is allowed (spec.freeze.max), and writes would be refused for about"),
            "the last copy",
            "the source is not frozen",
        ])?;
    is_untouched(&tenant, SILVER, "after")?;
    let rollback = ["rollback", &migration(&tenant, GOLD), "--yes"];
    end(tenant.namespace.migrate(&rollback)?)?.with_code(0)?;
    is_untouched(&tenant, SILVER, "after-rollback")?;
    ensure!(tenant.place.gold.count(&schema)? == 0, "the copy is left");
    Ok(())
}

#[test]
fn preflight_tells_sizes_and_times_of_all_that_it_can_read() -> Result<()> {
    let [silver, gold] = Kind::PostgreSql.both()?;
    for (name, from, to) in [
        ("forecast-etcd", SILVER, GOLD),
        ("forecast-kine", silver.name.as_str(), gold.name.as_str()),
    ] {
        let tenant = Tenant::new(name, from)?;
        finds(&tenant, to, "pass", "size", "read in about")?;
        finds(&tenant, to, "pass", "freeze", "writes would be refused for")?;
        is_untouched(&tenant, from, "after-preflight")?;
        switch(&tenant, to, &["--max-freeze", "10m"])?.with_code(0)?;
        let report = tenant.namespace.report(&migration(&tenant, to))?;
        let frozen = &report["frozen"];
        let expected = frozen["expectedSeconds"].as_f64().context("no forecast")?;
        ensure!(
            expected > 3.0 && expected < 600.0 && frozen["seconds"].as_f64() > Some(0.0),
            "{frozen}"
        );
    }
    Ok(())
}
