use super::{
    super::fake::{Answer, FakeApi, Seen, failure},
    *,
};
use serde_json::{Value, json};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::time::Instant;

/// An API server that keeps one Lease and checks its resource version.
#[derive(Clone, Default)]
struct LeaseServer {
    stored: Arc<Mutex<Option<Value>>>,
    silent: Arc<AtomicBool>,
    versions: Arc<AtomicU64>,
}

impl LeaseServer {
    fn stored(&self) -> MutexGuard<'_, Option<Value>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn api(&self) -> FakeApi {
        let server = self.clone();
        FakeApi::new(move |seen: &Seen| {
            if server.silent.load(Ordering::Relaxed) {
                return Answer::Hang;
            }
            let mut stored = server.stored();
            let current = stored
                .as_ref()
                .map(|lease| lease["metadata"]["resourceVersion"].clone());
            match (seen.method.as_str(), current) {
                ("GET", Some(_)) => Answer::Json(200, stored.clone().unwrap_or_default()),
                ("GET" | "PUT", None) => {
                    Answer::Json(404, failure("NotFound", "leases \"l\" not found"))
                }
                ("POST", Some(_)) => {
                    Answer::Json(409, failure("AlreadyExists", "leases \"l\" already exists"))
                }
                ("PUT", Some(current)) if seen.body["metadata"]["resourceVersion"] != current => {
                    Answer::Json(409, failure("Conflict", "the object has been modified"))
                }
                _ => {
                    let version = server.versions.fetch_add(1, Ordering::Relaxed) + 1;
                    let mut lease = seen.body.clone();
                    lease["metadata"]["resourceVersion"] = json!(version.to_string());
                    *stored = Some(lease.clone());
                    Answer::Json(200, lease)
                }
            }
        })
    }

    fn change(&self, key: &str, value: Value) {
        let mut stored = self.stored();
        let lease = stored.as_mut().expect("a Lease");
        lease["spec"][key] = value;
        lease["metadata"]["resourceVersion"] = json!("changed");
    }

    fn spec(&self, key: &str) -> Value {
        self.stored()
            .as_ref()
            .map(|lease| lease["spec"][key].clone())
            .unwrap_or_default()
    }
}

/// A clock that follows tokio's paused one and can be moved ahead of it, as a stopped process sees it.
#[derive(Clone, Default)]
struct Frozen(Arc<AtomicU64>);

impl Frozen {
    fn clock(&self) -> Clock {
        let (start, extra) = (Instant::now(), Arc::clone(&self.0));
        Clock::new(move || start.elapsed() + Duration::from_secs(extra.load(Ordering::Relaxed)))
    }

