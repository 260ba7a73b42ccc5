//! Generated: killed before and after each change that a swap asks for, there and back.
mod refusals;
mod world;

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::world::{Cluster, Cut};
use super::{InPlace, Retain, Swap};
use crate::{
    engine::{
        Cx, Ended, FORMAT, Header, Journal, MemoryStore, Outcome, RunError, Sink, Step, Stop,
        UndoPlan, Undone, rollback, run,
    },
    plan::{FreezeMode, Target, Workload},
    steps::{
        freeze::FreezeStep,
        inventory::Inventory,
        users::tests::{belongs, shop},
    },
};

/// An earlier step that was done, and what it left.
struct Left(&'static str, Value);

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
        Ok(Outcome::Done(self.1.clone()))
    }
    async fn undo(&self, _: &Cx) -> Result<Undone> {
        Ok(Undone::Restored)
    }
}

fn in_place(cluster: &Cluster) -> InPlace {
    let place = shop(&cluster.api());
    let volumes: Vec<Value> = (0..2)
        .map(|ordinal| {
            let name = format!("data-db-{ordinal}");
            json!({
                "source": name, "target": format!("{name}-migrate-m"), "volume": world::pair(ordinal)[0],
                "mode": "filesystem", "access": ["ReadWriteOnce"], "capacity": 1, "size": "2Gi",
                "class": "fast", "used": [], "phase": "Bound",
            })
        })
        .collect();
    let inventory = json!({"workload": null, "replicas": 2, "volumes": volumes, "left_out": []});
    let inventory: Inventory = serde_json::from_value(inventory).expect("an inventory");
    InPlace {
        belongs: belongs(),
        place: place.clone(),
        name: "db".to_owned(),
        target: Target {
            storage_class: Some("fast".to_owned()),
            size: "2Gi".parse().ok(),
            ..Target::default()
        },
        freeze: FreezeStep {
            place,
            workload: Workload::StatefulSet("db".to_owned()),
            mode: FreezeMode::Scale,
            belongs: belongs(),
            claims: inventory.claims(),
            begun: Value::Null,
            exclusive: Vec::new(),
            bound: std::time::Duration::from_secs(1),
        },
        inventory,
    }
}

fn steps(cluster: &Cluster) -> Vec<Arc<dyn Step>> {
    let of = in_place(cluster);
    let frozen = json!({
        "uid": "s1", "generation": 2, "mode": "scale", "frozen_at": "2026-01-02T03:04:05Z",
        "original": [{"at": "/spec/replicas", "was": 2, "is": 0}],
    });
    let verified: Vec<Value> = (0..2)
        .map(|ordinal| {
            let name = format!("data-db-{ordinal}");
            json!({
                "source": name, "target": format!("{name}-migrate-m"),
                "target_uid": format!("uid-of-{name}-migrate-m"), "entries": 1, "files": 1, "bytes": 1,
                "source_digest": "d", "target_digest": "d", "differences": 0, "findings": [], "seconds": 1.0,
            })
        })
        .collect();
    vec![
        Arc::new(Left("freeze", frozen)),
        Arc::new(Left("verify", json!({"volumes": verified}))),
        Arc::new(Retain(of.clone())),
        Arc::new(Swap(of)),
    ]
}

fn header() -> Header {
    let created: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    Header {
        format: FORMAT,
        tool: "kubectl-migrate 0.1.0".to_owned(),
        migration: "m".to_owned(),
        namespace: "shop".to_owned(),
        cluster: "c".to_owned(),
        target_cluster: None,
        run: "r1".to_owned(),
        playbook: "statefulset".to_owned(),
        plan: Value::Null,
        digest: String::new(),
        steps: ["freeze", "verify", "retain", "swap"]
            .map(str::to_owned)
            .into(),
        created,
    }
}

/// A cluster and the journal of a migration in it.
struct Scene {
    pub cluster: Cluster,
    store: MemoryStore,
}

/// Forward, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Back,
    /// Down to what was written down, which stays.
    BackToRetain,
}

impl Scene {
    pub async fn new() -> Self {
        let store = MemoryStore::default();
        let journal = Journal::create(Box::new(store.clone()), header(), Timestamp::now).await;
        journal.expect("an empty store");
        Self {
            cluster: Cluster::new(),
            store,
        }
    }

    /// A process that runs or rolls back: none when it was killed.
    pub async fn go(&self, way: Way, cut: Option<Cut>) -> Option<Result<Ended, RunError>> {
        self.cluster.with(|world| {
            world.revive();
            world.changes.clear();
            world.cut = cut;
        });
        let opened = Journal::open(Box::new(self.store.clone()), "memory", Timestamp::now).await;
        let mut journal = opened.expect("it can be read").expect("it is there");
        let steps = steps(&self.cluster);
        let (sink, _events, _latest) = Sink::new();
        let (_wish, stop) = Stop::new();
        let going = async {
            match way {
                Way::There => run(&steps, &mut journal, &sink, &stop).await,
                Way::Back => rollback(&steps, None, &mut journal, &sink, &stop).await,
                Way::BackToRetain => {
                    rollback(&steps, Some("retain"), &mut journal, &sink, &stop).await
                }
            }
        };
        tokio::select! {
            ended = going => Some(ended),
            () = self.cluster.killed.notified() => None,
        }
    }

    /// The same to its end.
    pub async fn done(&self, way: Way) -> usize {
        let ended = self.go(way, None).await.expect("nobody kills it");
        assert_eq!(ended.expect("it works"), Ended::Done);
        self.cluster.with(|world| world.changes.len())
    }

