//! Stores that go away during a switch, and come back.
use std::process::Command;

use anyhow::{Result, ensure};

use super::{
    super::support::{Ended, end},
    controller::Happens,
    gate::{Stopped, stop},
    place::SILVER,
    switch::{is_proven, migration},
    tenant::Tenant,
};

impl Stopped {
    /// Its server ends, just before a record of the journal.
    fn goes(&self, tenant: &Tenant, program: Command, before: &'static str) -> Result<Ended> {
        let (place, name) = (tenant.place, self.name().to_owned());
        let goes: Happens = Box::new(move || stop(place, &name));
        tenant.with_all(program, self.name(), vec![(before, goes)])
    }
}

#[test]
fn a_store_that_goes_away_is_named_and_the_switch_goes_on_when_it_is_back() -> Result<()> {
    let pewter = Stopped::new("pewter")?;
    pewter.start()?;
    let tenant = Tenant::new("away", SILVER)?;
    tenant.write("before")?;
    let name = migration(&tenant, pewter.name());
    let begin = [
        "switch-datastore",
        &tenant.name,
        "--to",
        pewter.name(),
        "--yes",
    ];
    let run = || tenant.namespace.migrate(&["run", &name]);
    // While the tenant works, and while it is frozen.
    pewter
        .goes(
            &tenant,
            tenant.namespace.migrate(&begin)?,
            "warm-copy started",
        )?
        .with_code(1)?
        .says(&["datastore pewter", "run"])?;
    tenant.write("it-works-on")?;
    pewter.start()?;
    pewter
        .goes(&tenant, run()?, "verify started")?
        .with_code(14)?
        .says(&["datastore pewter", "run"])?;
    tenant.refuses(&["create", "configmap", "frozen"], "read-only")?;
    pewter.start()?;
    end(run()?)?.with_code(0)?;
    let report = tenant.namespace.report(&name)?;
    is_proven(&tenant, pewter.name(), &report)?;
    ensure!(tenant.has("before")? && tenant.has("it-works-on")?, "lost");
    tenant.write("after")
}
