//! Somebody else acts meanwhile: nothing of theirs is touched, and nothing of ours is lost.
use serde_json::{Value, json};

use super::{
    Scene, Way,
    world::{Cut, World},
};

/// Killed after so many changes, then the world is changed by somebody; the next run says this, and what follows when
/// that is put right is what it would have been.
async fn refused(cut: usize, meddle: fn(&mut World), says: &str, mend: fn(&mut World)) {
    let scene = Scene::new().await;
    let ended = scene.go(Way::There, Some(Cut::After(cut))).await;
    assert!(ended.is_none(), "{ended:?}");
    scene.cluster.with(meddle);
    for way in [Way::There, Way::Back] {
        let ended = scene.go(way, None).await.expect("nobody kills it");
        let error = anyhow::Error::from(ended.expect_err(says));
        let told = format!("{error:#}");
        assert!(told.contains(says), "{told}");
        scene.sound(says);
    }
    scene.cluster.with(mend);
    scene.done(Way::Back).await;
    scene.sound(says);
}

fn position(changes: &[String], wanted: &str) -> usize {
    let found = changes.iter().position(|change| change.contains(wanted));
    found.unwrap_or_else(|| panic!("no {wanted} in {changes:#?}"))
}

async fn changes() -> Vec<String> {
    let scene = Scene::new().await;
    scene.done(Way::There).await;
    scene.cluster.with(|world| world.changes.clone())
}

const CLAIMS: &str = "/persistentvolumeclaims/data-db-0";

#[tokio::test]
async fn a_claim_that_somebody_makes_in_the_gap_is_left_alone() {
    let gone = position(
        &changes().await,
        &format!("DELETE /api/v1/namespaces/shop{CLAIMS}"),
    );
    refused(
        gone,
        |world| {
            let claim = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data-db-0", "namespace": "shop", "uid": "x", "resourceVersion": "1"},
                "spec": {"volumeName": "pv-of-somebody"}, "status": {"phase": "Bound"},
            });
            world.claims.insert("data-db-0".to_owned(), claim);
        },
        "was made by somebody else meanwhile, with another volume (pv-of-somebody)",
        |world| {
            world.claims.remove("data-db-0");
        },
    )
    .await;
}

#[tokio::test]
async fn a_statefulset_that_somebody_makes_in_the_gap_is_left_alone() {
    let gone = position(
        &changes().await,
        "DELETE /apis/apps/v1/namespaces/shop/statefulsets/db",
    );
    refused(
        gone,
        |world| {
            world.set = Some(json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": {"name": "db", "namespace": "shop", "uid": "x", "resourceVersion": "1"},
                "spec": {"replicas": 2}, "status": {"replicas": 2},
            }));
        },
        "statefulset shop/db was made by somebody else meanwhile",
        |world| world.set = None,
    )
    .await;
}

#[tokio::test]
async fn a_volume_whose_policy_somebody_puts_back_is_retained_again_before_its_claim_goes() {
    let changes = changes().await;
    let deletes = |change: &String| change.starts_with("DELETE /api/v1");
    let deletions: Vec<_> = (0..changes.len())
        .filter(|at| deletes(&changes[*at]))
        .collect();
    assert_eq!(deletions.len(), 4, "{changes:#?}");
    for at in deletions {
        let scene = Scene::new().await;
        assert!(scene.go(Way::There, Some(Cut::Before(at))).await.is_none());
        scene.cluster.with(World::meddle);
        scene.done(Way::There).await;
        scene.sound(&changes[at]);
    }
    // While it is at work, there and back.
    let scene = Scene::new().await;
    scene.cluster.with(|world| world.meddles = true);
    scene.done(Way::There).await;
    scene.sound("there");
    scene.done(Way::Back).await;
    scene.sound("back");
}

#[tokio::test]
async fn a_new_volume_that_is_gone_keeps_nobody_from_the_old_one() {
    let scene = Scene::new().await;
    let before = scene.sound("before");
    scene.done(Way::There).await;
    scene.cluster.with(|world| world.volumes.remove("pv-new-0"));
    scene.done(Way::Back).await;
    let after = scene.sound("back");
    assert_eq!(after["set"], before["set"]);
    for kind in ["claims", "volumes"] {
        let without = |told: &Value| {
            let mut told = told[kind].clone();
            let all = told.as_object_mut().expect("objects");
            all.retain(|name, _| name != "pv-new-0" && name != "data-db-0-migrate-m");
            told
        };
        assert_eq!(without(&after), without(&before));
    }
}

const SET: &str = "DELETE /apis/apps/v1/namespaces/shop/statefulsets/db";

#[tokio::test]
async fn a_claim_that_somebody_deletes_before_the_swap_has_its_volume_after_a_rollback() {
    let scene = Scene::new().await;
    let before = scene.sound("before");
    let swap = position(&changes().await, SET);
    assert!(
        scene
            .go(Way::There, Some(Cut::Before(swap)))
            .await
            .is_none()
    );
    scene.cluster.with(|world| {
        world.claims.remove("data-db-0");
        world.control();
    });
    scene.done(Way::Back).await;
    // What the one who deleted it took along, such as who had bound it, is nobody's.
    assert_eq!(scene.sound("back"), before);
}

#[tokio::test]
async fn a_claim_that_is_being_deleted_keeps_its_volume_from_its_policy() {
    let scene = Scene::new().await;
    let swap = position(&changes().await, SET);
    assert!(
        scene
            .go(Way::There, Some(Cut::Before(swap)))
            .await
            .is_none()
    );
    scene.cluster.with(|world| {
        let claim = world.claims.get_mut("data-db-0").expect("a claim");
        claim["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        claim["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    });
    // It is deleted to its end, and made again on its volume, which outlives it.
    let ended = scene.go(Way::Back, None).await.expect("nobody kills it");
    ended.expect("it works");
    let after = scene.sound("back");
    assert_eq!(
        after["claims"]["data-db-0"]["spec"]["volumeName"],
        "pv-old-0"
    );
}

#[tokio::test]
async fn a_statefulset_that_is_not_gone_yet_is_not_taken_for_one_that_stays() {
    let swap = position(&changes().await, SET);
    for then in [Way::Back, Way::There] {
        let scene = Scene::new().await;
        let before = scene.sound("before");
        scene.cluster.with(|world| world.lingers = true);
        assert!(scene.go(Way::There, Some(Cut::After(swap))).await.is_none());
        let going = scene.cluster.with(|world| {
            world.lingers = false;
            world.set.clone().expect("it lingers")
        });
        assert!(going["metadata"]["deletionTimestamp"].is_string());
        scene.done(then).await;
        let after = scene.sound("after");
        assert!(after["set"]["metadata"]["deletionTimestamp"].is_null());
        if then == Way::Back {
            assert_eq!(after, before);
        }
    }
}
