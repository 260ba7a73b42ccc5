use super::super::fake::{Answer, FakeApi, failure};
use super::*;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

fn config_map() -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "a"}})).expect("a config map")
}

fn found() -> Answer {
    Answer::Json(
        200,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
    )
}

fn api(fake: &FakeApi) -> kube::Api<ConfigMap> {
    fake.cluster().namespaced("shop")
}

#[tokio::test(start_paused = true)]
async fn a_throttled_read_waits_as_long_as_the_server_says() {
    let fake = FakeApi::script([
        Answer::With(
            429,
            vec![("retry-after", "7".to_owned())],
            failure("TooManyRequests", "slow down"),
        ),
        found(),
    ]);
    let start = Instant::now();
    api(&fake).get("a").await.expect("the second try works");
    assert_eq!(start.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_bound_is_not_begun() {
    let fake = FakeApi::script([Answer::With(
        429,
        vec![("retry-after", "3600".to_owned())],
        failure("TooManyRequests", "slow down"),
    )]);
    let error = KubeError::from(api(&fake).get("a").await.expect_err("an hour is too long"));
    assert_eq!(
        error.to_string(),
        "cannot get configmap shop/a: the server still throttles after 1 try in 0.0s: slow down"
    );
}

#[tokio::test(start_paused = true)]
async fn server_errors_resets_and_refusals_are_survived() {
    let fake = FakeApi::script([
        Answer::Json(500, failure("InternalError", "etcdserver: leader changed")),
        Answer::Reset,
        Answer::Refuse,
        Answer::Json(503, failure("ServiceUnavailable", "starting")),
        found(),
    ]);
    api(&fake).get("a").await.expect("the fifth try works");
    assert_eq!(fake.seen().len(), 4, "a refused request is never seen");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_server_is_given_up_within_the_bound() {
    let fake = FakeApi::new(|_| Answer::Hang);
    let start = Instant::now();
    let error = KubeError::from(api(&fake).get("a").await.expect_err("nobody answers"));
    assert!(
        matches!(error, KubeError::Unreachable { tries: 2, .. }),
        "{error}"
    );
    assert!(
        start.elapsed() <= Duration::from_secs(61),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answered_is_given_up_soon() {
    let fake = FakeApi::new(|_| Answer::Refuse);
    let start = Instant::now();
    let error = KubeError::from(api(&fake).get("a").await.expect_err("nobody listens"));
    assert!(matches!(error, KubeError::Unreachable { .. }), "{error}");
    assert!(
        start.elapsed() <= Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_create_that_broke_is_ambiguous_and_sent_once() {
    let fake = FakeApi::script([Answer::Reset]);
    let error = api(&fake)
        .create(&PostParams::default(), &config_map())
        .await
        .expect_err("unknown outcome");
    let error = KubeError::from(error);
    assert!(matches!(error, KubeError::Ambiguous { .. }), "{error}");
    assert!(
        error.to_string().contains("create configmap shop/a"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_create_is_sent_again_when_nothing_was_done() {
    let fake = FakeApi::script([
        Answer::Refuse,
        Answer::Json(503, failure("ServiceUnavailable", "starting")),
        found(),
    ]);
    api(&fake)
        .create(&PostParams::default(), &config_map())
        .await
        .expect("the third try works");
}

#[tokio::test]
async fn a_dry_run_marks_every_change_and_no_read() {
    let fake = FakeApi::new(|_| found());
    let api: kube::Api<ConfigMap> = fake.cluster().dry_run().namespaced("shop");
    api.get("a").await.expect("a read");
    api.create(&PostParams::default(), &config_map())
        .await
        .expect("a create");
    api.patch("a", &PatchParams::default(), &Patch::Merge(json!({})))
        .await
        .expect("a patch");
    api.delete("a", &kube::api::DeleteParams::default())
        .await
        .expect("a delete");
    insta::assert_snapshot!(fake.targets().join("\n"), @r"
    GET /api/v1/namespaces/shop/configmaps/a
    POST /api/v1/namespaces/shop/configmaps?dryRun=All&fieldManager=kubectl-migrate
    PATCH /api/v1/namespaces/shop/configmaps/a?dryRun=All&fieldManager=kubectl-migrate
    DELETE /api/v1/namespaces/shop/configmaps/a?dryRun=All
    ");
    // A server that finds options in the body does not look at the query.
    let seen = fake.seen();
    let deleted = seen.last().expect("the delete");
    assert_eq!(deleted.body["dryRun"], json!(["All"]), "{}", deleted.body);
}

#[tokio::test]
async fn the_guard_stops_changes_and_lets_reads_reviews_and_leases_pass() {
    let fake = FakeApi::new(|seen| {
        if seen.target.contains("selfsubjectreviews") {
            return Answer::Json(
                201,
                json!({"metadata": {}, "status": {"userInfo": {"username": "jane"}}}),
            );
        }
        if seen.target.contains("/leases/") {
            return Answer::Json(200, json!({"metadata": {"name": "a"}, "spec": {}}));
        }
        found()
    });
    let guard: WriteGuard = Arc::new(|| Box::pin(async { Err("held by bob@desk".to_owned()) }));
    let cluster = fake.cluster().guarded(guard);
    let api: kube::Api<ConfigMap> = cluster.namespaced("shop");
    api.get("a").await.expect("a read");
    assert_eq!(cluster.username().await.expect("a review"), "jane");
    let leases: kube::Api<k8s_openapi::api::coordination::v1::Lease> = cluster.namespaced("shop");
    leases
        .patch("a", &PatchParams::default(), &Patch::Merge(json!({})))
        .await
        .expect("a lease");
    let error = KubeError::from(
        api.create(&PostParams::default(), &config_map())
            .await
            .expect_err("no lock"),
    );
    assert_eq!(
        error.to_string(),
        "did not create configmap shop/a: this run lost its lock (held by bob@desk); another run may be at work"
    );
    // A command in a container is asked for by a GET, and may change anything there.
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> = cluster.namespaced("shop");
    let exec = pods
        .exec("db-0", ["true"], &kube::api::AttachParams::default())
        .await;
    let Err(error) = exec else {
        panic!("it was let through")
    };
    assert!(matches!(KubeError::from(error), KubeError::LockLost { .. }));
    assert_eq!(fake.seen().len(), 3, "neither was sent");
}

#[tokio::test(start_paused = true)]
async fn the_guard_is_asked_before_each_repeat() {
    let fake = FakeApi::script([Answer::Json(503, failure("ServiceUnavailable", "starting"))]);
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let guard: WriteGuard = Arc::new(move || {
        let first = counter.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            if first {
                Ok(())
            } else {
                Err("frozen too long".to_owned())
            }
        })
    });
    let api: kube::Api<ConfigMap> = fake.cluster().guarded(guard).namespaced("shop");
    let error = api
        .delete("a", &kube::api::DeleteParams::default())
        .await
        .expect_err("lost between the tries");
    assert!(matches!(KubeError::from(error), KubeError::LockLost { .. }));
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn an_expired_token_names_the_kubeconfigs_user() {
    let fake = FakeApi::script([Answer::Json(401, failure("Unauthorized", "Unauthorized"))]);
    let error = KubeError::from(
        api(&fake)
            .list(&ListParams::default())
            .await
            .expect_err("no token"),
    );
    assert_eq!(
        error.to_string(),
        "cannot log in to https://fake:6443 as kubeconfig user \"jane\": Unauthorized; log in again or renew the credentials"
    );
}

#[tokio::test]
async fn kubes_own_get_opt_still_works_through_the_door() {
    let fake = FakeApi::script([Answer::Json(
        404,
        failure("NotFound", "configmaps \"a\" not found"),
    )]);
    assert!(
        api(&fake)
            .get_opt("a")
            .await
            .expect("absent is no error")
            .is_none()
    );
}
