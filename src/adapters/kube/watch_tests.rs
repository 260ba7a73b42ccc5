use super::super::fake::{Answer, FakeApi, failure};
use super::*;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

fn object(name: &str, version: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "resourceVersion": version}})
}

fn list(version: &str, names: &[&str]) -> Answer {
    let items: Vec<Value> = names.iter().map(|name| object(name, version)).collect();
    Answer::Json(
        200,
        json!({"metadata": {"resourceVersion": version}, "items": items}),
    )
}

fn event(kind: &str, name: &str, version: &str) -> Value {
    json!({"type": kind, "object": object(name, version)})
}

fn told(change: Result<Change<ConfigMap>, KubeError>) -> String {
    let name = |object: &ConfigMap| object.metadata.name.clone().unwrap_or_default();
    match change {
        Ok(Change::Listed(objects)) => format!(
            "listed {}",
            objects.iter().map(name).collect::<Vec<_>>().join(" ")
        ),
        Ok(Change::Applied(object)) => format!("applied {}", name(&object)),
        Ok(Change::Deleted(object)) => format!("deleted {}", name(&object)),
        Err(error) => format!("error {error}"),
    }
}

async fn told_by(fake: &FakeApi, count: usize) -> Vec<String> {
    let api: Api<ConfigMap> = fake.cluster().namespaced("shop");
    watch(api, Selector::all())
        .take(count)
        .map(told)
        .collect()
        .await
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_it_was_closed() {
    let fake = FakeApi::script([
        list("1", &["a"]),
        Answer::Lines(
            vec![
                event("ADDED", "b", "2"),
                json!({"type": "BOOKMARK", "object": {
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "7"}}}),
            ],
            false,
        ),
        Answer::Lines(vec![event("DELETED", "a", "8")], true),
    ]);
    assert_eq!(
        told_by(&fake, 3).await,
        ["listed a", "applied b", "deleted a"]
    );
    let last = fake.targets().pop().expect("three requests");
    assert!(
        last.contains("resourceVersion=7"),
        "goes on from the bookmark: {last}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expired_lists_again() {
    let gone = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}});
    let fake = FakeApi::script([
        list("1", &["a"]),
        Answer::Lines(vec![gone], false),
        list("9", &["b"]),
        Answer::Json(410, failure("Expired", "too old")),
        list("12", &["c"]),
    ]);
    assert_eq!(
        told_by(&fake, 3).await,
        ["listed a", "listed b", "listed c"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_opened_again() {
    let fake = FakeApi::script([
        list("1", &[]),
        Answer::Lines(Vec::new(), true),
        Answer::Lines(vec![event("MODIFIED", "a", "2")], true),
    ]);
    assert_eq!(told_by(&fake, 2).await, ["listed ", "applied a"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_ends_the_watch_with_its_name() {
    let fake = FakeApi::script([Answer::Json(
        403,
        failure(
            "Forbidden",
            "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\"",
        ),
    )]);
    let told = told_by(&fake, 2).await;
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("user \"jane\" needs verb \"list\""),
        "{told:?}"
    );
}
