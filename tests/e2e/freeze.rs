//! Freeze and thaw of real workloads, with real kubectl users in the way.
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use jiff::Timestamp;
use kubectl_migrate::{
    adapters::kube::{Cluster, ConnectionFlags, connect},
    engine::{
        Check, Cx, Ended, FORMAT, Header, Journal, Kind, MemoryStore, Outcome, Probe, RunError,
        Sink, Step, Stop, UndoPlan, Undone, rollback, run,
    },
    marks::Belongs,
    plan::{FreezeMode, Workload},
    steps::{
        Place,
        freeze::{FreezeStep, Frozen, Thawed, Whose, thaw},
    },
};
use serde_json::{Value, json};

use super::support::{BOUND, Namespace, On};

/// A namespace of its own on cluster a, and this program's way to it.
struct World {
    place: Namespace,
    cluster: Cluster,
}

impl World {
    async fn new(name: &str) -> Result<Self> {
        let flags = ConnectionFlags {
            kubeconfig: Some(On::A.kubeconfig()?.into()),
            ..ConnectionFlags::default()
        };
        Ok(Self {
            place: Namespace::new(On::A, &format!("freeze-{name}"), &[])?,
            cluster: connect(&flags).await?,
        })
    }

    /// The spec as the server prints it, to the byte.
    fn spec(&self, what: &str) -> Result<String> {
        Ok(self.place.get(what)?["spec"].to_string())
    }

    fn step(&self, workload: Workload, mode: FreezeMode, claims: &[&str]) -> FreezeStep {
        FreezeStep {
            place: Place {
                cluster: self.cluster.clone(),
                namespace: self.place.name.clone(),
                remote: false,
            },
            workload,
            mode,
            belongs: Belongs {
                migration: "m".to_owned(),
                home: self.place.name.clone(),
                run: "r1".to_owned(),
            },
            claims: claims.iter().map(|&claim| claim.to_owned()).collect(),
            begun: Value::Null,
            exclusive: Vec::new(),
            bound: BOUND,
        }
    }
}

/// A step that has always something left to do, so that what was done before it is looked at again.
struct Later;

#[async_trait]
impl Step for Later {
    fn id(&self) -> &'static str {
        "later"
    }
    fn title(&self) -> String {
        "rely on the freeze".to_owned()
    }
    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }
    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        Ok(Outcome::Waiting("the test".to_owned()))
    }
    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}

/// A migration that freezes, and then waits for the test.
struct Run {
    steps: Vec<Arc<dyn Step>>,
    journal: Journal,
    sink: Sink,
    stop: Stop,
    _wish: tokio::sync::watch::Sender<bool>,
}

impl Run {
    async fn new(step: &FreezeStep) -> Result<Self> {
        let header = Header {
            format: FORMAT,
            tool: "test".to_owned(),
            migration: "m".to_owned(),
            namespace: step.place.namespace.clone(),
            cluster: String::new(),
            target_cluster: None,
            run: "r1".to_owned(),
            playbook: "freeze".to_owned(),
            plan: Value::Null,
            digest: String::new(),
            steps: vec![step.id().to_owned(), Later.id().to_owned()],
            created: Timestamp::now(),
        };
        let journal =
            Journal::create(Box::new(MemoryStore::default()), header, Timestamp::now).await?;
        let (sink, _, _) = Sink::new();
        let (wish, stop) = Stop::new();
        Ok(Self {
            steps: vec![Arc::new(step.clone()), Arc::new(Later)],
            journal,
            sink,
            stop,
            _wish: wish,
        })
    }

    async fn freeze(&mut self) -> Result<Frozen> {
        let ended = run(&self.steps, &mut self.journal, &self.sink, &self.stop).await;
        if let Err(RunError::Failed { source, .. }) = ended {
            return Err(source);
        }
        ensure!(matches!(ended?, Ended::Waiting { .. }));
        let output = &self.journal.state().outputs()["freeze"];
        Ok(serde_json::from_value(output.clone())?)
    }

    async fn undo(&mut self) -> Result<()> {
        rollback(&self.steps, None, &mut self.journal, &self.sink, &self.stop).await?;
        Ok(())
    }
}

fn container(name: &str) -> Value {
    json!({
        "name": name, "image": "localhost/busybox:1",
        "command": ["/bin/sh"], "args": ["-c", "trap 'exit 0' TERM; while :; do date >>/data/log; sleep 0.2 & wait; done"],
        "readinessProbe": {"exec": {"command": ["test", "-e", "/data/log"]}, "periodSeconds": 1, "timeoutSeconds": 60},
        "livenessProbe": {"exec": {"command": ["grep", "-q", "date", "/proc/1/cmdline"]}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 120},
        "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    })
}

fn stateful_set(replicas: u32, policy: &Value) -> Value {
    let side = json!({"name": "side", "image": "localhost/busybox:1", "restartPolicy": "Always", "command": ["sleep", "3600"]});
    let prepare = json!({"name": "prepare", "image": "localhost/busybox:1", "command": ["sh", "-c", "echo run >>/data/prepared"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "annotations": {"team": "a"}},
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "minReadySeconds": 1,
            "persistentVolumeClaimRetentionPolicy": policy,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {
                "terminationGracePeriodSeconds": 5, "initContainers": [prepare, side], "containers": [container("db")],
            }},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Mi"}},
            }}],
        },
    })
}

