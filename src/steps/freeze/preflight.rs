//! What can be known before a workload is frozen. Changes nothing.
use ::kube::{ResourceExt, api::DynamicObject};
use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{
    FreezeStep, Original, drift,
    field::get,
    mark::Mark,
    pods::{self, Judge},
    proof::few,
    subject::{replicas, status},
};
use crate::{
    adapters::kube::{self, Finding, WorkloadKind, who_would_undo},
    engine::Check,
    plan::{FreezeMode, Workload},
};

/// Everything that speaks for or against a freeze.
pub(super) async fn checks(step: &FreezeStep) -> Result<Vec<Check>> {
    let watched = step.watched();
    let subject = watched.subject();
    let shown = subject.shown();
    let Some(object) = subject.read().await? else {
        let cure = format!(
            "check the name and the namespace: {}",
            subject.kubectl("get")
        );
        return Ok(vec![Check::block("workload", shown, "not found", cure)]);
    };
    let mut checks = Vec::new();
    match Mark::read(&object.metadata, &shown) {
        Err(unreadable) => {
            return Ok(vec![Check::block(
                "freeze note",
                shown,
                unreadable.message,
                "",
            )]);
        }
        Ok(Some(mark)) if !mark.is_of(&step.belongs) => {
            let (name, home) = (&mark.migration, &mark.home);
            let cure = format!(
                "end that one first: kubectl migrate status {name} -n {home}; if it is gone for good: kubectl migrate thaw {} -n {} --force",
                step.workload, step.place.namespace
            );
            let evidence = format!("frozen by {}", mark.owner());
            return Ok(vec![Check::block("freeze note", shown, evidence, cure)]);
        }
        Ok(Some(_)) => checks.push(Check::pass(
            "workload",
            &shown,
            "already frozen by this migration",
        )),
        Ok(None) => {
            let uid = object.metadata.uid.clone().unwrap_or_default();
            let none = Original::default();
            let judge = watched.judge(step.mode, &uid, &none);
            let pods = subject.pods().await?;
            checks.extend(of_workload(step, &object));
            checks.extend(of_drift(step, &shown, &object));
            checks.extend(of_owners(step, &shown).await?);
            checks.extend(of_pods(
                &judge,
                &object,
                &pods,
                &subject.kubectl("describe"),
            ));
        }
    }
    Ok(checks)
}

/// What the object itself tells.
fn of_workload(step: &FreezeStep, object: &DynamicObject) -> Vec<Check> {
    let watched = step.watched();
    let subject = watched.subject();
    let shown = subject.shown();
    let mut checks = Vec::new();
    if object.metadata.deletion_timestamp.is_some() {
        checks.push(Check::block(
            "workload",
            &shown,
            "it is being deleted",
            "wait until it is gone, or make it again",
        ));
    }
    let (updated, total) = (
        status(object, "updatedReplicas"),
        status(object, "replicas"),
    );
    // Every freeze ends a rollout: afterwards all pods are of the newest revision.
    if updated != total {
        let evidence = format!(
            "a rollout is under way or held: {updated} of {total} pods are of the newest revision, and after a freeze all would be"
        );
        let cure = match get(&object.data, "/spec/updateStrategy/type") {
            Some(kind) if *kind == json!("OnDelete") => {
                "delete the old pods one by one, or put the pod template back".to_owned()
            }
            _ => format!(
                "end it or take it back: {}",
                subject.kubectl("rollout status")
            ),
        };
        checks.push(Check::block("rollout", &shown, evidence, cure));
    }
    match step.mode {
        FreezeMode::Scale => checks.extend(of_scale(&shown, object)),
        FreezeMode::Sleep => checks.extend(of_sleep(step, &shown, object)),
    }
    checks
}

/// What became of it since the migration began.
fn of_drift(step: &FreezeStep, shown: &str, object: &DynamicObject) -> Vec<Check> {
    let drift = drift::drift(&step.begun, &object.metadata, &object.data);
    let check = |what| Check::block("as it began", shown, what, step.cure_of_drift());
    drift.into_iter().map(check).collect()
}

fn of_scale(shown: &str, object: &DynamicObject) -> Option<Check> {
    let policy = get(
        &object.data,
        "/spec/persistentVolumeClaimRetentionPolicy/whenScaled",
    );
    (policy == Some(&json!("Delete"))).then(|| {
        let evidence = "whenScaled is Delete: scaled to 0, Kubernetes would delete the claims with the data; it is Retain while frozen, and put back with the pods";
        Check::pass("claims kept", shown, evidence)
    })
}