    fn for_seconds(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn lock(frozen: &Frozen) -> Lock {
    Lock {
        clock: frozen.clock(),
        ..Lock::new("shop", "l", "orders")
    }
}

fn elsewhere() -> HolderIdentity {
    HolderIdentity {
        host: "desk".to_owned(),
        random: "other".to_owned(),
        ..HolderIdentity::of_this_process()
    }
}

fn quiet() -> watch::Receiver<String> {
    watch::channel(String::new()).1
}

async fn take(server: &LeaseServer, lock: &Lock, holder: &HolderIdentity) -> Acquired {
    acquire(&server.api().cluster(), lock, holder, quiet())
        .await
        .expect("an answer")
}

async fn hold(server: &LeaseServer, lock: &Lock, holder: &HolderIdentity) -> Held {
    match take(server, lock, holder).await {
        Acquired::Held(held) => held,
        Acquired::ByOther(other) => panic!("held by {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_acquirers_one_wins_and_the_other_is_told_who() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let first = HolderIdentity::of_this_process();
    let held = hold(&server, &lock(&frozen), &first).await;
    assert_eq!(held.fence(), 1);
    let second = HolderIdentity::of_this_process();
    let Acquired::ByOther(other) = take(&server, &lock(&frozen), &second).await else {
        panic!("two holders")
    };
    assert_eq!((other.pid, other.fence), (Some(first.pid), 1));
    assert!(
        other
            .to_string()
            .starts_with(&format!("process {} on ", first.pid)),
        "{other}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_release_frees_the_lease_and_keeps_the_fence_growing() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    hold(&server, &lock(&frozen), &elsewhere())
        .await
        .release()
        .await
        .expect("released");
    assert_eq!(
        (
            server.spec("holderIdentity"),
            server.spec("leaseTransitions")
        ),
        (Value::Null, json!(1))
    );
    assert_eq!(
        hold(&server, &lock(&frozen), &HolderIdentity::of_this_process())
            .await
            .fence(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_process_of_this_machine_is_replaced_at_once() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let us = HolderIdentity::of_this_process();
    let dead = HolderIdentity {
        start: us.start + 1,
        random: "dead".to_owned(),
        ..us.clone()
    };
    drop(hold(&server, &lock(&frozen), &dead).await);
    let start = Instant::now();
    assert_eq!(hold(&server, &lock(&frozen), &us).await.fence(), 2);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_holder_elsewhere_is_replaced_only_when_asked_and_after_its_whole_duration() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    drop(hold(&server, &lock(&frozen), &elsewhere()).await);
    let us = HolderIdentity::of_this_process();
    assert!(matches!(
        take(&server, &lock(&frozen), &us).await,
        Acquired::ByOther(_)
    ));
    let start = Instant::now();
    let held = hold(
        &server,
        &Lock {
            take_over: true,
            ..lock(&frozen)
        },
        &us,
    )
    .await;
    assert_eq!(
        (held.fence(), start.elapsed() >= DEFAULT_DURATION),
        (2, true)
    );
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_still_renews_is_never_replaced() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let held = hold(&server, &lock(&frozen), &elsewhere()).await;
    let us = HolderIdentity::of_this_process();
    let taken = take(
        &server,
        &Lock {
            take_over: true,
            ..lock(&frozen)
        },
        &us,
    )
    .await;
    assert!(matches!(taken, Acquired::ByOther(_)), "{taken:?}");
    assert_eq!(held.check().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn who_was_asleep_while_it_looked_does_not_take_that_for_the_others_silence() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let held = hold(&server, &lock(&Frozen::default()), &elsewhere()).await;
    let us = HolderIdentity::of_this_process();
    let wanted = Lock {
        take_over: true,
        ..lock(&frozen)
    };
    // Before the holder's first renewal.
    let asleep = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        frozen.for_seconds(60);
    };
    let (taken, ()) = tokio::join!(take(&server, &wanted, &us), asleep);
    assert!(matches!(taken, Acquired::ByOther(_)), "{taken:?}");
    assert_eq!(held.check().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_renewed_for_as_long_as_it_is_held() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let held = hold(&server, &lock(&frozen), &elsewhere()).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(held.check().await, Ok(()));
    }
    assert_eq!(server.spec("leaseTransitions"), json!(1));
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_lost_when_another_number_is_seen() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let held = hold(&server, &lock(&frozen), &elsewhere()).await;
    server.change("leaseTransitions", json!(2));
    server.change("holderIdentity", json!("v1:laptop:b:1:77:5:r"));
    let why = held.lost().await.to_string();
    assert!(why.starts_with("now held by process 77 on laptop"), "{why}");
    assert_eq!(held.check().await, Err(why));
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_was_frozen_past_the_duration_changes_nothing_more() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let held = hold(&server, &lock(&frozen), &elsewhere()).await;
    let guarded = server.api().cluster().guarded(held.guard());
    frozen.for_seconds(15);
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = guarded.namespaced("shop");
    let error = maps
        .delete("a", &kube::api::DeleteParams::default())
        .await
        .expect_err("the lock is gone");
    let text = KubeError::from(error).to_string();
    assert_eq!(
        text,
        "did not delete configmap shop/a: this run lost its lock (not renewed for 15s); another run may be at work"
    );
}

#[tokio::test(start_paused = true)]
async fn a_short_freeze_costs_one_renewal() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let held = hold(&server, &lock(&frozen), &elsewhere()).await;
    frozen.for_seconds(8);
    assert_eq!(held.check().await, Ok(()));
    frozen.for_seconds(8);
    assert_eq!(
        held.check().await,
        Ok(()),
        "the renewal counts from the first freeze"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_silent_loses_the_lock_after_the_duration() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let held = hold(&server, &lock(&frozen), &elsewhere()).await;
    let start = Instant::now();
    server.silent.store(true, Ordering::Relaxed);
    let why = held.lost().await.to_string();
    assert!(why.starts_with("not renewed for"), "{why}");
    assert!(
        start.elapsed() < 2 * DEFAULT_DURATION,
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_label_on_the_lease_does_not_lose_the_lock() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let held = hold(&server, &lock(&frozen), &elsewhere()).await;
    server.change("strategy", json!("anything"));
    frozen.for_seconds(8);
    assert_eq!(held.check().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_limit_reaches_the_holder_when_it_renews_and_stays_for_the_next() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let held = hold(&server, &lock(&frozen), &elsewhere()).await;
    let mut limit = held.limit();
    assert_eq!(*limit.borrow_and_update(), None);
    let start = Instant::now();
    set_limit(&server.api().cluster(), "shop", "l", "slow")
        .await
        .expect("written");
    limit.changed().await.expect("the holder renews");
    assert_eq!(limit.borrow_and_update().as_deref(), Some("slow"));
    assert!(start.elapsed() <= DEFAULT_DURATION / 3);
    assert_eq!(held.check().await, Ok(()));
    held.release().await.expect("released");
    let us = HolderIdentity::of_this_process();
    let next = hold(&server, &lock(&frozen), &us).await;
    assert_eq!(next.limit().borrow().as_deref(), Some("slow"));
}

#[tokio::test(start_paused = true)]
async fn a_limit_needs_a_lease_and_is_written_beside_a_holder_that_renews() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let cluster = server.api().cluster();
    let missing = set_limit(&cluster, "shop", "l", "slow").await;
    assert!(missing.expect_err("no Lease").is_not_found());
    let _held = hold(&server, &lock(&frozen), &elsewhere()).await;
    let seen = server.clone();
    let mut renewals = 3;
    // Somebody is faster each time, but not for ever.
    let busy = FakeApi::new(move |request: &Seen| {
        if request.method == "PUT" && renewals > 0 {
            renewals -= 1;
            return Answer::Json(409, failure("Conflict", "the object has been modified"));
        }
        let stored = seen.stored().clone().unwrap_or_default();
        if request.method == "PUT" {
            let mut lease = request.body.clone();
            lease["metadata"]["resourceVersion"] = json!("written");
            *seen.stored() = Some(lease.clone());
            return Answer::Json(200, lease);
        }
        Answer::Json(200, stored)
    });
    set_limit(&busy.cluster(), "shop", "l", "slow")
        .await
        .expect("written");
    let stored = server.stored().clone().unwrap_or_default();
    assert_eq!(stored["metadata"]["annotations"][LIMIT_ANNOTATION], "slow");
    assert_eq!(stored["spec"]["leaseTransitions"], json!(1));
}

#[tokio::test(start_paused = true)]
async fn progress_reaches_the_lease_and_the_next_runner() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let (tell, progress) = watch::channel(String::new());
    let taken = acquire(
        &server.api().cluster(),
        &lock(&frozen),
        &elsewhere(),
        progress,
    )
    .await
    .expect("an answer");
    tell.send_replace(r#"{"version":1,"step":"copy"}"#.to_owned());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let Acquired::ByOther(other) =
        take(&server, &lock(&frozen), &HolderIdentity::of_this_process()).await
    else {
        panic!("two holders")
    };
    assert_eq!(other.step.as_deref(), Some("copy"));
    drop(taken);
}

#[tokio::test(start_paused = true)]
async fn the_first_progress_is_told_and_the_last_holders_is_not() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let (_tell, progress) = watch::channel(r#"{"version":1,"step":"copy"}"#.to_owned());
    let taken = acquire(
        &server.api().cluster(),
        &lock(&frozen),
        &elsewhere(),
        progress,
    )
    .await
    .expect("an answer");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let annotations = |server: &LeaseServer| {
        server.stored().clone().unwrap_or_default()["metadata"]["annotations"].to_string()
    };
    assert!(annotations(&server).contains("copy"));
    let Acquired::Held(first) = taken else {
        panic!("nobody else")
    };
    first.release().await.expect("released");
    let us = HolderIdentity::of_this_process();
    let _second = hold(&server, &lock(&frozen), &us).await;
    assert!(!annotations(&server).contains("copy"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_deleted_does_not_take_the_numbers_along() {
    let (server, frozen) = (LeaseServer::default(), Frozen::default());
    let above = Lock {
        used: 7,
        ..lock(&frozen)
    };
    let held = hold(&server, &above, &HolderIdentity::of_this_process()).await;
    assert_eq!(held.fence(), 8);
    assert_eq!(server.spec("leaseTransitions"), json!(8));
    held.release().await.expect("released");
    // The Lease's own number counts where it is the greater one.
    let held = hold(&server, &lock(&frozen), &HolderIdentity::of_this_process()).await;
    assert_eq!(held.fence(), 9);
}