fn retain() -> Value {
    json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
}

fn debug_pod(claim: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "debug"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "sh", "image": "localhost/busybox:1", "command": ["sleep", "3600"]}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}],
        },
    })
}

fn db() -> Workload {
    Workload::StatefulSet("db".to_owned())
}

const CLAIMS: [&str; 2] = ["data-db-0", "data-db-1"];

#[tokio::test]
async fn scaled_to_0_the_claims_stay_and_who_scales_up_or_mounts_them_is_named() -> Result<()> {
    let world = World::new("scale").await?;
    world.place.apply(&[stateful_set(
        2,
        &json!({"whenDeleted": "Retain", "whenScaled": "Delete"}),
    )])?;
    world.place.ready("statefulset/db")?;
    let before = world.spec("statefulset/db")?;
    let step = world.step(db(), FreezeMode::Scale, &CLAIMS);
    let mut run = Run::new(&step).await?;
    let frozen = run.freeze().await?;
    ensure!(world.place.get("pods")?["items"] == json!([]));
    ensure!(step.watched().broken(&frozen).await?.is_none());

    let guard = tokio::spawn({
        let (watched, frozen) = (step.watched(), frozen.clone());
        async move { watched.guard(&frozen).await }
    });
    world
        .place
        .kubectl(&["scale", "statefulset/db", "--replicas=2"])?;
    let broken = tokio::time::timeout(BOUND, guard).await??;
    ensure!(broken.kind == Kind::FreezeBroken);
    let named = format!(
        "statefulset {}/db was scaled to 2 by field manager `kubectl` (subresource scale)",
        world.place.name
    );
    ensure!(broken.message.contains(&named), "{broken}");

    // The next run finds that the freeze does not hold, and freezes again with the first original.
    let frozen = run.freeze().await?;
    world.place.apply(&[debug_pod("data-db-1")])?;
    let broken = tokio::time::timeout(BOUND, step.watched().guard(&frozen)).await?;
    let named = format!(
        "pod {}/debug (made by field manager `kubectl-client-side-apply`",
        world.place.name
    );
    ensure!(broken.message.contains(&named), "{broken}");
    ensure!(
        broken.message.contains("mounts claim data-db-1"),
        "{broken}"
    );
    world.place.kubectl(&["delete", "pod", "debug"])?;

    let claims = world.place.kubectl(&["get", "pvc", "-o", "name"])?;
    ensure!(claims.lines().count() == 2, "{claims}");
    run.undo().await?;
    ensure!(world.spec("statefulset/db")? == before);
    let annotations = &world.place.get("statefulset/db")?["metadata"]["annotations"];
    ensure!(annotations.get("kubectl-migrate/original").is_none());
    ensure!(annotations["team"] == "a");
    world.place.ready("statefulset/db")
}

