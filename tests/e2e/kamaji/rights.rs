//! The rights of both ways: those that are printed are enough for all of it.
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    super::{
        proxy::{Fate, Proxy},
        support::{On, PlanFile, end, output_of},
    },
    place::{GOLD, SILVER},
    tenant::Tenant,
};

/// The name of the right that only `direct` needs.
const STATUS: &str = "tenantcontrolplanes/status";

/// Runs a switch with the rights that are printed for it; these.
fn switched_by_its_rights(name: &str, way: &str) -> Result<String> {
    let tenant = Tenant::new(name, SILVER)?;
    let namespace = &tenant.namespace;
    namespace.kubectl(&["create", "serviceaccount", "runner"])?;
    let user = format!("system:serviceaccount:{}:runner", namespace.name);
    let plan = PlanFile::new(
        &namespace.name,
        name,
        json!({
            "playbook": "kamaji-datastore", "way": way,
            "source": {"tenantControlPlane": tenant.name}, "target": {"dataStore": GOLD},
        }),
    )?;
    let path = plan.path();
    let args = [
        "preflight",
        "-f",
        &path,
        "--emit-role",
        "--role-user",
        &user,
    ];
    let roles = end(namespace.migrate(&args)?)?.with_code(0)?.out;

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("roles.yaml");
    std::fs::write(&file, &roles)?;
    // They are in several namespaces.
    let kubectl = |verb: &str| {
        let mut command = Command::new("kubectl");
        command.args(["--kubeconfig", &On::A.kubeconfig()?, verb, "-f"]);
        output_of(command.arg(&file))
    };
    kubectl("apply")?;
    let token = namespace.kubectl(&["create", "token", "runner"])?;
    let proxy = Proxy::new(On::A, |_| Fate::Pass)?;
    proxy.log_in(token.trim())?;
    let run = namespace.migrate(&["run", "-f", &path, "--yes"])?;
    let ended = proxy.end(run);
    kubectl("delete")?;
    ended?.with_code(0)?;
    tenant.until_ready_on(GOLD)?;
    tenant.is_served_from(GOLD)?;
    Ok(roles)
}

#[test]
fn the_rights_that_are_printed_are_enough_for_kamaji_s_job() -> Result<()> {
    let roles = switched_by_its_rights("job-rights", "controller")?;
    // The one right that this way is there for not to need.
    ensure!(!roles.contains(STATUS), "{roles}");
    ensure!(roles.contains("namespace: kamaji-system"), "{roles}");
    Ok(())
}

#[test]
fn the_rights_that_are_printed_are_enough_for_the_direct_way() -> Result<()> {
    let roles = switched_by_its_rights("direct-rights", "direct")?;
    ensure!(roles.contains(STATUS), "{roles}");
    Ok(())
}
