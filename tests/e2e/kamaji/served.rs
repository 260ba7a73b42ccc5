//! What follows from a tenant's being on a store.
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{super::support::output_of, tenant::Tenant};

impl Tenant {
    /// All of it: pods, their label and server, and who uses which store.
    pub fn is_served_from(&self, store: &str) -> Result<()> {
        let label =
            |operator: &str| format!("component.kamaji.clastix.io/datastore{operator}{store}");
        self.until("no pod on another store", || {
            let left =
                self.namespace
                    .kubectl(&["get", "pods", "-l", &label("!="), "-o", "name"])?;
            Ok(left.is_empty().then_some(()))
        })?;
        let pods = self
            .namespace
            .kubectl(&["get", "pods", "-l", &label("="), "-o", "json"])?;
        let pods: Value = serde_json::from_str(&pods)?;
        self.is_connected(store, &pods["items"][0]["spec"]["containers"])?;
        let mine = json!(format!("{}/{}", self.namespace.name, self.name));
        self.until("the stores to say who uses them", || {
            let all = self.place.system.get("datastores")?;
            let all = all["items"].as_array().cloned().unwrap_or_default();
            let right = all.iter().all(|one| {
                let users = one["status"]["usedBy"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let sorted = users.is_sorted_by_key(|user| user.as_str());
                sorted && users.contains(&mine) == (one["metadata"]["name"] == store)
            });
            Ok(right.then_some(()))
        })
    }

    /// The API server itself talks to etcd; kine beside it to all else, where the tenant's Secret says.
    fn is_connected(&self, store: &str, containers: &Value) -> Result<()> {
        let spec = self.place.system.get(&format!("datastore/{store}"))?["spec"].clone();
        let endpoint = spec["endpoints"][0].as_str().context("no endpoint")?;
        let (count, server) = if spec["driver"] == "etcd" {
            (1, format!("--etcd-servers=https://{endpoint}"))
        } else {
            (2, "--etcd-servers=http://127.0.0.1:2379".to_owned())
        };
        let all = containers.as_array().cloned().unwrap_or_default();
        let args = all[0]["args"].as_array().cloned().unwrap_or_default();
        ensure!(
            all.len() == count && args.contains(&json!(server)),
            "{containers}"
        );
        if count == 2 {
            let place = self.setting("DB_CONNECTION_STRING")?;
            ensure!(place == endpoint, "{place}");
            ensure!(all[1]["name"] == "kine", "{containers}");
        }
        Ok(())
    }

    /// One of the settings that it has for its store.
    pub fn setting(&self, key: &str) -> Result<String> {
        let name = format!("{}-datastore-config", self.name);
        let template = format!("go-template={{{{.data.{key} | base64decode}}}}");
        let args = ["get", "secret", &name, "-o", &template];
        output_of(&mut self.namespace.command(&args)?)
    }
}
