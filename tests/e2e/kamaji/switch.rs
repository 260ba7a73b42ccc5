//! `switch-datastore`: a tenant that is written to and watched all the time moves to another store, and back.
use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    super::{
        kills::Kills,
        proxy::Fate,
        support::{Ended, end},
    },
    client::{Watching, Writer},
    store::Kind,
    tenant::Tenant,
};

/// The program's switch to a store.
pub(super) fn switch(tenant: &Tenant, to: &str, flags: &[&str]) -> Result<Ended> {
    let args = ["switch-datastore", &tenant.name, "--to", to, "--yes"];
    end(tenant.namespace.migrate(&[&args[..], flags].concat())?)
}

/// The name of a switch's migration.
pub(super) fn migration(tenant: &Tenant, to: &str) -> String {
    format!("switch-{}-{to}", tenant.name)
}

/// What is seen of a writer before anything else is begun: of three objects it deletes one, and more than ten of each
/// are to be there in the end, however little it gets done on a slow machine from then on.
const SEEN: usize = 50;

/// Moves while clients write and watch; gives the report.
pub(super) fn move_it(tenant: &Tenant, to: &str, flags: &[&str]) -> Result<Value> {
    move_by(tenant, to, || switch(tenant, to, flags))
}

/// The same, by a run of one's own.
pub(super) fn move_by(
    tenant: &Tenant,
    to: &str,
    run: impl FnOnce() -> Result<Ended>,
) -> Result<Value> {
    let watching = Watching::start(&tenant.kubeconfig())?;
    let writer = Writer::start(&tenant.kubeconfig(), &format!("to-{to}"));
    tenant.until("the writer to be seen", || {
        let seen = watching.known().ever.len();
        Ok((seen > SEEN).then_some(()))
    })?;
    let ended = run();
    let told = writer.end()?;
    ended?.with_code(0)?;
    tenant.write(&format!("after-{to}"))?;
    tenant.until("the watcher to see what was made after the switch", || {
        Ok(watching
            .known()
            .present
            .contains(&format!("after-{to}"))
            .then_some(()))
    })?;
    let known = watching.known();
    let there = tenant.kubectl(&["get", "configmaps", "-o", "json"])?;
    told.holds(&serde_json::from_str(&there)?)?;
    ensure!(
        told.made.len() > 10 && told.deleted.len() > 10,
        "too little was written: {told:?}"
    );
    for name in told.made.keys() {
        ensure!(
            known.ever.contains(name) && known.present.contains(name),
            "the watcher missed {name}"
        );
    }
    for name in &told.deleted {
        ensure!(
            !known.present.contains(name),
            "the watcher missed that {name} was deleted"
        );
    }
    let report = tenant.namespace.report(&migration(tenant, to))?;
    println!(
        "to {to}: {} writes kept, {} deleted, {} refused, none accepted for {:.1?}; the watcher listed {} times",
        told.made.len(),
        told.deleted.len(),
        told.refused,
        told.gap,
        known.relisted
    );
    Ok(report)
}

pub(super) fn is_proven(tenant: &Tenant, on: &str, report: &Value) -> Result<()> {
    tenant.until_ready_on(on)?;
    tenant.is_served_from(on)?;
    let object = tenant.get()?;
    ensure!(
        object["metadata"]["annotations"]["kamaji.clastix.io/paused"].is_null(),
        "{object}"
    );
    ensure!(tenant.policies()?.is_empty(), "the freeze is left behind");
    let outputs = &report["outputs"];
    ensure!(report["state"] == "done", "{report}");
    ensure!(
        outputs["verify"]["different"] == 0 && outputs["verify"]["keys"].as_u64() > Some(100),
        "{outputs}"
    );
    ensure!(outputs["settle"]["later"]["writes"] == 0, "{outputs}");
    ensure!(outputs["settle"]["restart_kubelets"] == false, "{outputs}");
    Ok(())
}

#[test]
fn a_tenant_that_is_written_to_and_watched_moves_there_and_back() -> Result<()> {
    // What other tests do in the stores that they share moves their revisions, and with them the verdict.
    let [silver, gold] = Kind::Etcd.two(["nickel", "cobalt"])?;
    let (from, to) = (silver.name.as_str(), gold.name.as_str());
    let tenant = Tenant::new("switch", from)?;
    let schema = tenant.schema()?;
    let report = move_it(&tenant, to, &[])?;
    is_proven(&tenant, to, &report)?;

    // What the first left would come to life again: it has to be removed by its name.
    switch(&tenant, from, &[])?.with_code(10)?.says(&[
        "target data",
        &format!("datastore {from}"),
        "cleanup",
    ])?;
    ensure!(silver.count(&schema)? > 0);
    let name = migration(&tenant, to);
    let cleanup = |flags: &[&str]| {
        let args = ["cleanup", &name, "--old-data"];
        end(tenant.namespace.migrate(&[&args[..], flags].concat())?)
    };
    let told = cleanup(&["--dry-run=client"])?.with_code(0)?;
    let deleted = format!("schema {schema} in datastore {from} deleted (dry run)");
    ensure!(told.out.contains(&deleted), "{told:?}");
    cleanup(&["--confirm", &name])?
        .with_code(2)?
        .says(&[&schema])?;
    ensure!(silver.count(&schema)? > 0, "removed without its name");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("old.snapshot").display().to_string();
    // Killed when it has the backup and begins to delete: what is left by then is a part, and no backup.
    let kills = Kills::new(Some(Fate::KillAfter), {
        let name = name.clone();
        move |seen| {
            seen.journal_write(&name)
                .filter(|write| write == "cleanup started")
        }
    })?;
    let backed_up = [
        "cleanup",
        &name,
        "--old-data",
        "--confirm",
        &schema,
        "--backup",
        &file,
    ];
    kills.until_cut("cleanup started", || tenant.namespace.migrate(&backed_up))?;
    drop(kills);
    let again = folder.path().join("part").display().to_string();
    cleanup(&["--confirm", &schema, "--backup", &again])?
        .with_code(10)?
        .says(&["was cut off", "would not be whole", "--old-data"])?;
    ensure!(!std::path::Path::new(&again).exists(), "a backup of a part");
    cleanup(&["--confirm", &schema])?.with_code(0)?;
    ensure!(std::fs::metadata(&file)?.len() > 1_000, "an empty backup");
    ensure!(silver.count(&schema)? == 0, "the old data is left");
    let users = silver.etcdctl(&["user", "list"])?;
    let roles = silver.etcdctl(&["role", "list"])?;
    ensure!(
        !users.contains(&schema) && !roles.contains(&schema),
        "{users}{roles}"
    );
    ensure!(gold.count(&schema)? > 0, "the new data is gone");
    cleanup(&["--confirm", &schema])?
        .with_code(0)?
        .says(&["left nothing behind"])?;
    switch(&tenant, to, &["--error-unchanged"])?
        .with_code(3)?
        .says(&[&format!("unchanged: it is in datastore {to}")])?;

    // Back, and with nobody who could write at all.
    let report = move_it(&tenant, from, &["--freeze", "offline"])?;
    is_proven(&tenant, from, &report)
}
