//! A StatefulSet with its volumes, to another namespace, name, storage class, size or cluster.
use std::{fmt::Display, sync::Arc, time::Duration};

use anyhow::Result;

use super::{MoverLook, Parts, Playbook, Sides, ending::ending, in_place, movers};
use crate::{
    engine::Step,
    plan::{self, FreezeMode, MoverWay, Plan, Workload},
    steps::{
        About,
        copy::{FinalCopy, WarmCopy},
        freeze::{self, FreezeStep},
        hand_over::HandOver,
        inventory::Inventory,
        prepare::{From, Prepare},
        release::Release,
        rights,
        start_target::StartTarget,
        verify::Verify,
    },
    transfer::Side,
};

/// Beyond a pod's own grace: the time in which a node tells that it has ended.
const SLACK: Duration = Duration::from_mins(2);
/// A pod's grace where its template names none (Kubernetes' default).
const GRACE: u64 = 30;

pub(super) async fn build(
    plan: &Plan,
    sides: &Sides,
    recorded: Option<Inventory>,
) -> Result<Playbook> {
    let name = plan.spec.source.statefulset.clone().unwrap_or_default();
    let inventory = match recorded {
        Some(inventory) => inventory,
        None => Inventory::of_statefulset(plan, &sides.source, &name).await?,
    };
    if plan.is_in_place() {
        return in_place::build(plan, sides, inventory).await;
    }
    let movers = movers::of_plan(plan, sides, &inventory).await?;
    let frozen = freeze_step(plan, sides, &inventory, &name);
    let guard = Some(frozen.watched());
    let target_name = plan.spec.target.statefulset.as_ref().unwrap_or(&name);
    let steps: Vec<Arc<dyn Step>> = vec![
        Arc::new(Prepare {
            belongs: sides.belongs.clone(),
            source: sides.source.clone(),
            target: sides.target.clone(),
            inventory: inventory.clone(),
            objects: plan.spec.objects,
            from: From::Running,
        }),
        Arc::new(WarmCopy {
            movers: movers.clone(),
            rounds: plan.spec.warm.rounds,
            verify: plan.spec.verify == plan::Verify::Warm,
            max_freeze: plan.spec.freeze.max,
            stopping: grace(&inventory),
        }),
        Arc::new(frozen.clone()),
        Arc::new(FinalCopy {
            movers: movers.clone(),
            guard: guard.clone(),
        }),
        Arc::new(Verify {
            movers: movers.clone(),
            guard: guard.clone(),
            warm: plan.spec.verify == plan::Verify::Warm,
        }),
        Arc::new(Release {
            movers: movers.clone(),
            guard,
        }),
        Arc::new(StartTarget {
            plan: plan.clone(),
            belongs: sides.belongs.clone(),
            target: sides.target.clone(),
            inventory: inventory.clone(),
            source: sides.source.clone(),
            guard: frozen.watched(),
        }),
        Arc::new(HandOver {
            from: sides.source.object("statefulset", &name),
            to: sides.target.object("statefulset", target_name),
            migration: sides.belongs.migration.clone(),
            guard: frozen.watched(),
        }),
    ];
    let (from, to) = (&sides.source.namespace, &sides.target.namespace);
    let (here, there) = rights::for_objects(&inventory, plan.spec.objects, from, to);
    let summary = format!(
        "statefulset/{name} → {}/statefulset/{target_name}, {}, {}",
        sides.target,
        counted(inventory.replicas, "pod"),
        counted(inventory.volumes.len(), "volume")
    );
    let parts = Parts {
        steps,
        source_rules: [
            rights::for_identity(),
            rights::for_journal(&sides.belongs),
            rights::for_movers(&movers, Side::Source),
            rights::for_way(from, &plan.spec.mover),
            rights::for_namespace(from),
            freeze::rules(&frozen),
            rights::for_source_claims(from),
            here,
        ]
        .concat(),
        target_rules: [
            rights::for_identity(),
            rights::for_movers(&movers, Side::Target),
            rights::for_start(&inventory, to, target_name),
            rights::for_target_checks(),
            rights::for_namespace(to),
            rights::for_target_claims(&inventory, to),
            there,
        ]
        .concat(),
        looks: vec![Arc::new(MoverLook(movers))],
        summary,
        allowed_freeze: plan.spec.freeze.max.map(|max| max.0),
        ending: ending(plan.spec.freeze.mode, &inventory),
        about: About::Volumes(inventory),
    };
    Ok(parts.with_preflight(sides))
}

/// `1 pod`, `3 pods`.
pub(super) fn counted(count: impl Display, one: &str) -> String {
    let count = count.to_string();
    let many = if count == "1" { "" } else { "s" };
    format!("{count} {one}{many}")
}

/// How long one pod may take to end.
pub(super) fn grace(inventory: &Inventory) -> Duration {
    let pod = &inventory.workload["spec"]["template"]["spec"];
    let seconds = pod["terminationGracePeriodSeconds"].as_u64();
    Duration::from_secs(seconds.unwrap_or(GRACE))
}

/// How long all pods may take to end: they may do so one after the other.
pub(super) fn bound(inventory: &Inventory) -> Duration {
    grace(inventory) * inventory.replicas.max(1) + SLACK
}

pub(super) fn freeze_step(
    plan: &Plan,
    sides: &Sides,
    inventory: &Inventory,
    name: &str,
) -> FreezeStep {
    // Where it sleeps and goes by exec, it is read in its own pod.
    let asleep = plan.spec.freeze.mode == FreezeMode::Sleep;
    let in_own_pod = asleep && plan.spec.mover.ways() == [MoverWay::Exec];
    let exclusive = inventory
        .volumes
        .iter()
        .filter(|volume| volume.is_exclusive() && !in_own_pod);
    FreezeStep {
        place: sides.source.clone(),
        workload: Workload::StatefulSet(name.to_owned()),
        mode: plan.spec.freeze.mode,
        belongs: sides.belongs.clone(),
        claims: inventory.claims(),
        begun: inventory.workload.clone(),
        exclusive: exclusive.map(|volume| volume.source.clone()).collect(),
        bound: bound(inventory),
    }
}