fn of_sleep(step: &FreezeStep, shown: &str, object: &DynamicObject) -> Vec<Check> {
    let mut checks = Vec::new();
    let cure = "freeze with mode scale".to_owned();
    for claim in &step.exclusive {
        let object = step.place.object("persistentvolumeclaim", claim);
        let evidence =
            "it is ReadWriteOncePod: while its pod sleeps it keeps the claim, and no mover gets it";
        let cure = "set spec.freeze.mode: scale";
        checks.push(Check::block("access mode", object, evidence, cure));
    }
    if get(&object.data, "/spec/updateStrategy/type") == Some(&json!("OnDelete")) {
        let evidence = "its update strategy is OnDelete: its pods would go on with their work until somebody deletes them";
        checks.push(Check::block("update strategy", shown, evidence, &cure));
    }
    if get(&object.data, "/spec/paused") == Some(&json!(true)) {
        let evidence = "its rollouts are paused: its pods would go on with their work";
        let cure = format!(
            "{cure}, or resume them: {}",
            step.watched().subject().kubectl("rollout resume")
        );
        checks.push(Check::block("update strategy", shown, evidence, cure));
    }
    let strategy = get(&object.data, "/spec/strategy/type");
    if matches!(step.workload, Workload::Deployment(_)) && strategy != Some(&json!("Recreate")) {
        let evidence = "its strategy is Recreate while asleep: a new pod beside the old one would wait for the volume that the old one holds";
        checks.push(Check::pass("update strategy", shown, evidence));
    }
    checks
}

/// Who manages the workload, and would put it back while it is frozen.
async fn of_owners(step: &FreezeStep, shown: &str) -> Result<Vec<Check>> {
    let kind = match step.workload {
        Workload::StatefulSet(_) => WorkloadKind::StatefulSet,
        Workload::Deployment(_) => WorkloadKind::Deployment,
    };
    let mode = match step.mode {
        FreezeMode::Scale => kube::FreezeMode::Scale,
        FreezeMode::Sleep => kube::FreezeMode::Sleep,
    };
    let place = &step.place;
    let name = step.workload.name();
    let findings = who_would_undo(&place.cluster, &place.namespace, kind, name, mode).await?;
    if findings.is_empty() {
        let evidence = "no operator, Helm, Argo CD, Flux or autoscaler manages it";
        return Ok(vec![Check::pass("owner", shown, evidence)]);
    }
    let checks = findings.into_iter().map(
        |Finding {
             who,
             why,
             pause,
             undoes,
         }| {
            let cure = pause.map_or_else(String::new, |command| format!("pause it: {command}"));
            let evidence = format!("{who}: {why}");
            if undoes {
                Check::block("owner", shown, evidence, cure)
            } else {
                Check::warn("owner", shown, evidence, cure)
            }
        },
    );
    Ok(checks.collect())
}

/// Whether all its pods are there and ready, and whether somebody else's use its claims.
fn of_pods(judge: &Judge<'_>, object: &DynamicObject, pods: &[Pod], describe: &str) -> Vec<Check> {
    let shown = judge
        .place
        .object(judge.workload.kind(), &object.name_any());
    let wanted = replicas(object);
    let own = judge.own(pods);
    let unready = own
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_some() || !pods::is_ready(pod))
        .map(|pod| format!("{} is {}", judge.shown(pod), pods::state(pod)))
        .collect::<Vec<_>>();
    let first = if !unready.is_empty() {
        Check::block(
            "pods",
            &shown,
            few(&unready),
            format!("make them ready, or wait until they are: {describe}"),
        )
    } else if i64::try_from(own.len()) != Ok(wanted) {
        let evidence = format!("{} of {wanted} pods are there", own.len());
        Check::block(
            "pods",
            &shown,
            evidence,
            format!("find out why: {describe}"),
        )
    } else if wanted == 0 {
        Check::pass(
            "pods",
            &shown,
            "already at 0 pods; it is guarded all the same",
        )
    } else {
        Check::pass(
            "pods",
            &shown,
            format!("{wanted} of {wanted} pods are ready"),
        )
    };
    let foreign = pods.iter().filter_map(|pod| {
        let evidence = judge.foreign(pod)?;
        let cure =
            "stop what runs it (suspend its cronjob, scale its workload to 0, or delete the pod)";
        Some(Check::block("volumes", judge.shown(pod), evidence, cure))
    });
    std::iter::once(first).chain(foreign).collect()
}

#[cfg(test)]
#[path = "preflight_tests.rs"]
mod tests;
