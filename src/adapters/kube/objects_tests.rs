use super::super::fake::{Answer, FakeApi, Seen, failure};
use super::*;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::ConfigMap};
use serde_json::json;
use std::time::Duration;

fn api(fake: &FakeApi) -> Api<ConfigMap> {
    fake.cluster().namespaced("shop")
}

fn labelled(migration: &str) -> Value {
    json!({"metadata": {
        "name": "a", "uid": "u1", "resourceVersion": "1",
        "labels": {MANAGED_BY_LABEL: "kubectl-migrate", "kubectl-migrate/migration": migration},
    }})
}

fn config_map(value: Value) -> ConfigMap {
    serde_json::from_value(value).expect("a config map")
}

fn exists() -> Answer {
    Answer::Json(
        409,
        failure("AlreadyExists", "configmaps \"a\" already exists"),
    )
}

fn absent() -> Answer {
    Answer::Json(404, failure("NotFound", "configmaps \"a\" not found"))
}

#[tokio::test]
async fn a_create_that_broke_is_found_to_be_ours() {
    let fake = FakeApi::script([Answer::Reset, Answer::Json(200, labelled("orders"))]);
    let created = create_owned(&api(&fake), &config_map(labelled("orders")))
        .await
        .expect("it was made");
    assert!(matches!(created, Created::Ours(_)));
}

#[tokio::test]
async fn a_create_that_broke_without_effect_is_made_again() {
    let fake = FakeApi::script([
        Answer::Reset,
        absent(),
        Answer::Json(201, labelled("orders")),
    ]);
    let created = create_owned(&api(&fake), &config_map(labelled("orders")))
        .await
        .expect("it is made");
    assert!(matches!(created, Created::New(_)));
}

#[tokio::test]
async fn a_create_that_broke_twice_is_found_and_one_that_always_breaks_is_given_up() {
    let fake = FakeApi::script([
        Answer::Reset,
        absent(),
        Answer::Reset,
        Answer::Json(200, labelled("orders")),
    ]);
    let created = create_owned(&api(&fake), &config_map(labelled("orders")))
        .await
        .expect("it was made");
    assert!(matches!(created, Created::Ours(_)));

    let fake = FakeApi::new(|seen: &Seen| match seen.method.as_str() {
        "POST" => Answer::Reset,
        _ => absent(),
    });
    let error = create_owned(&api(&fake), &config_map(labelled("orders")))
        .await
        .expect_err("it is never made");
    assert!(matches!(error, KubeError::Ambiguous { .. }), "{error}");
}

#[tokio::test]
async fn another_migrations_object_is_not_taken() {
    let fake = FakeApi::script([exists(), Answer::Json(200, labelled("billing"))]);
    let error = create_owned(&api(&fake), &config_map(labelled("orders")))
        .await
        .expect_err("not ours");
    assert_eq!(
        error.to_string(),
        "configmap shop/a already exists and was not made by this migration; rename or remove it"
    );
}