    /// Nothing was lost, and nothing wrong was asked for; gives the world.
    pub fn sound(&self, what: &str) -> Value {
        self.cluster.with(|world| {
            assert!(world.wrong.is_empty(), "{what}: {:?}", world.wrong);
            assert!(world.lost.is_empty(), "{what}: lost {:?}", world.lost);
            world.told()
        })
    }
}

#[tokio::test]
async fn a_swap_gives_the_names_to_the_new_volumes_and_back() {
    let scene = Scene::new().await;
    let before = scene.sound("before");
    scene.done(Way::There).await;
    let there = scene.sound("there");
    for ordinal in 0..2 {
        let claim = &there["claims"][format!("data-db-{ordinal}")];
        assert_eq!(
            claim["spec"]["volumeName"],
            world::pair(ordinal)[1].as_str()
        );
        assert_eq!(claim["spec"]["storageClassName"], "fast");
        assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "2Gi");
        assert_eq!(claim["status"]["phase"], "Bound");
        let meta = json!({"labels": {"app": "db"}, "annotations": {"team": "orders"},
            "name": format!("data-db-{ordinal}"), "namespace": "shop"});
        assert_eq!(claim["metadata"], meta);
        let old = &there["volumes"][world::pair(ordinal)[0].as_str()];
        assert_eq!(old["status"]["phase"], "Released");
        assert_eq!(old["spec"]["persistentVolumeReclaimPolicy"], "Retain");
        assert_eq!(
            old["metadata"]["annotations"]["kubectl-migrate/original"]["policy"],
            "Delete"
        );
    }
    assert_eq!(
        there["claims"].as_object().map(serde_json::Map::len),
        Some(2)
    );
    let set = &there["set"];
    let template = &set["spec"]["volumeClaimTemplates"][0]["spec"];
    assert_eq!(template["storageClassName"], "fast");
    assert_eq!(template["resources"]["requests"]["storage"], "2Gi");
    assert_eq!(
        set["metadata"]["labels"],
        before["set"]["metadata"]["labels"]
    );
    assert_eq!(
        set["metadata"]["ownerReferences"],
        before["set"]["metadata"]["ownerReferences"]
    );
    // A thaw needs no journal.
    let note = scene.cluster.with(|world| {
        let set = world.set.clone().expect("a StatefulSet");
        let note = set["metadata"]["annotations"]["kubectl-migrate/original"].clone();
        let note: Value = serde_json::from_str(note.as_str().expect("a note")).expect("JSON");
        assert_eq!(note["uid"], set["metadata"]["uid"]);
        note
    });
    assert_eq!(note["original"][0]["was"], 2);
    // A part of the way, and on again.
    scene.done(Way::BackToRetain).await;
    assert_eq!(scene.sound("down to retain")["claims"], before["claims"]);
    scene.done(Way::There).await;
    assert_eq!(scene.sound("there again"), there);
    scene.done(Way::Back).await;
    assert_eq!(scene.sound("back"), before);
}

#[tokio::test]
async fn killed_at_any_change_it_comes_to_the_same_end_there_and_back() {
    let uncut = Scene::new().await;
    let before = uncut.sound("before");
    let changes = [uncut.done(Way::There).await, {
        let there = uncut.sound("there");
        let back = uncut.done(Way::Back).await;
        assert_eq!(uncut.sound("back"), before);
        assert_ne!(there, before);
        back
    }];
    let there = {
        let scene = Scene::new().await;
        scene.done(Way::There).await;
        scene.sound("there")
    };
    for (way, count) in [(Way::There, changes[0]), (Way::Back, changes[1])] {
        assert!(count > 10, "{way:?} asks for {count} changes");
        for number in 0..count {
            for cut in [Cut::Before(number), Cut::After(number)] {
                let what = format!("{way:?} killed {cut:?}");
                // Each may be followed by the same again, and by the other direction.
                for then in [Way::There, Way::Back] {
                    let scene = Scene::new().await;
                    if way == Way::Back {
                        scene.done(Way::There).await;
                        if then == Way::There {
                            continue;
                        }
                    }
                    let ended = scene.go(way, Some(cut)).await;
                    assert!(ended.is_none(), "{what}: {ended:?}");
                    scene.sound(&what);
                    scene.done(then).await;
                    let end = if then == Way::There { &there } else { &before };
                    assert_eq!(&scene.sound(&what), end, "{what}, then {then:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn without_rights_from_any_change_on_nothing_is_lost_and_with_them_it_goes_on() {
    let whole = Scene::new().await;
    let before = whole.sound("before");
    let counts = [whole.done(Way::There).await, {
        let there = whole.sound("there");
        assert_ne!(there, before);
        whole.done(Way::Back).await
    }];
    let there = {
        let scene = Scene::new().await;
        scene.done(Way::There).await;
        scene.sound("there")
    };
    for (way, count, thens) in [
        (Way::There, counts[0], &[Way::There, Way::Back][..]),
        (Way::Back, counts[1], &[Way::Back]),
    ] {
        for first in 0..count {
            for then in thens {
                let what = format!("{way:?} without rights from change {first} on, then {then:?}");
                let scene = Scene::new().await;
                if way == Way::Back {
                    scene.done(Way::There).await;
                }
                scene.cluster.with(|world| world.refuses = Some(first));
                let ended = scene.go(way, None).await.expect("nobody kills it");
                let told = format!("{:#}", anyhow::Error::from(ended.expect_err(&what)));
                assert!(told.contains("forbidden to "), "{what}: {told}");
                assert!(told.contains("user \"somebody\""), "{what}: {told}");
                scene.sound(&what);
                scene.cluster.with(|world| world.refuses = None);
                scene.done(*then).await;
                let end = if *then == Way::There { &there } else { &before };
                assert_eq!(&scene.sound(&what), end, "{what}");
            }
        }
    }
}
