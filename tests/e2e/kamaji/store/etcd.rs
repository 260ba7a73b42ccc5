//! An etcd with authentication.
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{super::super::support::wait_for, CERTIFICATES, CLIENT, Store};

const IMAGE: &str = "localhost/etcd:3.6";

impl Store {
    pub(super) fn etcd(&self) -> Value {
        json!({
            "image": IMAGE, "args": [
                // Room for a million keys, which figures are of.
                "--quota-backend-bytes=8589934592",
                "--data-dir=/data/etcd", "--unsafe-no-fsync", "--listen-client-urls=https://0.0.0.0:2379",
                format!("--advertise-client-urls=https://{}", self.endpoint()),
                "--listen-metrics-urls=http://0.0.0.0:2381", "--client-cert-auth",
                format!("--trusted-ca-file={CERTIFICATES}/ca.crt"),
                format!("--cert-file={CERTIFICATES}/server.crt"),
                format!("--key-file={CERTIFICATES}/server.key"),
            ],
            "env": environment("https://localhost:2379"),
            "readinessProbe": {
                "httpGet": {"path": "/readyz", "port": 2381}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 10,
            },
        })
    }

    pub(super) fn enable_authentication(&self) -> Result<()> {
        self.etcdctl(&["user", "add", "root", "--no-password"])?;
        self.etcdctl(&["user", "grant-role", "root", "root"])?;
        self.etcdctl(&["auth", "enable"])?;
        Ok(())
    }

    /// `etcdctl` beside its server, as root.
    pub fn etcdctl(&self, args: &[&str]) -> Result<String> {
        self.exec(&[&["etcdctl"], args].concat())
    }

    /// The same with its answer in JSON.
    pub fn ask(&self, args: &[&str]) -> Result<Value> {
        let text = self.etcdctl(&[args, &["--write-out=json"]].concat())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// How many keys a tenant has.
    pub fn count(&self, schema: &str) -> Result<u64> {
        let range = format!("/{schema}/");
        let all = self.ask(&["get", "--prefix", &range, "--keys-only", "--limit=1"])?;
        // None is left out.
        Ok(all["count"].as_u64().unwrap_or_default())
    }

    /// The revision of its newest write.
    pub fn revision(&self) -> Result<u64> {
        let answer = self.ask(&["get", "/none"])?;
        answer["header"]["revision"].as_u64().context("no revision")
    }

    /// Copies all of a tenant's keys to another store by etcd's own means, from a pod.
    pub fn mirror(&self, to: &Self, schema: &str) -> Result<()> {
        let source = format!("https://{}", self.endpoint());
        let container = json!({
            "image": IMAGE, "env": environment(&source),
            "command": [
                "etcdctl", "make-mirror", format!("--prefix=/{schema}/"), "--dest-cacert=/to/ca.crt",
                "--dest-cert=/to-client/tls.crt", "--dest-key=/to-client/tls.key",
                format!("https://{}", to.endpoint()),
            ],
        });
        let name = self.start_copy(to, schema, container)?;
        let wanted = self.count(schema)?;
        // It goes on for ever.
        wait_for("all keys on the other store", || {
            Ok((to.count(schema)? == wanted).then_some(()))
        })?;
        self.system.kubectl(&["delete", "pod", &name, "--now"])?;
        Ok(())
    }
}

/// What `etcdctl` needs to know.
fn environment(endpoint: &str) -> Value {
    let one = |name: &str, value: String| json!({"name": name, "value": value});
    json!([
        one("ETCDCTL_ENDPOINTS", endpoint.to_owned()),
        one("ETCDCTL_CACERT", format!("{CERTIFICATES}/ca.crt")),
        one("ETCDCTL_CERT", format!("{CLIENT}/tls.crt")),
        one("ETCDCTL_KEY", format!("{CLIENT}/tls.key")),
        // Instead of 2 s and 5 s, for a machine that stands still for longer.
        one("ETCDCTL_DIAL_TIMEOUT", "2m".to_owned()),
        one("ETCDCTL_COMMAND_TIMEOUT", "2m".to_owned()),
    ])
}
