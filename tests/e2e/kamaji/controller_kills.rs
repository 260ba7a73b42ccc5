//! A switch by Kamaji's Job that is killed at each write of its journal and at each change of the control plane.
use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    super::{
        kills::{Cuts, Kills},
        proxy::Fate,
    },
    controller_causes::held,
    kills::{point, wanted},
    place::{GOLD, SILVER},
    switch::migration,
    tenant::Tenant,
};

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
                let (name, held) = (name.clone(), held(&tenant, GOLD, 40)?);
                let system = tenant.place.system;
                move |seen| {
                    let point = point(seen, &name);
                    if point.as_deref() == Some("patch request") {
                        system.apply(std::slice::from_ref(&held)).ok();
                    }
                    point
                }
            })?,
            before: wanted(&tenant)?,
            name,
            tenant,
        })
    }

    fn until_cut(&self, cut: &str) -> Result<Cuts> {
        self.kills
            .until_cut(cut, || self.tenant.by_controller(GOLD))
    }

    fn back(&self) -> Result<Cuts> {
        let args = ["rollback", &self.name, "--confirm", &self.name];
        let cuts = self
            .kills
            .until_code(0, || self.tenant.namespace.migrate(&args))?;
        self.tenant.is_as_before(GOLD, &self.before)?;
        Ok(cuts)
    }

    fn on(&self) -> Result<Cuts> {
        let cuts = self
            .kills
            .until_code(0, || self.tenant.by_controller(GOLD))?;
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

#[test]
fn killed_at_each_write_a_switch_by_kamaji_s_job_goes_back_and_comes_to_its_end() -> Result<()> {
    let chain = |name: &'static str, kill: Fate| {
        std::thread::spawn(move || {
            let chain = Chain::new(name, kill)?;
            // As late as it can be put back.
            let there = chain.until_cut("commit started")?;
            let back = chain.back()?;
            let on = chain.on()?;
            Ok::<_, anyhow::Error>([there, back, on])
        })
    };
    let before = chain("ctl-before", Fate::KillBefore);
    let after = chain("ctl-after", Fate::KillAfter);
    let join = |thread: std::thread::JoinHandle<Result<_>>| {
        thread.join().map_err(|_| anyhow::anyhow!("a panic"))?
    };
    let (before, after): (Result<[Cuts; 3]>, Result<[Cuts; 3]>) = (join(before), join(after));
    let (before, after) = (before?, after?);
    for whole in [&before[2], &after[2]] {
        ensure!(whole.contains("patch request"), "{whole:#?}");
        for step in [
            "raise",
            "request",
            "freeze",
            "job",
            "final-copy",
            "verify",
            "commit",
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
