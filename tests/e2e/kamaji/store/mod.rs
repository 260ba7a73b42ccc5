//! The stores of tenants: real servers with TLS, in pods, and the DataStore that tells Kamaji of each. What is
//! special of a kind is in its file.
mod etcd;
mod mysql;
mod nats;
mod postgres;

use std::{process::Command, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::{
    super::support::{CLUSTER, Namespace, output_of, wait_for},
    certificates::{Authority, Pair},
    place::{Place, SYSTEM, system},
};

/// Where a pod has the authority's and the server's certificates.
const CERTIFICATES: &str = "/certificates";
/// Where a pod has the administrator's certificate.
const CLIENT: &str = "/client";
/// Only its group may read a key, or PostgreSQL refuses it.
const KEY_MODE: u32 = 0o440;
/// The user `nobody`, as Debian numbers it.
const NOBODY: u32 = 65_534;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Etcd,
    MySql,
    Nats,
    PostgreSql,
}

impl Kind {
    /// The name in a DataStore.
    fn driver(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::MySql => "MySQL",
            Self::Nats => "NATS",
            Self::PostgreSql => "PostgreSQL",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Etcd => 2379,
            Self::MySql => 3306,
            Self::Nats => 4222,
            Self::PostgreSql => 5432,
        }
    }

    /// Two stores that every test may use, made when the first one asks.
    pub fn both(self) -> Result<&'static [Store; 2]> {
        static MADE: [OnceLock<Result<[Store; 2], String>>; 4] = [const { OnceLock::new() }; 4];
        let made = MADE[self as usize].get_or_init(|| {
            let make = || {
                Place::get()?;
                let name = |metal: &str| format!("{}-{metal}", self.driver().to_lowercase());
                let both = std::thread::scope(|scope| {
                    let silver = scope.spawn(|| Store::of(self, &name("silver")));
                    let gold = Store::of(self, &name("gold"))?;
                    let silver = silver.join().map_err(|_| anyhow!("a thread's end"))??;
                    Ok::<_, anyhow::Error>([silver, gold])
                })?;
                for store in &both {
                    wait_for(&format!("datastore {}", store.name), || store.is_ready())?;
                }
                Ok::<_, anyhow::Error>(both)
            };
            make().map_err(|error| format!("{error:#}"))
        });
        made.as_ref().map_err(|error| anyhow!("{error}"))
    }
}

/// A store of one server.
pub struct Store {
    /// Of the DataStore, the StatefulSet and its Service.
    pub name: String,
    kind: Kind,
    system: &'static Namespace,
}

impl Store {
    /// An etcd.
    pub fn new(name: &str) -> Result<Self> {
        Self::of(Kind::Etcd, name)
    }

    /// Makes it, unless it is there since an earlier run; when this is dropped it stays.
    fn of(kind: Kind, name: &str) -> Result<Self> {
        let this = Self {
            name: name.to_owned(),
            kind,
            system: system(),
        };
        let both = [format!("datastore/{name}"), format!("statefulset/{name}")];
        if this.system.kubectl(&["get", &both[0], &both[1]]).is_err() {
            this.system.apply(&this.secrets()?)?;
            this.system.apply(&[this.service(), this.server()?])?;
            this.system.ready(&format!("statefulset/{name}"))?;
            if kind == Kind::Etcd {
                this.enable_authentication()?;
            }
            this.system.apply(&[this.object()])?;
        }
        Ok(this)
    }

    /// Its DataStore.
    pub fn datastore(&self) -> Result<Value> {
        self.system.get(&format!("datastore/{}", self.name))
    }

    pub fn is_ready(&self) -> Result<Option<()>> {
        Ok((self.datastore()?["status"]["ready"] == true).then_some(()))
    }

    /// Where its server is reached in the cluster.
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.host(), self.kind.port())
    }

    fn host(&self) -> String {
        format!("{0}-0.{0}.{SYSTEM}.svc.cluster.local", self.name)
    }

    /// Runs a program beside its server.
    fn exec(&self, command: &[&str]) -> Result<String> {
        let pod = format!("{}-0", self.name);
        self.system
            .kubectl(&[&["exec", &pod, "--"], command].concat())
    }

    fn secrets(&self) -> Result<[Value; 3]> {
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
        let password: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(24)
            .collect();
        let login = json!({"username": "root", "password": password});
        Ok([
            secret(&self.secret(), &content),
            secret(&self.client_secret(), &client),
            secret(&self.login_secret(), &login),
        ])
    }

    /// The Secret with the authority's and the server's certificates.
    pub fn secret(&self) -> String {
        format!("{}-certs", self.name)
    }

    /// The Secret with root's certificate.
    pub fn client_secret(&self) -> String {
        format!("{}-root-client-certs", self.name)
    }

    /// The Secret with root's password.
    fn login_secret(&self) -> String {
        format!("{}-login", self.name)
    }

    /// Root's name and password for a container, under names of the container's own.
    fn login(&self, user: &str, password: &str) -> [Value; 2] {
        [(user, "username"), (password, "password")].map(|(name, key)| {
            let reference = json!({"name": self.login_secret(), "key": key});
            json!({"name": name, "valueFrom": {"secretKeyRef": reference}})
        })
    }

    fn object(&self) -> Value {
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

    fn service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name},
            "spec": {
                "clusterIP": "None", "selector": {"app": self.name}, "publishNotReadyAddresses": true,
                "ports": [{"name": "client", "port": self.kind.port()}],
            },
        })
    }

    fn server(&self) -> Result<Value> {
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
    fn certificates(&self, prefix: &str, all: &str, root: &str) -> (Vec<Value>, Vec<Value>) {
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

    /// Starts a pod that has this store's certificates and, in `/to` and `/to-client`, those of another one.
    fn start_copy(&self, to: &Self, schema: &str, mut container: Value) -> Result<String> {
        let (mut volumes, mut mounts) = self.certificates("", CERTIFICATES, CLIENT);
        let more = to.certificates("to-", "/to", "/to-client");
        volumes.extend(more.0);
        mounts.extend(more.1);
        container["name"] = json!("copy");
        container["volumeMounts"] = json!(mounts);
        let name = format!("copy-{schema}");
        self.system.apply(&[json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "terminationGracePeriodSeconds": 0, "restartPolicy": "Never",
                "volumes": volumes, "containers": [container],
            },
        })])?;
        Ok(name)
    }

    /// Waits for the good end of a pod that copies, and deletes it.
    pub fn finish_copy(&self, name: &str) -> Result<()> {
        let phase = wait_for(&format!("the end of pod {name}"), || {
            let pod = self.system.get(&format!("pod/{name}"))?;
            let phase = pod["status"]["phase"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Ok(["Succeeded", "Failed"].contains(&&*phase).then_some(phase))
        })?;
        let said = self.system.kubectl(&["logs", name])?;
        ensure!(phase == "Succeeded", "pod {name}: {said}");
        self.system.kubectl(&["delete", "pod", name, "--now"])?;
        Ok(())
    }
}

/// The image of a database server, made on this machine when it is first asked for.
fn image(server: &str) -> Result<String> {
    let said = output_of(Command::new(CLUSTER).args(["database", server]))?;
    Ok(said.lines().last().context("no image")?.to_owned())
}

fn secret(name: &str, content: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content})
}
