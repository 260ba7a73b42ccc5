//! An etcd with TLS and authentication, and the DataStore that tells Kamaji of it.
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    super::support::Namespace,
    certificates::{Authority, Pair},
    place::{SYSTEM, system},
};

const CERTIFICATES: &str = "/certificates";
const CLIENT: &str = "/client";

/// A store of one server.
pub struct Store {
    /// Of the DataStore, the StatefulSet and its Service.
    pub name: String,
    system: &'static Namespace,
}

impl Store {
    /// Makes it, unless it is there since an earlier run; when this is dropped it stays.
    pub fn new(name: &str) -> Result<Self> {
        let this = Self {
            name: name.to_owned(),
            system: system(),
        };
        let both = [format!("datastore/{name}"), format!("statefulset/{name}")];
        if this.system.kubectl(&["get", &both[0], &both[1]]).is_err() {
            this.system.apply(&this.certificates()?)?;
            this.system.apply(&[this.service(), this.server()])?;
            this.system.ready(&format!("statefulset/{name}"))?;
            this.etcdctl(&["user", "add", "root", "--no-password"])?;
            this.etcdctl(&["user", "grant-role", "root", "root"])?;
            this.etcdctl(&["auth", "enable"])?;
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
        format!("{}:2379", self.host())
    }

    fn host(&self) -> String {
        format!("{0}-0.{0}.{SYSTEM}.svc.cluster.local", self.name)
    }

    /// `etcdctl` beside its server, as root.
    pub fn etcdctl(&self, args: &[&str]) -> Result<String> {
        let pod = format!("{}-0", self.name);
        self.system
            .kubectl(&[&["exec", &pod, "--", "etcdctl"], args].concat())
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

    fn certificates(&self) -> Result<[Value; 2]> {
        let authority = Authority::new(&format!("etcd-{}", self.name))?;
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
        Ok([
            secret(&self.secret(), &content),
            secret(&self.client_secret(), &client),
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

    fn object(&self) -> Value {
        let reference = |name: &str, key: &str| json!({"secretReference": {"name": name, "namespace": SYSTEM, "keyPath": key}});
        let (all, root) = (&self.secret(), &self.client_secret());
        json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore",
            "metadata": {"name": self.name},
            "spec": {"driver": "etcd", "endpoints": [self.endpoint()], "tlsConfig": {
                "certificateAuthority": {
                    "certificate": reference(all, "ca.crt"), "privateKey": reference(all, "ca.key"),
                },
                "clientCertificate": {
                    "certificate": reference(root, "tls.crt"), "privateKey": reference(root, "tls.key"),
                },
            }},
        })
    }

    fn service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name},
            "spec": {
                "clusterIP": "None", "selector": {"app": self.name}, "publishNotReadyAddresses": true,
                "ports": [{"name": "client", "port": 2379}],
            },
        })
    }

    fn server(&self) -> Value {
        let mounts = json!([
            {"name": "data", "mountPath": "/data"},
            {"name": "certificates", "mountPath": CERTIFICATES, "readOnly": true},
            {"name": "client", "mountPath": CLIENT, "readOnly": true},
        ]);
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": self.name},
            "spec": {
                "serviceName": self.name, "replicas": 1,
                "selector": {"matchLabels": {"app": self.name}},
                "template": {"metadata": {"labels": {"app": self.name}}, "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "containers": [{
                        "name": "etcd", "image": "localhost/etcd:3.6", "args": [
                            "--data-dir=/data/etcd", "--unsafe-no-fsync", "--listen-client-urls=https://0.0.0.0:2379",
                            format!("--advertise-client-urls=https://{}", self.endpoint()),
                            "--listen-metrics-urls=http://0.0.0.0:2381", "--client-cert-auth",
                            format!("--trusted-ca-file={CERTIFICATES}/ca.crt"),
                            format!("--cert-file={CERTIFICATES}/server.crt"),
                            format!("--key-file={CERTIFICATES}/server.key"),
                        ],
                        "env": etcdctl(),
                        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 2381}, "periodSeconds": 1},
                        "volumeMounts": mounts,
                    }],
                    "volumes": [
                        {"name": "certificates", "secret": {"secretName": self.secret()}},
                        {"name": "client", "secret": {"secretName": self.client_secret()}},
                    ],
                }},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                }}],
            },
        })
    }

    /// Copies all of a tenant's keys to another store by etcd's own means, from a pod.
    pub fn mirror(&self, to: &Self, schema: &str) -> Result<()> {
        let prefix = format!("--prefix=/{schema}/");
        let volumes = [
            ("from", self.secret(), CERTIFICATES),
            ("from-client", self.client_secret(), CLIENT),
            ("to", to.secret(), "/to"),
            ("to-client", to.client_secret(), "/to-client"),
        ];
        let mounts = volumes.each_ref();
        let mounts = mounts.map(|(name, _, path)| json!({"name": name, "mountPath": path}));
        let volumes = volumes.each_ref();
        let volumes = volumes
            .map(|(name, secret, _)| json!({"name": name, "secret": {"secretName": secret}}));
        let mut environment = etcdctl();
        environment[0]["value"] = json!(format!("https://{}", self.endpoint()));
        let name = format!("mirror-{schema}");
        self.system.apply(&[json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "volumes": volumes,
                "containers": [{
                    "name": "etcdctl", "image": "localhost/etcd:3.6", "env": environment,
                    "command": [
                        "etcdctl", "make-mirror", prefix, "--dest-cacert=/to/ca.crt",
                        "--dest-cert=/to-client/tls.crt", "--dest-key=/to-client/tls.key",
                        format!("https://{}", to.endpoint()),
                    ],
                    "volumeMounts": mounts,
                }],
            },
        })])?;
        let wanted = self.count(schema)?;
        super::super::support::wait_for("all keys on the other store", || {
            Ok((to.count(schema)? == wanted).then_some(()))
        })?;
        self.system.kubectl(&["delete", "pod", &name, "--now"])?;
        Ok(())
    }
}

/// What `etcdctl` needs to know.
fn etcdctl() -> Value {
    let one = |name: &str, value: String| json!({"name": name, "value": value});
    json!([
        one("ETCDCTL_ENDPOINTS", "https://localhost:2379".to_owned()),
        one("ETCDCTL_CACERT", format!("{CERTIFICATES}/ca.crt")),
        one("ETCDCTL_CERT", format!("{CLIENT}/tls.crt")),
        one("ETCDCTL_KEY", format!("{CLIENT}/tls.key")),
    ])
}

fn secret(name: &str, content: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content})
}
