//! A switch without the controller's Job: what the way `direct` stands on.
use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    place::{GOLD, SILVER},
    tenant::Tenant,
};

impl Tenant {
    /// Moves it without the controller's Job: it is paused and stopped while `copy` copies.
    pub fn move_by(&self, to: &str, copy: impl FnOnce() -> Result<()>) -> Result<()> {
        self.pause(true)?;
        self.wish(to)?;
        // The paused controller leaves a stopped tenant stopped, but for what it had begun before.
        self.until("its pods to be gone", || {
            self.namespace
                .kubectl(&["scale", "deployment", &self.name, "--replicas=0"])?;
            let pods = self.namespace.kubectl(&["get", "pods", "-o", "name"])?;
            Ok(pods.is_empty().then_some(()))
        })?;
        copy()?;
        self.patch_status(&json!({"storage": {"dataStoreName": to}}))?;
        self.pause(false)?;
        self.until_ready_on(to)
    }
}

#[test]
fn a_tenant_moves_without_a_job() -> Result<()> {
    let tenant = Tenant::new("direct", SILVER)?;
    tenant.write("before")?;
    let (name, schema) = (tenant.name.clone(), tenant.schema()?);
    let config = format!("secret/{name}-datastore-config");
    let password = tenant.namespace.get(&config)?["data"]["DB_PASSWORD"].clone();

    tenant.move_by(GOLD, || {
        tenant.place.silver.mirror(&tenant.place.gold, &schema)?;
        let status = tenant.get()?["status"].clone();
        ensure!(status["storage"]["dataStoreName"] == SILVER, "{status}");
        ensure!(
            status["kubernetesResources"]["version"]["status"] == "Ready",
            "{status}"
        );
        let users = tenant.place.gold.etcdctl(&["user", "list"])?;
        ensure!(
            !users.contains(&schema),
            "a user before the switch: {users}"
        );
        Ok(())
    })?;
    tenant.is_served_from(GOLD)?;
    ensure!(tenant.has("before")?, "lost");
    tenant.write("after")?;
    ensure!(
        tenant.found_job()?.is_none(),
        "a job, though nothing was to be copied"
    );
    ensure!(!tenant.is_frozen()?, "frozen, though nothing was copied");
    ensure!(tenant.schema()? == schema, "another schema");
    let now = tenant.namespace.get(&config)?["data"]["DB_PASSWORD"].clone();
    ensure!(now == password, "another password");
    let role = tenant.place.gold.etcdctl(&["role", "get", &schema])?;
    ensure!(
        role.contains(&format!("[/{schema}/, /{schema}0)")),
        "{role}"
    );
    Ok(())
}

#[test]
fn before_the_flip_nothing_has_happened() -> Result<()> {
    let tenant = Tenant::new("undone", SILVER)?;
    let pods = || tenant.namespace.kubectl(&["get", "pods", "-o", "name"]);
    let before = pods()?;
    tenant.pause(true)?;
    tenant.wish(GOLD)?;
    tenant.wish(SILVER)?;
    tenant.pause(false)?;
    tenant.until_ready_on(SILVER)?;
    tenant.is_served_from(SILVER)?;
    ensure!(pods()? == before, "its pods were changed");
    ensure!(tenant.found_job()?.is_none(), "a job was made");
    tenant.write("after")
}
