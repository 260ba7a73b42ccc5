//! A MariaDB server.
use anyhow::Result;
use serde_json::{Value, json};

use super::{CERTIFICATES, CLIENT, Store, image};

/// Root comes by the socket without a password.
const MARIADB: [&str; 5] = ["mariadb", "--socket=/tmp/socket", "--user=root", "-N", "-B"];

impl Store {
    pub(super) fn mariadb(&self) -> Result<Value> {
        let probe = [&MARIADB[..], &["-e", "SELECT 1"]].concat();
        Ok(json!({
            // Every API server has dozens of connections.
            "image": image("mariadb")?, "args": ["--max-connections=300"],
            "env": self.login("USER_NAME", "PASSWORD"),
            "startupProbe": {"exec": {"command": probe}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 600},
        }))
    }

    /// What a database says to statements, as root's.
    pub fn mysql(&self, database: &str, sql: &str) -> Result<String> {
        let said = self.exec(&[&MARIADB[..], &["-e", sql, database]].concat())?;
        Ok(said.trim_end().to_owned())
    }

    /// Copies a tenant's database to another store by MariaDB's own means, from a pod.
    pub fn dump_mysql(&self, to: &Self, schema: &str) -> Result<()> {
        to.mysql("mysql", &format!("CREATE DATABASE `{schema}`"))?;
        let place = |store: &Self, letter: char, all: &str, client: &str| {
            format!(
                "--host={} --user=$({letter}_USER) --password=$({letter}_PASSWORD) --ssl-verify-server-cert \
                --ssl-ca={all}/ca.crt --ssl-cert={client}/tls.crt --ssl-key={client}/tls.key",
                store.host()
            )
        };
        let source = place(self, 'A', CERTIFICATES, CLIENT);
        let target = place(to, 'B', "/to", "/to-client");
        let script =
            format!("mariadb-dump {source} --hex-blob {schema} | mariadb {target} {schema}");
        self.run_copy(to, schema, &image("mariadb")?, &script)
    }
}
