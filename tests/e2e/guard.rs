//! What a migration relies on is looked at until the clients are switched: the workload as it began, the
//! freeze, and the copies that were verified.
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    proxy::Proxy,
    small::{NAME, Small},
    support::{Ended, On, end, wait_for},
};

const DB: &str = "statefulset/db";
const CLAIM: &str = "pvc/data-db-0";

fn mark(small: &Small, more: &[&str]) -> Result<Ended> {
    let words = ["mark", NAME, "hand-over", "--done", "--reason", "switched"];
    end(small.migrate(&[&words[..], more].concat())?)
}

fn back(small: &Small) -> Result<()> {
    end(small.migrate(&["rollback", NAME, "--confirm", NAME])?)?.with_code(0)?;
    small.is_back()?;
    Ok(())
}

fn entries(small: &Small) -> Result<Value> {
    Ok(small.journal()?["data"]["journal"].clone())
}

#[test]
fn a_workload_that_became_another_is_not_frozen_and_a_broken_freeze_is_never_handed_over()
-> Result<()> {
    let small = Small::new("drift")?;
    // Not by what it prints: by then a busy machine may have come to the freeze.
    let proxy = Proxy::that_kills_after(On::A, NAME, "prepare done")?;
    let killed = proxy.end(small.run()?)?;
    ensure!(killed.code.is_none(), "{killed:?}");
    small.source.kubectl(&["scale", DB, "--replicas=2"])?;
    small.source.ready(DB)?;
    end(small.run()?)?.with_code(10)?.says(&[
        "spec.replicas was 1 and is 2, set by field manager `kubectl` (subresource scale)",
        "kubectl migrate rollback m",
    ])?;
    let source = small.source.get(DB)?;
    ensure!(source["spec"]["replicas"] == 2, "{source}");
    small.source.kubectl(&["scale", DB, "--replicas=1"])?;
    small.source.ready(DB)?;
    wait_for("the second pod to be gone", || {
        let pods = small.source.get("pods")?;
        let left = pods["items"].as_array().map_or(0, |pods| {
            let of_db = |pod: &&Value| pod["metadata"]["labels"]["app"] == "db";
            pods.iter().filter(of_db).count()
        });
        Ok((left == 1).then_some(()))
    })?;
    end(small.run()?)?.with_code(13)?;
    small.is_moved()?;

    // Up and down again: its pods may have written.
    small.source.kubectl(&["scale", DB, "--replicas=1"])?;
    small.source.kubectl(&["scale", DB, "--replicas=0"])?;
    let before = entries(&small)?;
    let refused = mark(&small, &[])?;
    ensure!(refused.code != Some(0), "{refused:?}");
    refused.says(&[
        "the spec of statefulset",
        "was changed during the freeze",
        "--force",
    ])?;
    let refused = end(small.run()?)?;
    ensure!(refused.code != Some(13), "{refused:?}");
    refused.says(&[
        "was changed during the freeze",
        "step `start-target` has begun since",
    ])?;
    ensure!(entries(&small)? == before, "nothing is made again");
    back(&small)
}

#[test]
fn copies_outlive_a_target_whose_claims_are_to_go_with_it_and_a_lost_one_is_named() -> Result<()> {
    let small = Small::with("policy", |_, object| {
        object["spec"]["persistentVolumeClaimRetentionPolicy"] =
            json!({"whenDeleted": "Delete", "whenScaled": "Retain"});
    })?;
    end(small.run()?)?.with_code(13)?;
    small.is_moved()?;
    let owned = || {
        let claim = small.target.get(CLAIM)?;
        let owner = &claim["metadata"]["ownerReferences"][0]["kind"];
        Ok((*owner == "StatefulSet").then(|| claim["metadata"]["uid"].clone()))
    };
    let uid = wait_for("the controller to make the StatefulSet the owner", owned)?;
    let undo = ["rollback", NAME, "--to", "release", "--confirm", NAME];
    end(small.migrate(&undo)?)?.with_code(0)?;
    let claim = small.target.get(CLAIM)?;
    let meta = &claim["metadata"];
    ensure!(
        meta["uid"] == uid && meta["ownerReferences"].is_null(),
        "{claim}"
    );
    ensure!(meta["deletionTimestamp"].is_null(), "{claim}");
    let gone = small
        .target
        .kubectl(&["get", "statefulsets", "-o", "name"])?;
    ensure!(gone.is_empty(), "{gone}");

    // Another run reads both sides again before it starts the target.
    end(small.run()?)?.with_code(13)?;
    small.is_moved()?;
    let journal = entries(&small)?;
    let again = journal
        .as_str()
        .is_some_and(|text| text.contains("another run verified"));
    ensure!(again, "{journal}");

    // Somebody deletes it by hand, and the claims go with it.
    small.target.kubectl(&["delete", DB])?;
    wait_for("the claim to go", || {
        let left = small.target.kubectl(&["get", "pvc", "-o", "name"])?;
        Ok(left.is_empty().then_some(()))
    })?;
    let refused = end(small.run()?)?;
    ensure!(
        refused.code != Some(0) && refused.code != Some(13),
        "{refused:?}"
    );
    refused.says(&["was verified, and is gone with the copy", "begin anew"])?;
    back(&small)
}

#[test]
fn asleep_a_whole_migration_goes_there_and_another_comes_back() -> Result<()> {
    let asleep = |plan: &mut Value, _: &mut Value| plan["freeze"] = json!({"mode": "sleep"});
    let there = Small::with("asleep", asleep)?;
    end(there.run()?)?.with_code(13)?;
    let source = there.source.get(DB)?;
    ensure!(source["spec"]["replicas"] == 1, "{source}");
    let pod = there.source.get("pod/db-0")?;
    ensure!(
        pod["spec"]["containers"][0]["readinessProbe"].is_null(),
        "{pod}"
    );
    let (from, to) = (
        there.source.folder("data-db-0")?,
        there.target.folder("data-db-0")?,
    );
    super::tree::assert_equal(&from, &to, 0)?;
    there.target.ready(DB)?;
    let target = there.target.get(DB)?;
    let container = &target["spec"]["template"]["spec"]["containers"][0];
    ensure!(
        container["command"][0] == "sh" && container["readinessProbe"].is_object(),
        "{target}"
    );
    let note = &target["metadata"]["annotations"]["kubectl-migrate/original"];
    ensure!(note.is_null(), "{target}");
    mark(&there, &[])?.with_code(0)?;
    ensure!(there.source.report(NAME)?["state"] == "done");

    let back_again = Small::with("awake", asleep)?;
    end(back_again.run()?)?.with_code(13)?;
    back(&back_again)
}

#[test]
fn a_claim_of_one_pod_alone_cannot_be_moved_while_that_pod_sleeps() -> Result<()> {
    let small = Small::with("alone", |plan, object| {
        plan["freeze"] = json!({"mode": "sleep"});
        object["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] =
            json!(["ReadWriteOncePod"]);
    })?;
    end(small.run()?)?
        .with_code(10)?
        .says(&[
            "persistentvolumeclaim",
            "it is ReadWriteOncePod: while its pod sleeps it keeps the claim",
            "set spec.freeze.mode: scale",
        ])
        .map(|_| ())
}
