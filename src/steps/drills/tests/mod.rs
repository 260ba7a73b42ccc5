//! Generated: killed before and after each change that a check asks for, gone on with and taken back.
mod world;

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::world::{Cluster, Cut};
use super::{Scratch, TearDown, Wall, scratch_name};
use crate::{
    engine::{
        Cx, Ended, FORMAT, Header, Journal, MemoryStore, Outcome, RunError, Sink, Step, Stop,
        UndoPlan, Undone, rollback, run,
    },
    plan::{self, Network, Plan, RunAs, Workload},
    steps::{
        Place,
        inventory::Inventory,
        movers::testing::movers,
        restores::StartWorkload,
        users::tests::{belongs, shop},
    },
};

/// An earlier step that was done.
struct Left(&'static str);

#[async_trait]
impl Step for Left {
    fn id(&self) -> &'static str {
        self.0
    }
    fn title(&self) -> String {
        self.0.to_owned()
    }
    fn undo_plan(&self) -> UndoPlan {
        UndoPlan::Nothing
    }
    async fn apply(&self, _: &Cx) -> Result<Outcome> {
        Ok(Outcome::Done(Value::Null))
    }
    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}

fn a_plan() -> Plan {
    let text = "{apiVersion: kubectl-migrate/v1, kind: Migration, metadata: {name: m, namespace: shop}, \
        spec: {playbook: restore-check, source: {snapshot: db/20261128T041500Z, bucket: {address: 's3://b'}}}}";
    plan::parse("m.yaml", text).expect("a plan")
}

fn inventory() -> Inventory {
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop", "uid": "s1", "labels": {"app": "db"}},
        "spec": {"replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}}},
        "status": {"replicas": 2},
    });
    let inventory = json!({"workload": workload, "replicas": 2, "volumes": [], "left_out": []});
    serde_json::from_value(inventory).expect("an inventory")
}

/// The steps of a check that change a cluster and are no movers'; without the last the world is as when it is looked at.
fn steps(cluster: &Cluster, whole: bool) -> Vec<Arc<dyn Step>> {
    let shop = shop(&cluster.api());
    let place = Place {
        namespace: scratch_name("r1"),
        ..shop.clone()
    };
    let scratch = Scratch {
        belongs: belongs(),
        place: place.clone(),
        like: Some(shop.clone()),
    };
    let mut steps: Vec<Arc<dyn Step>> = vec![
        Arc::new(scratch.clone()),
        Arc::new(Wall {
            belongs: belongs(),
            place: place.clone(),
            workload: inventory().workload,
            network: Network::Closed,
            movers: movers(RunAs::Root, crate::steps::inventory::Mode::Filesystem, shop),
        }),
        Arc::new(StartWorkload {
            plan: a_plan(),
            belongs: belongs(),
            target: place,
            workload: Workload::StatefulSet("db".to_owned()),
            inventory: inventory(),
            within: Duration::from_secs(1),
        }),
        Arc::new(Left("examine")),
    ];
    if whole {
        steps.push(Arc::new(TearDown(scratch)));
    }
    steps
}

fn header(whole: bool) -> Header {
    let created: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    Header {
        format: FORMAT,
        tool: "kubectl-migrate 0.1.0".to_owned(),
        migration: "m".to_owned(),
        namespace: "shop".to_owned(),
        cluster: "c".to_owned(),
        target_cluster: None,
        run: "r1".to_owned(),
        playbook: "restore-check".to_owned(),
        digest: String::new(),
        plan: Value::Null,
        steps: steps(&Cluster::new(), whole)
            .iter()
            .map(|step| step.id().to_owned())
            .collect(),
        created,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    On,
    Back,
}

/// A cluster and the journal of a check in it.
struct Scene {
    cluster: Cluster,
    store: MemoryStore,
    whole: bool,
}

impl Scene {
    async fn new(whole: bool) -> Self {
        let store = MemoryStore::default();
        let begun = Journal::create(Box::new(store.clone()), header(whole), Timestamp::now).await;
        begun.expect("an empty store");
        Self {
            cluster: Cluster::new(),
            store,
            whole,
        }
    }

    /// A process that runs or rolls back: none when it was killed.
    async fn go(&self, way: Way, cut: Option<Cut>) -> Option<Result<Ended, RunError>> {
        self.cluster.with(|world| {
            world.revive();
            world.changes.clear();
            world.cut = cut;
        });
        let opened = Journal::open(Box::new(self.store.clone()), "memory", Timestamp::now).await;
        let mut journal = opened.expect("it can be read").expect("it is there");
        let steps = steps(&self.cluster, self.whole);
        let (sink, _events, _latest) = Sink::new();
        let (_wish, stop) = Stop::new();
        let going = async {
            match way {
                Way::On => run(&steps, &mut journal, &sink, &stop).await,
                Way::Back => rollback(&steps, None, &mut journal, &sink, &stop).await,
            }
        };
        tokio::select! {
            ended = going => Some(ended),
            () = self.cluster.killed.notified() => None,
        }
    }

    /// The same to its end; how many changes that took.
    async fn done(&self, way: Way) -> usize {
        let ended = self.go(way, None).await.expect("nobody kills it");
        assert_eq!(ended.expect("it works"), Ended::Done);
        self.cluster.with(|world| world.changes.len())
    }

    fn paths(&self) -> Vec<String> {
        self.cluster.with(|world| world.paths())
    }
}

#[tokio::test]
async fn while_it_is_looked_at_it_is_behind_a_wall_and_marked_as_ours() {
    let scene = Scene::new(false).await;
    let before = scene.paths();
    scene.done(Way::On).await;
    let made: Vec<_> = scene
        .paths()
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();
    let below = "namespaces/migrate-check-r1";
    assert_eq!(
        made,
        [
            format!("/api/v1/{below}"),
            format!("/api/v1/{below}/serviceaccounts/default"),
            format!("/apis/apps/v1/{below}/statefulsets/db"),
            format!("/apis/networking.k8s.io/v1/{below}/networkpolicies/deny-all"),
        ]
    );
    let namespace = scene.cluster.with(|world| world.objects[&made[0]].clone());
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({
            "app.kubernetes.io/managed-by": "kubectl-migrate", "kubectl-migrate/home": "shop",
            "kubectl-migrate/migration": "m", "kubectl-migrate/role": "scratch", "kubectl-migrate/run": "r1",
            "pod-security.kubernetes.io/enforce": "baseline",
        })
    );
    let policy = scene.cluster.with(|world| world.objects[&made[3]].clone());
    assert_eq!(
        policy["spec"],
        json!({
            "podSelector": {"matchExpressions": [
                {"key": "kubectl-migrate/role", "operator": "NotIn", "values": ["mover-target", "wall-listen"]},
            ]},
            "policyTypes": ["Ingress", "Egress"],
        })
    );
    scene.done(Way::Back).await;
    assert_eq!(scene.paths(), before);
}

