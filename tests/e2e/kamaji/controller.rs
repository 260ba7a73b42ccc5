//! `switch-datastore --way controller`: Kamaji's own Job, held until what it copied was compared.
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    super::{
        proxy::{Fate, Proxy},
        support::{Ended, On, end},
    },
    controller_causes::{held, let_go},
    kills::{point, wanted},
    place::{GOLD, SILVER},
    store::Kind,
    switch::{is_proven, migration, move_by, switch},
    tenant::Tenant,
};

pub const BY_CONTROLLER: [&str; 2] = ["--way", "controller"];

/// Something that happens during a switch.
pub type Happens = Box<dyn FnOnce() -> Result<()> + Send>;

impl Tenant {
    /// A switch by the controller's Job.
    pub fn by_controller(&self, to: &str) -> Result<Command> {
        let args = ["switch-datastore", &self.name, "--to", to, "--yes"];
        self.namespace
            .migrate(&[&args[..], &BY_CONTROLLER].concat())
    }

    /// The same, with something that happens just before a request of it: a write of its journal, or a patch of the
    /// control plane.
    pub fn by_controller_with(
        &self,
        to: &str,
        before: &'static str,
        happens: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<Ended> {
        self.by_controller_with_all(to, vec![(before, Box::new(happens))])
    }

    /// A switch by a Job that begins when it can be held, on any machine.
    pub fn by_held_job(&self, to: &str) -> Result<Ended> {
        self.by_controller_with_all(to, Vec::from(self.held(to)?))
    }

    /// The same, with something that happens just before a request of it.
    pub fn by_held_job_with(
        &self,
        to: &str,
        before: &'static str,
        happens: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<Ended> {
        let mut all = Vec::from(self.held(to)?);
        all.push((before, Box::new(happens)));
        self.by_controller_with_all(to, all)
    }

    /// A Job that does nothing until Kamaji is held.
    fn held(&self, to: &str) -> Result<[(&'static str, Happens); 2]> {
        let (job, name, system) = (held(self, to)?, self.job()?, self.place.system);
        Ok([
            ("patch request", Box::new(move || system.apply(&[job]))),
            ("freeze done", Box::new(move || let_go(system, &name))),
        ])
    }

    /// The same, with several.
    pub fn by_controller_with_all(
        &self,
        to: &str,
        all: Vec<(&'static str, Happens)>,
    ) -> Result<Ended> {
        self.with_all(self.by_controller(to)?, to, all)
    }

    /// Runs the program, with something that happens just before requests of its switch to a store.
    pub fn with_all(
        &self,
        program: Command,
        to: &str,
        mut all: Vec<(&'static str, Happens)>,
    ) -> Result<Ended> {
        let (name, wanted) = (migration(self, to), all.len());
        let (tell, told) = std::sync::mpsc::channel();
        let mut gate = watch::channel(true).1;
        let proxy = Proxy::new(On::A, move |seen| {
            let Some(point) = point(seen, &name) else {
                return Fate::Pass;
            };
            let (now, later) = std::mem::take(&mut all)
                .into_iter()
                .partition::<Vec<_>, _>(|(before, _)| *before == point);
            all = later;
            if !now.is_empty() {
                let (open, opened) = watch::channel(false);
                let tell = tell.clone();
                // Beside the proxy: what takes long must not keep the run's lock from being renewed.
                std::thread::spawn(move || {
                    for (_, happens) in now {
                        tell.send(happens()).ok();
                    }
                    open.send(true).ok();
                });
                gate = opened;
            }
            // Also one that is sent again meanwhile.
            Fate::Hold(gate.clone())
        })?;
        let ended = proxy.end(program)?;
        let happened = told.try_iter().collect::<Result<Vec<()>>>()?;
        ensure!(
            happened.len() == wanted,
            "only {} of {wanted} happened: {ended:?}",
            happened.len()
        );
        Ok(ended)
    }

    /// Goes back; everything is as it was before, and nothing of the Job is left.
    pub fn goes_back(&self, to: &str, before: &Value) -> Result<()> {
        let name = migration(self, to);
        let args = ["rollback", &name, "--confirm", &name];
        end(self.namespace.migrate(&args)?)?.with_code(0)?;
        self.is_as_before(to, before)
    }

    /// Nothing of a switch is left.
    pub fn is_as_before(&self, to: &str, before: &Value) -> Result<()> {
        let now = wanted(self)?;
        ensure!(now == *before, "{now} was {before}");
        self.until_ready_on(SILVER)?;
        ensure!(self.policies()?.is_empty(), "our freeze is left behind");
        ensure!(!self.is_frozen()?, "Kamaji's freeze is left behind");
        self.has_no_job()?;
        if to == GOLD {
            let left = self.place.gold.count(&self.schema()?)?;
            ensure!(left == 0, "{left} keys are left at the target");
        }
        self.write("after-the-way-back")?;
        self.kubectl(&["delete", "configmap", "after-the-way-back"])?;
        Ok(())
    }

    /// Neither Job nor pods.
    pub fn has_no_job(&self) -> Result<()> {
        ensure!(self.found_job()?.is_none(), "the job is left");
        let selector = format!("batch.kubernetes.io/job-name={}", self.job()?);
        let pods = self
            .place
            .system
            .kubectl(&["get", "pods", "-l", &selector, "-o", "name"])?;
        ensure!(pods.is_empty(), "pods are left: {pods}");
        Ok(())
    }
}

#[test]
fn a_tenant_that_is_written_to_and_watched_moves_there_and_back_by_kamaji_s_job() -> Result<()> {
    // What other tests do in the stores that they share moves their revisions, and with them the verdict.
    let [silver, gold] = Kind::Etcd.two(["chrome", "titanium"])?;
    let (from, to) = (silver.name.as_str(), gold.name.as_str());
    let tenant = Tenant::new("by-kamaji", from)?;
    let (schema, before) = (tenant.schema()?, wanted(&tenant)?);
    let report = move_by(&tenant, to, || tenant.by_held_job(to))?;
    is_proven(&tenant, to, &report)?;
    ensure!(report["outputs"]["freeze"]["raced"] == false, "{report}");
    ensure!(
        wanted(&tenant)?["annotations"] == before["annotations"],
        "annotations are left behind"
    );

    // What Kamaji leaves would be taken for a copy of its next migration.
    switch(&tenant, from, &BY_CONTROLLER)?
        .with_code(10)?
        .says(&[
            "migration job",
            "Kamaji would take it for the new one's",
            "target data",
        ])?;
    let name = migration(&tenant, to);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("old.snapshot").display().to_string();
    let cleanup = [
        "cleanup",
        &name,
        "--old-data",
        "--confirm",
        &schema,
        "--backup",
        &file,
    ];
    let told = end(tenant.namespace.migrate(&cleanup)?)?.with_code(0)?;
    ensure!(told.out.contains(&format!("written to {file}")), "{told:?}");
    ensure!(std::fs::metadata(&file)?.len() > 1_000, "an empty backup");
    let job = format!("job/{} deleted", tenant.job()?);
    ensure!(told.out.contains(&job), "{told:?}");
    tenant.until("no job and no pod of it", || Ok(tenant.has_no_job().ok()))?;

    let report = move_by(&tenant, from, || tenant.by_held_job(from))?;
    is_proven(&tenant, from, &report)
}
