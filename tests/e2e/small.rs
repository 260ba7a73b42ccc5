//! The smallest StatefulSet that can be migrated, in a pair of namespaces of its own: one pod, one volume
//! with a few files, and a Service.
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::support::{Namespace, On, PlanFile, wait_for};

/// The migration's name.
pub const NAME: &str = "m";

const SCRIPT: &str = r#"
trap 'exit 0' TERM
if [ ! -e /data/filled ]; then
  mkdir /data/rows
  for i in $(seq 20); do echo "row $i" >/data/rows/$i; done
  ln -s rows/1 /data/first
  touch /data/filled
fi
sleep 100000 & wait $!
"#;

pub struct Small {
    pub source: Namespace,
    pub target: Namespace,
    plan: PlanFile,
    /// The source's spec as it was before anything was begun.
    pub spec: Value,
}

impl Small {
    /// Makes it and waits until its pod is ready.
    pub fn new(name: &str) -> Result<Self> {
        Self::with(name, |_, _| ())
    }

    /// The same with a plan's spec and a StatefulSet that were changed first.
    pub fn with(name: &str, change: impl FnOnce(&mut Value, &mut Value)) -> Result<Self> {
        let source = Namespace::new(On::A, &format!("crash-{name}"), &[])?;
        let target = Namespace::new(On::A, &format!("crash-{name}-new"), &[])?;
        Self::within(source, target, change)
    }

    /// The same in two namespaces, in which something was prepared.
    pub fn within(
        source: Namespace,
        target: Namespace,
        change: impl FnOnce(&mut Value, &mut Value),
    ) -> Result<Self> {
        let mut objects = objects();
        let mut wanted = json!({
            "playbook": "statefulset", "source": {"statefulset": "db"},
            "target": {"namespace": target.name}, "objects": "copy",
        });
        change(&mut wanted, &mut objects[1]);
        source.apply(&objects)?;
        source.ready("statefulset/db")?;
        let spec = source.get("statefulset/db")?["spec"].clone();
        let plan = PlanFile::new(&source.name, NAME, wanted)?;
        Ok(Self {
            source,
            target,
            plan,
            spec,
        })
    }

    pub fn plan(&self) -> String {
        self.plan.path()
    }

    /// The program with these arguments.
    pub fn migrate(&self, args: &[&str]) -> Result<Command> {
        self.source.migrate(args)
    }

    /// Runs the plan; once its journal is there, goes on by name as a user would.
    pub fn run(&self) -> Result<Command> {
        if self.journal().is_ok() {
            self.migrate(&["run", NAME])
        } else {
            self.migrate(&["run", "-f", &self.plan()])
        }
    }

    /// The journal's object.
    pub fn journal(&self) -> Result<Value> {
        self.source.get(&format!("configmap/migrate-{NAME}"))
    }

    /// Everything is at the target and proven, and the source is frozen; gives what is left of the world,
    /// without names that differ from one to the next.
    pub fn is_moved(&self) -> Result<Value> {
        let report = self.source.report(NAME)?;
        ensure!(report["state"] == "waiting", "{report}");
        let verified = &report["outputs"]["verify"]["volumes"][0];
        ensure!(
            verified["source_digest"].is_string()
                && verified["source_digest"] == verified["target_digest"],
            "{verified}"
        );
        let claim = "data-db-0";
        super::tree::assert_equal(&self.source.folder(claim)?, &self.target.folder(claim)?, 0)?;
        let source = self.source.get("statefulset/db")?;
        ensure!(source["spec"]["replicas"] == 0, "{source}");
        ensure!(
            source["metadata"]["annotations"]["kubectl-migrate/original"].is_string(),
            "the note is not on the source: {source}"
        );
        self.target.ready("statefulset/db")?;
        let target = self.target.get("statefulset/db")?;
        Ok(json!({
            "source": Self::left(&self.source)?, "target": Self::left(&self.target)?,
            "spec": target["spec"],
        }))
    }

    /// Everything is as it was before the migration; gives what is left of the world.
    pub fn is_back(&self) -> Result<Value> {
        let report = self.source.report(NAME)?;
        ensure!(report["state"] == "rolled-back", "{report}");
        let source = self.source.get("statefulset/db")?;
        ensure!(source["spec"] == self.spec, "{source}");
        ensure!(
            source["metadata"]["annotations"]
                .as_object()
                .is_none_or(|all| !all.contains_key("kubectl-migrate/original")),
            "the note is still on the source: {source}"
        );
        self.source.ready("statefulset/db")?;
        let left = Self::left(&self.target)?;
        ensure!(left == json!([]), "left behind at the target: {left}");
        Ok(json!({"source": Self::left(&self.source)?, "target": left}))
    }

    /// The objects in a namespace but those that every namespace has.
    fn left(namespace: &Namespace) -> Result<Value> {
        let kinds = "statefulsets,pods,persistentvolumeclaims,jobs,secrets,configmaps,services";
        // A pod may take a moment to go after its owner.
        wait_for("nothing to be on its way out", || {
            let list = namespace.get(kinds)?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let going = |item: &Value| item["metadata"]["deletionTimestamp"].is_string();
            if items.iter().any(going) {
                return Ok(None);
            }
            let mut names: Vec<_> = items
                .iter()
                .map(|item| {
                    let name = item["metadata"]["name"].as_str().unwrap_or_default();
                    format!("{}/{name}", item["kind"].as_str().unwrap_or_default())
                })
                .filter(|name| name != "ConfigMap/kube-root-ca.crt")
                .collect();
            names.sort();
            Ok(Some(json!(names)))
        })
    }
}

fn objects() -> [Value; 2] {
    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Mi"}},
    }});
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
            "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"name": "db", "port": 5432}]}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
            "serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "db", "image": "localhost/busybox:1", "command": ["sh", "-ec", SCRIPT],
                    "readinessProbe": {"exec": {"command": ["test", "-e", "/data/filled"]}, "periodSeconds": 1, "timeoutSeconds": 60},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }],
            }},
            "volumeClaimTemplates": [claim],
        }}),
    ]
}
