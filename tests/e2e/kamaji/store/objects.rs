//! The objects that a store is made of.
use anyhow::Result;
use serde_json::{Value, json};

use super::{
    super::{
        certificates::{Authority, Pair},
        place::SYSTEM,
    },
    CERTIFICATES, CLIENT, Kind, Store,
};

/// Only its group may read a key, or PostgreSQL refuses it.
const KEY_MODE: u32 = 0o440;
/// The user `nobody`, as Debian numbers it.
const NOBODY: u32 = 65_534;

impl Store {
    pub(super) fn secrets(&self) -> Result<Vec<Value>> {
        let authority = Authority::new(&format!("{}-{}", self.kind.driver(), self.name))?;
        let server = authority.server(&[
            self.host(),
            format!("{}.{SYSTEM}.svc.cluster.local", self.name),
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
        ])?;
        let root = authority.client("root")?;
        let Pair { certificate, key } = authority.pair;
        let content = json!({
            "ca.crt": certificate, "ca.key": key,
            "server.crt": server.certificate, "server.key": server.key,
        });
        let client = json!({"tls.crt": root.certificate, "tls.key": root.key});
        let mut all = vec![
            secret(&self.secret(), &content),
            secret(&self.client_secret(), &client),
        ];
        if self.kind != Kind::Etcd {
            let letters = std::iter::repeat_with(fastrand::alphanumeric);
            let password: String = letters.take(24).collect();
            let login = json!({"username": "root", "password": password});
            all.push(secret(&self.login_secret(), &login));
        }
        Ok(all)
    }

    /// Root's name and password for a container, under names of the container's own.
    pub(super) fn login(&self, user: &str, password: &str) -> [Value; 2] {
        [(user, "username"), (password, "password")].map(|(name, key)| {
            let reference = json!({"name": self.login_secret(), "key": key});
            json!({"name": name, "valueFrom": {"secretKeyRef": reference}})
        })
    }

    pub(super) fn object(&self) -> Value {
        let reference = |name: String, key: &str| json!({"secretReference": {"name": name, "namespace": SYSTEM, "keyPath": key}});
        let mut spec = json!({
            "driver": self.kind.driver(), "endpoints": [self.endpoint()],
            "tlsConfig": {"certificateAuthority": {"certificate": reference(self.secret(), "ca.crt")}},
        });
        if self.kind == Kind::Etcd {
            spec["tlsConfig"]["certificateAuthority"]["privateKey"] =
                reference(self.secret(), "ca.key");
        } else {
            spec["basicAuth"] = json!({
                "username": reference(self.login_secret(), "username"),
                "password": reference(self.login_secret(), "password"),
            });
        }
        if self.kind != Kind::Nats {
            spec["tlsConfig"]["clientCertificate"] = json!({
                "certificate": reference(self.client_secret(), "tls.crt"),
                "privateKey": reference(self.client_secret(), "tls.key"),
            });
        }
        json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore",
            "metadata": {"name": self.name}, "spec": spec,
        })
    }

    pub(super) fn service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name},
            "spec": {
                "clusterIP": "None", "selector": {"app": self.name}, "publishNotReadyAddresses": true,
                "ports": [{"name": "client", "port": self.kind.port()}],
            },
        })
    }

    pub(super) fn server(&self) -> Result<Value> {
        let mut container = match self.kind {
            Kind::Etcd => self.etcd(),
            Kind::MySql => self.mariadb()?,
            Kind::Nats => self.nats(),
            Kind::PostgreSql => self.postgres()?,
        };
        let (mut volumes, mut mounts) = self.certificates("", CERTIFICATES, CLIENT);
        mounts.push(json!({"name": "data", "mountPath": "/data"}));
        container["name"] = json!("server");
        container["volumeMounts"] = json!(mounts);
        let mut set = json!({
            "serviceName": self.name, "replicas": 1,
            "selector": {"matchLabels": {"app": self.name}},
            "template": {"metadata": {"labels": {"app": self.name}}, "spec": {
                "terminationGracePeriodSeconds": 2, "containers": [container],
            }},
        });
        let pod = &mut set["template"]["spec"];
        if self.kind == Kind::Etcd {
            set["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            }}]);
        } else {
            // Databases refuse to be root, and a claim's folder is root's.
            pod["securityContext"] =
                json!({"runAsUser": NOBODY, "runAsGroup": NOBODY, "fsGroup": NOBODY});
            volumes.push(json!({"name": "data", "emptyDir": {}}));
        }
        set["template"]["spec"]["volumes"] = json!(volumes);
        Ok(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": self.name}, "spec": set,
        }))
    }

    /// The volumes with its certificates and root's, and where a pod has them.
    pub(super) fn certificates(
        &self,
        prefix: &str,
        all: &str,
        root: &str,
    ) -> (Vec<Value>, Vec<Value>) {
        let both = [
            (format!("{prefix}certificates"), self.secret(), all),
            (format!("{prefix}client"), self.client_secret(), root),
        ];
        let volume = |secret: &str| json!({"secretName": secret, "defaultMode": KEY_MODE});
        let volumes = both.iter();
        let volumes =
            volumes.map(|(name, secret, _)| json!({"name": name, "secret": volume(secret)}));
        let mounts = both.iter();
        let mounts = mounts
            .map(|(name, _, path)| json!({"name": name, "mountPath": path, "readOnly": true}));
        (volumes.collect(), mounts.collect())
    }
}

fn secret(name: &str, content: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content})
}
