//! What the labels of a claim tell a later run of what is on it.
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{super::testing::movers, *};
use crate::{
    adapters::kube::fake::{Answer, FakeApi},
    plan::RunAs,
    steps::{
        inventory::Mode,
        users::tests::{place_with, shop},
    },
};

/// Movers whose target claim `new-data` is this one.
fn over(claim: Value) -> (Movers, Arc<Mutex<Value>>) {
    let kept = Arc::new(Mutex::new(claim));
    let fake = FakeApi::new({
        let kept = Arc::clone(&kept);
        move |seen| {
            assert!(
                seen.target
                    .contains("/namespaces/shop/persistentvolumeclaims/new-data")
            );
            let mut claim = kept.lock().expect("no test thread panicked");
            let labels = seen.body["metadata"]["labels"].as_object();
            for (label, value) in labels.into_iter().flatten() {
                claim["metadata"]["labels"][label] = value.clone();
            }
            if let Some(labels) = claim["metadata"]["labels"].as_object_mut() {
                labels.retain(|_, value| !value.is_null());
            }
            Answer::Json(200, claim.clone())
        }
    });
    let source = place_with(json!([]));
    let mut movers = movers(RunAs::Root, Mode::Block, source);
    movers.target = shop(&fake);
    (movers, kept)
}

fn claim(labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "new-data", "labels": labels},
    })
}

#[tokio::test]
async fn a_claim_that_was_there_is_begun_then_released_then_forgotten() {
    let (movers, kept) = over(claim(&json!({"app": "db"})));
    let found = ["new-data".to_owned()];
    assert_eq!(movers.begun().await.expect("a look"), [false]);
    assert_eq!(movers.adopted(&found).await.expect("a look"), []);

    // Taken is not written to yet: whoever comes in between is not taken for us.
    movers.adopt(&found).await.expect("a mark");
    assert_eq!(movers.begun().await.expect("a look"), [false]);
    movers.write_to([0]).await.expect("a mark");
    assert_eq!(movers.begun().await.expect("a look"), [true]);
    // A later run takes it again, and knows it.
    movers.adopt(&found).await.expect("a mark");
    assert_eq!(movers.begun().await.expect("a look"), [true]);
    let adopted = |released| [Adopted { index: 0, released }];
    let look = movers.adopted(&found).await.expect("a look");
    assert_eq!(look, adopted(false));

    movers.give(&found).await.expect("a mark");
    let look = movers.adopted(&found).await.expect("a look");
    assert_eq!(look, adopted(true));

    movers.forget(&look).await.expect("no mark");
    assert_eq!(movers.adopted(&found).await.expect("a look"), []);
    let kept = kept.lock().expect("no test thread panicked");
    assert_eq!(kept["metadata"]["labels"], json!({"app": "db"}));
}

#[tokio::test]
async fn a_claim_that_we_made_is_begun_and_never_taken_for_one_that_was_there() {
    let (movers, kept) = over(claim(&json!(null)));
    let made = movers.belongs.marks("volume");
    kept.lock().expect("no test thread panicked")["metadata"]["labels"] = json!(made);
    assert_eq!(movers.begun().await.expect("a look"), [false]);
    movers.adopt(&[]).await.expect("a mark");
    assert_eq!(movers.begun().await.expect("a look"), [false]);
    movers.give(&[]).await.expect("nothing to mark");
    let kept = kept.lock().expect("no test thread panicked");
    assert_eq!(kept["metadata"]["labels"][marks::DATA], marks::BEGUN);
    assert_eq!(kept["metadata"]["labels"][marks::ROLE], "volume");
}

#[tokio::test]
async fn what_an_earlier_run_wrote_is_not_ours() {
    let theirs = json!({marks::RUN: "r0", marks::DATA: marks::BEGUN});
    let (movers, _) = over(claim(&theirs));
    assert_eq!(movers.begun().await.expect("a look"), [false]);
}
