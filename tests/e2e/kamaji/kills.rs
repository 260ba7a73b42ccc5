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

/// A switch that is killed at each of these points.
pub(super) struct Chain {
    tenant: Tenant,
    kills: Kills,
    name: String,
    before: Value,
    way: &'static [&'static str],
}

/// What else happens at a point.
pub(super) type Happens = Box<dyn Fn(&str) + Send>;

impl Chain {
    pub fn new(
        name: &str,
        kill: Fate,
        way: &'static [&'static str],
        happens: impl FnOnce(&Tenant) -> Result<Happens>,
    ) -> Result<Self> {
        let tenant = Tenant::new(name, SILVER)?;
        tenant.write("kept")?;
        let name = migration(&tenant, GOLD);
        Ok(Self {
            kills: Kills::new(Some(kill), {
                let (name, happens) = (name.clone(), happens(&tenant)?);
                move |seen| {
                    let point = point(seen, &name)?;
                    happens(&point);
                    Some(point)
                }
            })?,
            before: wanted(&tenant)?,
            name,
            tenant,
            way,
        })
    }

    fn run(&self) -> Result<std::process::Command> {
        let args = ["switch-datastore", &self.tenant.name, "--to", GOLD, "--yes"];
        self.tenant
            .namespace
            .migrate(&[&args[..], self.way].concat())
    }

    /// As late as this it is put back, to what was there; then it goes on to its end. Killed at each point.
    pub fn there_back_and_on(&self, last: &str) -> Result<[Cuts; 3]> {
        let there = self.kills.until_cut(last, || self.run())?;
        Ok([there, self.back()?, self.on()?])
    }

    fn back(&self) -> Result<Cuts> {
        let rollback = ["rollback", &self.name, "--confirm", &self.name];
        let cuts = self
            .kills
            .until_code(0, || self.tenant.namespace.migrate(&rollback))?;
        self.tenant.is_as_before(GOLD, &self.before)?;
        let report = self.tenant.namespace.report(&self.name)?;
        ensure!(report["state"] == "rolled-back", "{report}");
        Ok(cuts)
    }

    fn on(&self) -> Result<Cuts> {
        let cuts = self.kills.until_code(0, || self.run())?;
        let tenant = &self.tenant;
        tenant.until_ready_on(GOLD)?;
        tenant.is_served_from(GOLD)?;
        ensure!(tenant.policies()?.is_empty(), "the freeze is left behind");
        ensure!(tenant.has("kept")?, "lost");
        ensure!(
            wanted(tenant)?["annotations"] == self.before["annotations"],
            "annotations are left behind"
        );
        tenant.write("after-the-switch")?;
        let report = tenant.namespace.report(&self.name)?;
        ensure!(report["state"] == "done", "{report}");
        ensure!(report["outputs"]["verify"]["different"] == 0, "{report}");
        Ok(cuts)
    }
}

/// Two chains beside each other, one killed before and one killed after what each point does; where they were cut
/// on the way there, back and on. `last` is where each is put back.
fn both(begin: impl Fn(Fate) -> Result<Chain> + Sync, last: [&str; 2]) -> Result<[[Cuts; 3]; 2]> {
    let begin = &begin;
    std::thread::scope(|scope| {
        let chain = |kill: Fate, last: &str| {
            let last = last.to_owned();
            scope.spawn(move || begin(kill)?.there_back_and_on(&last))
        };
        let chains = [
            chain(Fate::KillBefore, last[0]),
            chain(Fate::KillAfter, last[1]),
        ];
        let [before, after] =
            chains.map(|chain| chain.join().map_err(|_| anyhow::anyhow!("a panic"))?);
        Ok([before?, after?])
    })
}

/// Each was killed at both records of each step on the way to the end.
pub(super) fn at_each(chains: &[[Cuts; 3]], steps: &[&str]) -> Result<()> {
    for [_, _, whole] in chains {
        for step in steps {
            for record in ["started", "done"] {
                let write = format!("{step} {record}");
                ensure!(whole.contains(&write), "not killed at {write}: {whole:#?}");
            }
        }
    }
    let cuts: usize = chains.iter().flatten().map(Cuts::len).sum();
    println!("{cuts} cuts");
    Ok(())
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
    let status = "patch status";
    let begin = |kill: Fate| {
        let name = if matches!(kill, Fate::KillBefore) {
            "kill-before"
        } else {
            "kill-after"
        };
        Chain::new(name, kill, &[], |_| Ok(Box::new(|_| ())))
    };
    let chains = both(begin, [status, "flip started"])?;
    // Between its two halves the flip was put back.
    let [[there, back, _], _] = &chains;
    ensure!(
        there.contains("patch replace /spec/dataStore gold")
            && back.contains("patch replace /spec/dataStore silver"),
        "{there:#?} {back:#?}"
    );
    for [_, _, whole] in &chains {
        ensure!(whole.contains(status), "{whole:#?}");
    }
    at_each(
        &chains,
        &[
            "pause",
            "warm-copy",
            "raise",
            "warm-verify",
            "freeze",
            "final-copy",
            "verify",
            "lead",
            "flip",
            "roll-out",
            "thaw",
            "settle",
        ],
    )
}
