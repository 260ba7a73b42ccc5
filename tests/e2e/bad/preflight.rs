//! What preflight finds: nothing is changed by it.
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{check, nothing_is_left, run, to, told, workload};
use crate::support::{Namespace, On, PlanFile, end, output_of, wait_for};

/// A workload with something wrong.
fn wrong(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut object = workload(name);
    change(&mut object);
    object
}

fn workloads() -> Vec<Value> {
    vec![
        workload("db"),
        workload("lost"),
        wrong("stateless", |object| {
            object["spec"]["volumeClaimTemplates"] = json!([]);
            object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([]);
        }),
        wrong("empty", |object| object["spec"]["replicas"] = json!(0)),
        wrong("sick", |object| {
            let container = &mut object["spec"]["template"]["spec"]["containers"][0];
            container["readinessProbe"]["exec"]["command"] = json!(["false"]);
        }),
        wrong("pending", |object| {
            object["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] = json!("gold");
        }),
        wrong("manual", |object| {
            object["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        }),
        wrong("argo", |object| {
            object["metadata"]["labels"] = json!({"argocd.argoproj.io/instance": "shop"});
        }),
        wrong("scaled", |_| {}),
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "by-load"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "scaled"},
                "maxReplicas": 3,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
            },
        }),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "operator"}}),
    ]
}

/// The claim's volume is gone; the folder that held it too.
fn lose(source: &Namespace, claim: &str) -> Result<()> {
    let folder = source.folder(claim)?;
    let bound = source.get(&format!("pvc/{claim}"))?;
    let volume = bound["spec"]["volumeName"].as_str().context("a volume")?;
    source.kubectl(&["delete", "pv", volume, "--wait=false"])?;
    let patch = "{\"metadata\": {\"finalizers\": null}}";
    source.kubectl(&["patch", "pv", volume, "--type=merge", "-p", patch])?;
    std::fs::remove_dir_all(folder)?;
    wait_for("the claim to be lost", || {
        let claim = source.get(&format!("pvc/{claim}"))?;
        Ok((claim["status"]["phase"] == "Lost").then_some(()))
    })
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one cluster is set up for a list of cases"
)]
fn what_is_wrong_with_the_source_or_the_target_is_found_before_anything_is_changed() -> Result<()> {
    let source = Namespace::new(On::A, "bad-source", &[])?;
    let target = Namespace::new(On::A, "bad-target", &[])?;
    source.apply(&workloads())?;
    let operator = source.get("configmap/operator")?;
    source.apply(&[wrong("owned", |object| {
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "operator", "controller": true,
            "uid": operator["metadata"]["uid"],
        }]);
    })])?;
    target.apply(&[workload("db")])?;
    for name in ["db", "lost", "argo", "scaled", "owned"] {
        source.ready(&format!("statefulset/{name}"))?;
    }
    // Without a rollout of its own, an OnDelete StatefulSet cannot be asked for it.
    for pod in ["manual-0", "stateless-0"] {
        source.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "--timeout=900s",
            "pod",
            pod,
        ])?;
    }
    source.kubectl(&[
        "wait",
        "--for=jsonpath={.status.phase}=Running",
        "--timeout=900s",
        "pod/sick-0",
    ])?;
    source.kubectl(&[
        "wait",
        "--for=create",
        "--timeout=900s",
        "pvc/data-pending-0",
    ])?;
    target.ready("statefulset/db")?;
    lose(&source, "data-lost-0")?;

    let mut asleep = to("manual", &target.name);
    asleep["freeze"] = json!({"mode": "sleep"});
    let mut gold = to("db", &target.name);
    gold["target"]["storageClass"] = json!("gold");
    gold["target"]["statefulset"] = json!("other");
    let mut told_all = Vec::new();
    for (what, name, spec) in [
        (
            "a StatefulSet that does not exist",
            "none",
            to("none", &target.name),
        ),
        (
            "one without volumes",
            "stateless",
            to("stateless", &target.name),
        ),
        (
            "one that is scaled to 0",
            "empty",
            to("empty", &target.name),
        ),
        (
            "one with pods that are not ready",
            "sick",
            to("sick", &target.name),
        ),
        (
            "one whose claim is pending",
            "pending",
            to("pending", &target.name),
        ),
        ("one whose claim is lost", "lost", to("lost", &target.name)),
        ("one with OnDelete that is to sleep", "manual", asleep),
        ("one of an operator", "owned", to("owned", &target.name)),
        ("one of Argo CD", "argo", to("argo", &target.name)),
        (
            "a target namespace that does not exist",
            "nowhere",
            to("db", "bad-nowhere"),
        ),
        ("a storage class that does not exist", "gold", gold),
        ("a target that exists", "exists", to("db", &target.name)),
    ] {
        told_all.push(told(what, &run(&source, name, spec)?)?);
        let begun = source.kubectl(&[
            "get",
            "configmap",
            &format!("migrate-{name}"),
            "--ignore-not-found",
            "-o",
            "name",
        ])?;
        if !begun.is_empty() {
            nothing_is_left(&source, name, &target)?;
        }
    }
    check("preflight", &told_all);
    let locks = source.kubectl(&["get", "leases", "-o", "name"])?;
    ensure!(
        !locks.contains("migrate-none"),
        "a lock of what never began: {locks}"
    );

    // An autoscaler leaves alone what was scaled to 0: it is told, and forbids nothing.
    let plan = PlanFile::new(&source.name, "scaled", to("scaled", &target.name))?;
    let seen =
        end(source.migrate(&["preflight", "-f", &plan.path(), "-o", "wide"])?)?.with_code(0)?;
    ensure!(seen.out.contains("by-load"), "{}", seen.out);

    // The claim stays when its StatefulSet goes; it still holds what the pod wrote.
    target.kubectl(&["delete", "statefulset", "db"])?;
    // Until it has ended, it is its pod that is in the way.
    target.kubectl(&["wait", "--for=delete", "--timeout=900s", "pod/db-0"])?;
    let holds = run(&source, "holds", to("db", &target.name))?;
    check(
        "target_holds_data",
        &[told("a target claim that holds data", &holds)?],
    );
    nothing_is_left(&source, "holds", &target)?;
    target.get("pvc/data-db-0")?;
    Ok(())
}

