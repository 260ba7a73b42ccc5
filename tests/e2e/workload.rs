//! A database as far as a migration can tell: pods with two volumes each that write all the time.
use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::support::{Namespace, wait_for};

/// Each record is on disk before it is acknowledged. In another namespace than its first the database
/// only reads, so that both sides can be compared while its pods run.
const SCRIPT: &str = r#"
trap 'exit 0' TERM
if [ "$NAMESPACE" = "$WRITES_IN" ]; then
  n=$(tail -n 1 /log/records 2>/dev/null || true)
  n=${n:-0}
  while :; do
    n=$((n + 1))
    echo $n >>/log/records
    sync /log/records
    echo $n
    usleep 20000
  done
fi
while :; do sleep 3600 & wait $!; done
"#;

/// What nobody may find anywhere but in the Secret.
pub const PASSWORD: &str = "hunter2-of-the-test";

/// A claim of the default class.
pub fn claim(name: &str, size: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}},
    }})
}

/// The StatefulSet `db` with what its pods refer to.
pub fn database(namespace: &Namespace, replicas: u32) -> Vec<Value> {
    vec![
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"FLUSH": "always"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "password"}, "stringData": {"PASSWORD": PASSWORD}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "db"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
            "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"name": "db", "port": 5432}]}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
            "serviceName": "db", "replicas": replicas, "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                "serviceAccountName": "db", "terminationGracePeriodSeconds": 2,
                "containers": [{
                    "name": "db", "image": "localhost/busybox:1", "command": ["sh", "-ec", SCRIPT],
                    "env": [
                        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                        {"name": "WRITES_IN", "value": namespace.name},
                    ],
                    "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "password"}}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "log", "mountPath": "/log"}],
                }],
            }},
            "volumeClaimTemplates": [claim("data", "2Gi"), claim("log", "64Mi")],
        }}),
    ]
}

/// Makes the database and waits until every pod has acknowledged a record.
pub fn start(namespace: &Namespace, replicas: u32) -> Result<()> {
    namespace.apply(&database(namespace, replicas))?;
    namespace.ready("statefulset/db")?;
    for pod in 0..replicas {
        let pod = format!("db-{pod}");
        wait_for(&format!("the first record of {pod}"), || {
            let told = namespace.kubectl(&["logs", &pod])?;
            Ok((!told.is_empty()).then_some(()))
        })?;
    }
    Ok(())
}

/// The client of one pod: it has what the pod acknowledged until its end, and that for as long as it likes. The
/// cluster's node is this machine: it reads what the node writes down, for no stream can end too early then.
pub struct Client {
    pod: String,
    told: File,
}

impl Client {
    pub fn of(namespace: &Namespace, pod: &str) -> Result<Self> {
        let kubeconfig = namespace.on.kubeconfig()?;
        let cluster = Path::new(&kubeconfig).parent().context("a folder")?;
        let uid = &namespace.get(&format!("pod/{pod}"))?["metadata"]["uid"];
        let uid = uid.as_str().context("no uid")?;
        let folder = format!("pod-logs/{}_{pod}_{uid}", namespace.name);
        // It is open from here on: that it is deleted with its pod takes nothing away.
        let log = cluster.join(folder).join("db/0.log");
        let told = File::open(&log).with_context(|| log.display().to_string())?;
        let pod = pod.to_owned();
        Ok(Self { pod, told })
    }

    /// The last record that was acknowledged.
    pub fn acknowledged(mut self) -> Result<u64> {
        let mut told = String::new();
        self.told.read_to_string(&mut told)?;
        // Before each are a time and what it was written to.
        let record = |line: &str| line.rsplit(' ').next()?.parse().ok();
        let last = told.lines().rev().find_map(record);
        last.with_context(|| format!("{} acknowledged nothing", self.pod))
    }
}

/// The records in a volume are 1, 2, 3 and so on without a gap; gives the last.
pub fn records(folder: &Path) -> Result<u64> {
    let text = fs::read_to_string(folder.join("records"))?;
    let mut last = 0;
    for line in text.lines() {
        ensure!(
            line.parse() == Ok(last + 1),
            "after record {last} comes `{line}`"
        );
        last += 1;
    }
    Ok(last)
}