#[tokio::test]
async fn an_object_without_our_labels_never_owns_another() {
    let plain = json!({"metadata": {"name": "a"}});
    let fake = FakeApi::script([exists(), Answer::Json(200, plain.clone())]);
    let error = create_owned(&api(&fake), &config_map(plain))
        .await
        .expect_err("nobody's");
    assert!(matches!(error, KubeError::AlreadyExists { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_delete_ends_when_the_object_is_gone() {
    let mut gets = 0;
    let fake = FakeApi::new(move |seen: &Seen| match seen.method.as_str() {
        "DELETE" => {
            assert_eq!(seen.body["preconditions"]["uid"], "u1");
            Answer::Json(200, labelled("orders"))
        }
        _ if seen.target.contains("watch=true") => Answer::Hang,
        _ if seen.target.contains('?') && seen.target.contains("limit=") => Answer::Json(
            200,
            json!({"metadata": {"resourceVersion": "5"}, "items": []}),
        ),
        _ => {
            gets += 1;
            if gets > 2 {
                absent()
            } else {
                Answer::Json(200, labelled("orders"))
            }
        }
    });
    let wait = Wait::new("configmap shop/a to be gone", Duration::from_mins(1));
    assert_eq!(
        delete_and_wait(&api(&fake), "a", Some("u1"), &wait)
            .await
            .expect("gone"),
        Deleted::Gone
    );
}

#[tokio::test]
async fn another_object_of_the_same_name_is_left_alone() {
    let fake = FakeApi::script([
        Answer::Json(
            409,
            failure("Conflict", "the UID in the precondition does not match"),
        ),
        Answer::Json(200, json!({"metadata": {"name": "a", "uid": "u2"}})),
    ]);
    let wait = Wait::new("configmap shop/a to be gone", Duration::from_mins(1));
    assert_eq!(
        delete_and_wait(&api(&fake), "a", Some("u1"), &wait)
            .await
            .expect("absent"),
        Deleted::WasAbsent
    );
}

#[tokio::test]
async fn a_json_patch_carries_its_tests() {
    let fake = FakeApi::script([Answer::Json(200, labelled("orders"))]);
    let path = pointer(&["metadata", "annotations", "kubectl-migrate/original"]);
    let operations = [
        JsonPatchOperation::Test {
            path: path.clone(),
            value: json!("3"),
        },
        JsonPatchOperation::Remove { path },
    ];
    json_patch(&api(&fake), "a", &operations)
        .await
        .expect("a patch");
    let seen = &fake.seen()[0];
    assert_eq!(seen.headers["content-type"], "application/json-patch+json");
    assert_eq!(
        seen.target,
        "/api/v1/namespaces/shop/configmaps/a?fieldManager=kubectl-migrate"
    );
    assert_eq!(
        seen.body,
        json!([
            {"op": "test", "path": "/metadata/annotations/kubectl-migrate~1original", "value": "3"},
            {"op": "remove", "path": "/metadata/annotations/kubectl-migrate~1original"},
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn a_replace_whose_answer_was_lost_is_recognised() {
    let mut stored = labelled("orders");
    stored["metadata"]["resourceVersion"] = json!("2");
    let fake = FakeApi::script([
        Answer::Reset,
        Answer::Json(409, failure("Conflict", "the object has been modified")),
        Answer::Json(200, stored),
    ]);
    let replaced = replace(&api(&fake), &config_map(labelled("orders")))
        .await
        .expect("it was us");
    assert_eq!(replaced.metadata.resource_version.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_replace_in_conflict_at_once_is_a_conflict() {
    let fake = FakeApi::script([Answer::Json(
        409,
        failure("Conflict", "the object has been modified"),
    )]);
    let error = replace(&api(&fake), &config_map(labelled("orders")))
        .await
        .expect_err("somebody else");
    assert!(
        matches!(error, KubeError::Conflict { tries: 1, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_list_goes_page_by_page_and_begins_again_after_410() {
    let page = |names: &[&str], next: &str| {
        let items: Vec<Value> = names
            .iter()
            .map(|name| json!({"metadata": {"name": name}}))
            .collect();
        Answer::Json(
            200,
            json!({"metadata": {"continue": next, "resourceVersion": "9"}, "items": items}),
        )
    };
    let fake = FakeApi::script([
        page(&["a"], "token"),
        Answer::Json(410, failure("Expired", "the continue token is too old")),
        page(&["a", "b"], "token"),
        page(&["c"], ""),
    ]);
    let names: Vec<String> = list_all(&api(&fake), &Selector::all())
        .await
        .expect("a list")
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(
        fake.targets()[0].contains("limit=500"),
        "{:?}",
        fake.targets()
    );
}

#[tokio::test]
async fn scaling_gives_the_number_before_and_survives_a_conflict() {
    let scale = |replicas: i32| {
        Answer::Json(
            200,
            json!({"metadata": {"name": "db", "resourceVersion": "1"}, "spec": {"replicas": replicas}}),
        )
    };
    let fake = FakeApi::script([
        scale(3),
        Answer::Json(409, failure("Conflict", "modified")),
        scale(5),
        scale(0),
    ]);
    let sets: Api<StatefulSet> = fake.cluster().namespaced("shop");
    assert_eq!(scale_to_zero(&sets).await.expect("scaled"), 5);
    assert_eq!(fake.seen()[3].body["spec"]["replicas"], 0);
}

async fn scale_to_zero(sets: &Api<StatefulSet>) -> Result<i32, KubeError> {
    scale(sets, "db", 0).await
}