#[tokio::test]
async fn volumes_that_outlive_their_claims_go_with_the_check_and_others_stay() {
    let scene = Scene::new(true).await;
    scene.done(Way::On).await;
    let policy = |name: &str| {
        let at = format!("/api/v1/persistentvolumes/{name}");
        scene
            .cluster
            .with(|world| world.objects[&at]["spec"]["persistentVolumeReclaimPolicy"].clone())
    };
    assert_eq!(
        ["pvc-ours", "pvc-theirs", "rescued"].map(policy),
        ["Delete", "Retain", "Retain"].map(|policy| json!(policy))
    );
}

#[tokio::test]
async fn killed_at_any_change_nothing_is_left_of_it() {
    for whole in [true, false] {
        let uncut = Scene::new(whole).await;
        let before = uncut.paths();
        let on = uncut.done(Way::On).await;
        let there = uncut.paths();
        let back = uncut.done(Way::Back).await;
        assert_eq!(uncut.paths(), before);
        assert!(on > 6, "it asks for {on} changes");
        for (way, count) in [(Way::On, on), (Way::Back, back)] {
            for number in 0..count {
                for cut in [Cut::Before(number), Cut::After(number)] {
                    for then in [Way::On, Way::Back] {
                        if way == Way::Back && then == Way::On {
                            continue;
                        }
                        let what = format!("{way:?} killed {cut:?}, then {then:?}, {whole}");
                        let scene = Scene::new(whole).await;
                        if way == Way::Back {
                            scene.done(Way::On).await;
                        }
                        let ended = scene.go(way, Some(cut)).await;
                        assert!(ended.is_none(), "{what}: {ended:?}");
                        scene.done(then).await;
                        let end = if then == Way::On { &there } else { &before };
                        assert_eq!(&scene.paths(), end, "{what}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn every_step_may_be_made_twice() {
    let (once, twice) = (Cluster::new(), Cluster::new());
    let (sink, _events, _latest) = Sink::new();
    let (_wish, stop) = Stop::new();
    for (cluster, times) in [(&once, 1), (&twice, 2)] {
        for step in steps(cluster, false) {
            for time in 0..times {
                let mut cx = Cx::fresh(sink.clone(), stop.clone());
                cx.again = time > 0;
                let outcome = step.apply(&cx).await.expect("it works");
                assert!(matches!(outcome, Outcome::Done(_)), "{}", step.id());
            }
        }
    }
    assert_eq!(
        once.with(|world| world.paths()),
        twice.with(|world| world.paths())
    );
}

#[tokio::test]
async fn a_network_that_enforces_nothing_stops_it_before_anything_starts() {
    let scene = Scene::new(true).await;
    let before = scene.paths();
    scene.cluster.with(|world| world.enforces = false);
    let ended = scene.go(Way::On, None).await.expect("nobody kills it");
    let error = ended.expect_err("it is blocked");
    assert!(matches!(error, RunError::Blocked { .. }), "{error}");
    assert!(
        error.to_string().contains("does not enforce policies"),
        "{error}"
    );
    let left = scene.paths();
    assert!(
        !left
            .iter()
            .any(|path| path.contains("statefulsets") || path.contains("/pods/")),
        "{left:?}"
    );
    scene.done(Way::Back).await;
    assert_eq!(scene.paths(), before);
}

#[tokio::test]
async fn what_is_there_already_is_never_taken_for_ours() {
    let scene = Scene::new(true).await;
    let namespace = "/api/v1/namespaces/migrate-check-r1";
    scene.cluster.with(|world| {
        let theirs = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "migrate-check-r1", "uid": "t1", "resourceVersion": "1"}});
        world.objects.insert(namespace.to_owned(), theirs);
    });
    let before = scene.paths();
    let ended = scene.go(Way::On, None).await.expect("nobody kills it");
    assert!(ended.is_err(), "{ended:?}");
    scene.done(Way::Back).await;
    assert_eq!(scene.paths(), before);
}