/// The Roles that a plan needs, as objects.
fn roles(place: &Namespace, plan: &PlanFile, user: &str) -> Result<Vec<Value>> {
    let emit = [
        "preflight",
        "-f",
        &plan.path(),
        "--emit-role",
        "--role-user",
        user,
    ];
    let roles = end(place.migrate(&emit)?)?.with_code(0)?.out;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("roles.yaml");
    std::fs::write(&file, roles)?;
    // Not in the namespace of the test: some are of the other, some of the cluster.
    let mut create = Command::new("kubectl");
    create.args(["--kubeconfig", &place.on.kubeconfig()?, "create"]);
    create
        .args(["--dry-run=client", "-o", "json", "-f"])
        .arg(&file);
    let listed = output_of(&mut create)?;
    // As kubectl prints more than one object: a list, or one JSON text after the other.
    let texts = serde_json::Deserializer::from_str(&listed).into_iter();
    let texts: Vec<Value> = texts.collect::<Result<_, _>>()?;
    Ok(
        match texts.first().and_then(|first| first["items"].as_array()) {
            Some(items) => items.clone(),
            None => texts,
        },
    )
}

/// Objects of the whole cluster, deleted at the end.
struct Everywhere<'test>(&'test Namespace);

impl Drop for Everywhere<'_> {
    fn drop(&mut self) {
        let name = &self.0.name;
        for kind in ["clusterrolebinding", "clusterrole"] {
            self.0
                .kubectl(&["delete", kind, name, "--ignore-not-found"])
                .ok();
        }
    }
}

#[test]
fn a_right_that_is_missing_is_named() -> Result<()> {
    let source = Namespace::new(On::A, "bad-rights", &[])?;
    let target = Namespace::new(On::A, "bad-rights-target", &[])?;
    source.apply(&[workload("db")])?;
    source.ready("statefulset/db")?;
    let user = format!("system:serviceaccount:{}:default", source.name);
    let plan = PlanFile::new(&source.name, "m", to("db", &target.name))?;
    let mut objects = roles(&source, &plan, &user)?;
    let _everywhere = Everywhere(&source);
    for object in &mut objects {
        if object["metadata"]["namespace"].is_null() {
            // The cluster's other tests have roles of the name that it was given.
            object["metadata"]["name"] = json!(source.name);
            if object["roleRef"]["kind"] == "ClusterRole" {
                object["roleRef"]["name"] = json!(source.name);
            }
        }
        // A right to create stands alone: it cannot be bound to a name.
        let is_missing = |rule: &Value| {
            let has = |key: &str, what: &str| {
                let all = rule[key].as_array();
                all.is_some_and(|all| all.contains(&json!(what)))
            };
            has("resources", "jobs") && has("verbs", "create")
        };
        if let Some(rules) = object["rules"].as_array_mut() {
            rules.retain(|rule| !is_missing(rule));
        }
        if let Some(rules) = object["rules"].as_array_mut() {
            // A rule of that verb alone is left with none, which no Role may have.
            rules.retain(|rule| {
                rule["verbs"]
                    .as_array()
                    .is_some_and(|verbs| !verbs.is_empty())
            });
        }
    }
    let folder = tempfile::tempdir()?;
    for object in &objects {
        let file = folder.path().join("one.json");
        std::fs::write(&file, object.to_string())?;
        let mut apply = Command::new("kubectl");
        apply
            .args(["--kubeconfig", &On::A.kubeconfig()?, "apply", "-f"])
            .arg(&file);
        output_of(&mut apply)?;
    }
    let mut command = source.migrate(&["run", "-q", "-f", &plan.path()])?;
    command.args(["--as", &user]);
    check("rights", &[told("no right to make jobs", &end(command)?)?]);
    Ok(())
}
