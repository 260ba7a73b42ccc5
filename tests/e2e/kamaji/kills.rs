//! A switch that is killed at each write of its journal and at each change of the control plane.
use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    super::{
        kills::{Cuts, Kills},
        proxy::{Fate, Seen},
    },
    place::{GOLD, SILVER},
    switch::migration,
    tenant::Tenant,
};

/// The journal's writes, and every patch of the control plane.
pub(super) fn point(seen: &Seen, migration: &str) -> Option<String> {
    if let Some(write) = seen.journal_write(migration) {
        return Some(write);
    }
    let path = seen.target.split('?').next().unwrap_or_default();
    if seen.method != http::Method::PATCH || !path.contains("/tenantcontrolplanes/") {
        return None;
    }
    let body: Value = serde_json::from_slice(&seen.body).ok()?;
    let Some(operation) = body.as_array().and_then(|operations| operations.last()) else {
        let of = if path.ends_with("/status") {
            "status"
        } else {
            "request"
        };
        return Some(format!("patch {of}"));
    };
    let text = |key: &str| operation[key].as_str().unwrap_or_default().to_owned();
    Some(format!(
        "patch {} {} {}",
        text("op"),
        text("path"),
        text("value")
    ))
}

struct Chain {
    tenant: Tenant,
    kills: Kills,
    name: String,
    before: Value,
}

impl Chain {
    fn new(name: &str, kill: Fate) -> Result<Self> {
        let tenant = Tenant::new(name, SILVER)?;
        tenant.write("kept")?;
        let name = migration(&tenant, GOLD);
        Ok(Self {
            kills: Kills::new(Some(kill), {
                let name = name.clone();
                move |seen| point(seen, &name)
            })?,
            before: wanted(&tenant)?,
            name,
            tenant,
        })
    }

    fn run(&self) -> Result<std::process::Command> {
        let args = ["switch-datastore", &self.tenant.name, "--to", GOLD, "--yes"];
        self.tenant.namespace.migrate(&args)
    }

    fn until_cut(&self, cut: &str) -> Result<Cuts> {
        self.kills.until_cut(cut, || self.run())
    }

    /// Rolls back, killed at each point, to what was there.
    fn back(&self) -> Result<Cuts> {
        let rollback = ["rollback", &self.name, "--confirm", &self.name];
        let cuts = self
            .kills
            .until_code(0, || self.tenant.namespace.migrate(&rollback))?;
        let tenant = &self.tenant;
        ensure!(
            wanted(tenant)? == self.before,
            "{} was {}",
            wanted(tenant)?,
            self.before
        );
        ensure!(tenant.policies()?.is_empty(), "the freeze is left behind");
        let left = tenant.place.gold.count(&tenant.schema()?)?;
        ensure!(left == 0, "{left} keys are left at the target");
        tenant.write("after-the-way-back")?;
        let report = tenant.namespace.report(&self.name)?;
        ensure!(report["state"] == "rolled-back", "{report}");
        Ok(cuts)
    }

    /// Goes on, killed at each point, to the end.
    fn on(&self) -> Result<Cuts> {
        let cuts = self.kills.until_code(0, || self.run())?;
        let tenant = &self.tenant;
        tenant.until_ready_on(GOLD)?;
        tenant.is_served_from(GOLD)?;
        ensure!(tenant.policies()?.is_empty(), "the freeze is left behind");
        for name in ["kept", "after-the-way-back"] {
            ensure!(tenant.has(name)?, "{name} is lost");
        }
        tenant.write("after-the-switch")?;
        let report = tenant.namespace.report(&self.name)?;
        ensure!(report["state"] == "done", "{report}");
        ensure!(report["outputs"]["verify"]["different"] == 0, "{report}");
        Ok(cuts)
    }
}

/// What a switch changes, as it is to be again.
pub(super) fn wanted(tenant: &Tenant) -> Result<Value> {
    let object = tenant.get()?;
    Ok(serde_json::json!({
        "spec": object["spec"],
        "annotations": object["metadata"]["annotations"].as_object().filter(|all| !all.is_empty()),
        "dataStoreName": object["status"]["storage"]["dataStoreName"],
    }))
}

#[test]
fn killed_at_each_write_a_switch_goes_back_before_the_flip_and_comes_to_its_end() -> Result<()> {
    let chain = |name: &'static str, kill: Fate, last: &'static str| {
        std::thread::spawn(move || {
            let chain = Chain::new(name, kill)?;
            // As late as it can be put back.
            let there = chain.until_cut(last)?;
            let back = chain.back()?;
            let on = chain.on()?;
            Ok::<_, anyhow::Error>([there, back, on])
        })
    };
    let status = "patch status";
    let before = chain("kill-before", Fate::KillBefore, status);
    let after = chain("kill-after", Fate::KillAfter, "flip started");
    let join = |thread: std::thread::JoinHandle<Result<_>>| {
        thread.join().map_err(|_| anyhow::anyhow!("a panic"))?
    };
    let (before, after): (Result<[Cuts; 3]>, Result<[Cuts; 3]>) = (join(before), join(after));
    let (before, after) = (before?, after?);
    // Between its two halves the flip was put back.
    ensure!(
        before[0].contains("patch replace /spec/dataStore gold")
            && before[1].contains("patch replace /spec/dataStore silver"),
        "{before:#?}"
    );
    for whole in [&before[2], &after[2]] {
        ensure!(whole.contains(status), "{whole:#?}");
        for step in [
            "pause",
            "warm-copy",
            "raise",
            "freeze",
            "final-copy",
            "verify",
            "lead",
            "flip",
            "roll-out",
            "thaw",
        ] {
            for record in ["started", "done"] {
                let write = format!("{step} {record}");
                ensure!(whole.contains(&write), "not killed at {write}: {whole:#?}");
            }
        }
    }
    let cuts: usize = before.iter().chain(&after).map(Cuts::len).sum();
    println!("{cuts} cuts");
    Ok(())
}
