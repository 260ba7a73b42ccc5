//! A PostgreSQL server.
use anyhow::Result;
use serde_json::{Value, json};

use super::{CERTIFICATES, CLIENT, Store, image};

/// Root comes by the socket without a password.
const PSQL: [&str; 7] = ["psql", "-h", "/tmp", "-U", "root", "-v", "ON_ERROR_STOP=1"];

impl Store {
    pub(super) fn postgres(&self) -> Result<Value> {
        let probe = [&PSQL[..], &["-c", "SELECT 1", "postgres"]].concat();
        Ok(json!({
            // Every API server has dozens of connections.
            "image": image("postgres")?, "args": ["-c", "max_connections=300"],
            "env": self.login("USER_NAME", "PASSWORD"),
            "startupProbe": {"exec": {"command": probe}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 600},
        }))
    }

    /// What a database says to statements, as root's.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let said = self.exec(&[&PSQL[..], &["-q", "-At", "-c", sql, database]].concat())?;
        Ok(said.trim_end().to_owned())
    }

    /// Copies a tenant's database to another store by PostgreSQL's own means, from a pod.
    pub fn dump_postgres(&self, to: &Self, schema: &str) -> Result<()> {
        to.psql("postgres", &format!("CREATE DATABASE \"{schema}\""))?;
        let place = |store: &Self, letter: char, all: &str, client: &str| {
            format!(
                "host={} dbname={schema} user=$({letter}_USER) password=$({letter}_PASSWORD) sslmode=verify-full \
                sslrootcert={all}/ca.crt sslcert={client}/tls.crt sslkey={client}/tls.key",
                store.host()
            )
        };
        let source = place(self, 'A', CERTIFICATES, CLIENT);
        let target = place(to, 'B', "/to", "/to-client");
        let script =
            format!("pg_dump --no-owner '{source}' | psql -q -v ON_ERROR_STOP=1 '{target}'");
        self.run_copy(to, schema, &image("postgres")?, &script)
    }
}
