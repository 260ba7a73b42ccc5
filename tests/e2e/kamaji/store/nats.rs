//! A NATS server with JetStream.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    super::{super::support::wait_for, place::SYSTEM},
    CERTIFICATES, Store,
};

impl Store {
    pub(super) fn nats(&self) -> Value {
        json!({
            "image": "localhost/nats:2", "args": [
                "--jetstream", "--store_dir=/data", "--port=4222", "--http_port=8222",
                "--user=$(USER_NAME)", "--pass=$(PASSWORD)", "--tls",
                format!("--tlscert={CERTIFICATES}/server.crt"), format!("--tlskey={CERTIFICATES}/server.key"),
            ],
            "env": self.login("USER_NAME", "PASSWORD"),
            "readinessProbe": {
                "httpGet": {"path": "/healthz", "port": 8222}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 10,
            },
        })
    }

    /// Whether it has a tenant's bucket, as its monitoring tells.
    pub fn has_bucket(&self, schema: &str) -> Result<bool> {
        let path = format!(
            "/api/v1/namespaces/{SYSTEM}/pods/{}-0:8222/proxy/jsz?streams=true",
            self.name
        );
        let told: Value = serde_json::from_str(&self.system.kubectl(&["get", "--raw", &path])?)?;
        ensure!(told["streams"].is_u64(), "{told}");
        Ok(told.to_string().contains(&format!("\"KV_{schema}\"")))
    }

    /// Makes a tenant's bucket as kine makes it: by starting kine once.
    pub fn make_bucket(&self, schema: &str) -> Result<()> {
        let endpoint = format!(
            "nats://$(DB_USER):$(DB_PASSWORD)@{}?bucket={schema}&noEmbed",
            self.endpoint()
        );
        let container = json!({
            "image": "localhost/kine:1", "env": self.login("DB_USER", "DB_PASSWORD"), "args": [
                format!("--endpoint={endpoint}"), format!("--ca-file={CERTIFICATES}/ca.crt"),
            ],
        });
        let name = self.start_copy(self, schema, container)?;
        wait_for("kine to have its bucket", || {
            let said = self.system.kubectl(&["logs", &name]).unwrap_or_default();
            Ok(said.contains("Kine available").then_some(()))
        })?;
        self.system.kubectl(&["delete", "pod", &name, "--now"])?;
        Ok(())
    }
}
