use super::super::fake::{Answer, FakeApi, Seen, failure};
use super::*;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::sync::{Mutex, PoisonError};

fn phase(pod: Option<&Pod>) -> Look {
    match pod
        .and_then(|pod| pod.status.as_ref())
        .and_then(|status| status.phase.as_deref())
    {
        Some("Running") => Look::Done,
        Some("Failed") => Look::Never("it failed".to_owned()),
        Some(phase) => Look::NotYet(phase.to_owned()),
        None => Look::NotYet("absent".to_owned()),
    }
}

fn pod(phase: &str) -> Answer {
    Answer::Json(
        200,
        json!({"metadata": {"name": "p"}, "status": {"phase": phase}}),
    )
}

/// A server whose watch never says anything; the pod has these phases, the last one for ever.
fn silent_server(phases: &'static [&'static str]) -> FakeApi {
    let mut gets = 0;
    FakeApi::new(move |seen: &Seen| {
        if seen.target.contains("watch=true") {
            return Answer::Lines(Vec::new(), true);
        }
        if seen.target.contains("limit=") {
            return Answer::Json(
                200,
                json!({"metadata": {"resourceVersion": "1"}, "items": []}),
            );
        }
        gets += 1;
        pod(phases[(gets - 1).min(phases.len() - 1)])
    })
}

#[tokio::test(start_paused = true)]
async fn a_dead_watch_does_not_hang_the_wait() {
    let fake = silent_server(&["Pending", "Pending", "Running"]);
    let said = Mutex::new(Vec::new());
    let tell = |text: &str| {
        said.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.to_owned());
    };
    let wait = Wait::new("pod shop/p to run", Duration::from_mins(2)).telling(&tell);
    let start = Instant::now();
    wait_for(&fake.cluster().namespaced("shop"), "p", &wait, phase)
        .await
        .expect("it runs");
    assert!(start.elapsed() <= 2 * POLL, "{:?}", start.elapsed());
    let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(
        said[0],
        "still waiting for pod shop/p to run; last seen: Pending"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_bound_with_what_was_seen_last() {
    let fake = silent_server(&["Pending"]);
    let start = Instant::now();
    let wait = Wait::new("pod shop/p to run", Duration::from_secs(25));
    let error = wait_for(&fake.cluster().namespaced("shop"), "p", &wait, phase)
        .await
        .expect_err("never");
    assert_eq!(
        error.to_string(),
        "timed out after 25s waiting for pod shop/p to run; last seen: Pending"
    );
    assert_eq!(start.elapsed(), Duration::from_secs(25));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_cannot_end_well_ends_at_once() {
    let fake = silent_server(&["Failed"]);
    let wait = Wait::new("pod shop/p to run", Duration::from_secs(25));
    let error = wait_for(&fake.cluster().namespaced("shop"), "p", &wait, phase)
        .await
        .expect_err("failed");
    assert_eq!(
        error.to_string(),
        "gave up waiting for pod shop/p to run: it failed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_does_not_hang_the_wait() {
    let fake = FakeApi::new(|_| Answer::Hang);
    let start = Instant::now();
    let wait = Wait::new("pod shop/p to run", Duration::from_mins(3));
    let error = wait_for(&fake.cluster().namespaced("shop"), "p", &wait, phase)
        .await
        .expect_err("nobody answers");
    assert!(matches!(error, KubeError::TimedOut { .. }), "{error}");
    assert_eq!(start.elapsed(), Duration::from_mins(3));
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_watch_reading_will_do() {
    let mut gets = 0;
    let fake = FakeApi::new(move |seen: &Seen| {
        if seen.target.contains("limit=") {
            return Answer::Json(
                403,
                failure(
                    "Forbidden",
                    "pods is forbidden: User \"jane\" cannot list resource",
                ),
            );
        }
        gets += 1;
        pod(if gets > 2 { "Running" } else { "Pending" })
    });
    let wait = Wait::new("pod shop/p to run", Duration::from_mins(1));
    wait_for(&fake.cluster().namespaced("shop"), "p", &wait, phase)
        .await
        .expect("it runs");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_many_sees_them_all() {
    let mut lists = 0;
    let fake = FakeApi::new(move |seen: &Seen| {
        if seen.target.contains("watch=true") {
            return Answer::Lines(Vec::new(), true);
        }
        lists += 1;
        let items = if lists > 3 {
            json!([])
        } else {
            json!([{"metadata": {"name": "p"}}])
        };
        Answer::Json(
            200,
            json!({"metadata": {"resourceVersion": "1"}, "items": items}),
        )
    });
    let wait = Wait::new("all pods to be gone", Duration::from_mins(1));
    let pods: Api<Pod> = fake.cluster().namespaced("shop");
    let left = wait_for_all(&pods, &Selector::labels("app=orders"), &wait, |pods| {
        if pods.is_empty() {
            Look::Done
        } else {
            Look::NotYet(format!("{} left", pods.len()))
        }
    })
    .await
    .expect("all gone");
    assert!(left.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_may_only_get_an_object_waits_for_it_by_getting_it() {
    let mut gets = 0;
    let fake = FakeApi::new(move |seen: &Seen| {
        let alone = !seen.target.contains("watch=") && !seen.target.contains("limit=");
        assert!(alone, "{} was asked for", seen.target);
        gets += 1;
        pod(if gets < 4 { "Pending" } else { "Running" })
    });
    let each = Duration::from_secs(2);
    let wait = Wait::new("pod shop/p to run", Duration::from_mins(2)).reading_each(each);
    let start = Instant::now();
    wait_for(&fake.cluster().namespaced("shop"), "p", &wait, phase)
        .await
        .expect("it runs");
    assert!(start.elapsed() <= 4 * each, "{:?}", start.elapsed());
}