#[tokio::test]
async fn asleep_the_pods_stay_and_nothing_writes_until_they_wake() -> Result<()> {
    let world = World::new("sleep").await?;
    world.place.apply(&[stateful_set(2, &retain())])?;
    world.place.ready("statefulset/db")?;
    let before = world.spec("statefulset/db")?;
    let step = world.step(db(), FreezeMode::Sleep, &CLAIMS);
    let mut run = Run::new(&step).await?;
    run.freeze().await?;
    let log = |pod: &str| {
        world.place.kubectl(&[
            "exec",
            pod,
            "-c",
            "db",
            "--",
            "sh",
            "-c",
            "cat /data/log /data/prepared | md5sum",
        ])
    };
    let frozen = [log("db-0")?, log("db-1")?];
    // A pod that is made again while frozen must not run its init containers on the data.
    world.place.kubectl(&["delete", "pod", "db-1"])?;
    world.place.ready("statefulset/db")?;
    ensure!(frozen == [log("db-0")?, log("db-1")?]);
    run.undo().await?;
    ensure!(world.spec("statefulset/db")? == before);
    world.place.ready("statefulset/db")?;
    let pods = world.place.get("pods")?;
    for pod in pods["items"].as_array().context("pods")? {
        ensure!(
            pod["spec"]["containers"][0]["command"] == json!(["/bin/sh"]),
            "{pod}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_image_without_a_shell_is_said_and_undo_frees_the_stuck_rollout() -> Result<()> {
    let world = World::new("shell").await?;
    let mut object = stateful_set(2, &retain());
    let spec = &mut object["spec"]["template"]["spec"];
    spec["initContainers"] = Value::Null;
    spec["containers"] = json!([{"name": "db", "image": "localhost/etcd:3.6", "command": ["etcd", "--data-dir=/data"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]);
    world.place.apply(&[object])?;
    world.place.ready("statefulset/db")?;
    let before = world.spec("statefulset/db")?;
    let step = world.step(db(), FreezeMode::Sleep, &CLAIMS);
    let mut run = Run::new(&step).await?;
    let error = format!("{:#}", run.freeze().await.expect_err("there is no shell"));
    ensure!(
        error.contains(&format!(
            "pod {}/db-1 cannot run the sleeper: container db:",
            world.place.name
        )),
        "{error}"
    );
    ensure!(error.contains("freeze with mode scale"), "{error}");
    run.undo().await?;
    ensure!(world.spec("statefulset/db")? == before);
    world.place.ready("statefulset/db")
}

#[tokio::test]
async fn a_deployment_wakes_by_its_note_alone_and_others_freezes_are_not_touched() -> Result<()> {
    let world = World::new("deployment").await?;
    world.place.apply(&[
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Mi"}}}}),
    ])?;
    world.place.apply(&[json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "terminationGracePeriodSeconds": 5, "containers": [container("web")],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        }}},
    })])?;
    world.place.ready("deployment/web")?;
    let before = world.spec("deployment/web")?;
    let web = Workload::Deployment("web".to_owned());
    let step = world.step(web.clone(), FreezeMode::Sleep, &["data"]);

    world.place.apply(&[debug_pod("data")])?;
    let (sink, _, _) = Sink::new();
    let (_wish, stop) = Stop::new();
    let cx = Cx::fresh(sink.clone(), stop);
    let Probe::Blocked(checks) = step.probe(&cx).await? else {
        anyhow::bail!("somebody else's pod mounts the claim");
    };
    ensure!(
        checks
            .iter()
            .any(|check| check.evidence.contains("mounts claim data")),
        "{checks:?}"
    );
    world.place.kubectl(&["delete", "pod", "debug"])?;

    let told = step.rehearse(&cx).await?;
    ensure!(
        told.iter().any(|line| line.contains("spec.strategy: ")),
        "{told:?}"
    );
    ensure!(
        world.spec("deployment/web")? == before,
        "a rehearsal changes nothing"
    );
    Run::new(&step).await?.freeze().await?;

    let mut other = step.clone();
    other.belongs.migration = "other".to_owned();
    let Probe::Blocked(checks) = other.probe(&cx).await? else {
        anyhow::bail!("it is frozen by another migration");
    };
    ensure!(
        checks[0].evidence == format!("frozen by migration {}/m", world.place.name),
        "{checks:?}"
    );
    let refused = thaw(
        &step.place,
        &web,
        Whose::Migration {
            name: "other",
            home: &world.place.name,
        },
        BOUND,
        &sink,
    )
    .await;
    ensure!(refused.is_err());

    let thawed = thaw(&step.place, &web, Whose::Anyone, BOUND, &sink).await?;
    ensure!(matches!(thawed, Thawed::Restored(_)));
    ensure!(world.spec("deployment/web")? == before);
    world.place.ready("deployment/web")?;
    let again = thaw(&step.place, &web, Whose::Anyone, BOUND, &sink).await?;
    ensure!(again == Thawed::NotFrozen);
    Ok(())
}

#[tokio::test]
async fn a_gitops_owner_blocks_and_undo_refuses_what_somebody_else_set() -> Result<()> {
    let world = World::new("owner").await?;
    let mut object = stateful_set(1, &retain());
    object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] =
        json!("orders:apps/StatefulSet:shop/db");
    world.place.apply(&[object])?;
    world.place.ready("statefulset/db")?;
    let before = world.spec("statefulset/db")?;
    let step = world.step(db(), FreezeMode::Scale, &["data-db-0"]);
    let (sink, _, _) = Sink::new();
    let (_wish, stop) = Stop::new();
    let Probe::Blocked(checks) = step.probe(&Cx::fresh(sink, stop)).await? else {
        anyhow::bail!("argo cd may put the workload back");
    };
    let named = |check: &Check| check.name == "owner" && check.evidence.contains("argo");
    ensure!(checks.iter().any(named), "{checks:?}");

    let tracking = "argocd.argoproj.io/tracking-id-";
    world
        .place
        .kubectl(&["annotate", "statefulset/db", tracking])?;
    let mut run = Run::new(&step).await?;
    run.freeze().await?;
    world
        .place
        .kubectl(&["scale", "statefulset/db", "--replicas=2"])?;
    let refused = format!("{:#}", run.undo().await.expect_err("2 is not ours"));
    let why = "spec.replicas is 2, set by field manager `kubectl` (subresource scale)";
    ensure!(refused.contains(why), "{refused}");
    world
        .place
        .kubectl(&["scale", "statefulset/db", "--replicas=1"])?;
    run.undo().await?;
    ensure!(world.spec("statefulset/db")? == before);

    let mut run = Run::new(&step).await?;
    run.freeze().await?;
    world.place.kubectl(&["delete", "statefulset/db"])?;
    run.undo().await
}
