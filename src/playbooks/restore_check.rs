//! A snapshot is brought back for the time that it takes to look whether it works: the verb `restore-check`.
use std::sync::Arc;

use anyhow::Result;
use serde_json::Value;

use super::{MoverLook, Parts, Playbook, Sides, restore};
use crate::{
    engine::{Failure, Kind, Step},
    plan::{Objects, Plan, Workload, WorkloadCheck},
    steps::{
        About,
        checks::Measured,
        drills::{Answer, Examine, Scratch, TearDown, Wall},
        inventory::Inventory,
        prepare::{From, Prepare},
        restores::{Compare, Fill, Hand, StartWorkload},
        rights,
        snapshots::VolumesManifest,
    },
    transfer::Side,
};

pub(super) async fn build(
    plan: &Plan,
    sides: &Sides,
    recorded: Option<Inventory>,
    kept: Option<VolumesManifest>,
) -> Result<Playbook> {
    let restore::Opened {
        bucket,
        address,
        restoring,
        mut inventory,
        workload,
        origin,
    } = restore::open(plan, sides, recorded, kept).await?;
    let workload = startable(workload, &inventory, &address)?;
    alone(&mut inventory);
    let manifest = restoring.manifest.clone();
    let (belongs, target) = (&sides.belongs, &sides.target);
    let (movers, taken) = (restoring.movers.clone(), restoring.manifest.checks.clone());
    let scratch = Scratch {
        belongs: belongs.clone(),
        place: target.clone(),
        like: origin
            .clone()
            .filter(|origin| origin.remote == target.remote),
    };
    let from = origin.unwrap_or_else(|| target.clone());
    let steps: Vec<Arc<dyn Step>> = vec![
        Arc::new(scratch.clone()),
        Arc::new(Wall {
            belongs: belongs.clone(),
            place: target.clone(),
            workload: inventory.workload.clone(),
            network: plan.spec.network,
            movers: movers.clone(),
        }),
        Arc::new(Prepare {
            belongs: belongs.clone(),
            source: from.clone(),
            target: target.clone(),
            inventory: inventory.clone(),
            objects: Objects::Copy,
            from: From::SnapshotIntoScratch,
        }),
        Arc::new(Fill(restoring.clone())),
        Arc::new(Compare(restoring.clone())),
        Arc::new(Hand(restoring.clone())),
        Arc::new(StartWorkload {
            plan: plan.clone(),
            belongs: belongs.clone(),
            target: target.clone(),
            workload: workload.clone(),
            inventory: inventory.clone(),
            within: StartWorkload::within(plan),
        }),
        Arc::new(Examine {
            place: target.clone(),
            workload: workload.clone(),
            object: inventory.workload.clone(),
            checks: checks(plan, &taken),
            taken,
        }),
        Arc::new(TearDown(scratch)),
        Arc::new(Answer {
            repository: restoring.repository,
            id: restoring.id,
        }),
    ];
    let to = &target.namespace;
    let (here, there) = rights::for_objects(&inventory, Objects::Copy, &from.namespace, to);
    let parts = Parts {
        steps,
        source_rules: [
            rights::for_identity(),
            rights::for_journal(belongs),
            rights::for_keys(&movers),
            rights::for_secret(&sides.source.namespace, bucket.secret.as_ref()),
            here,
        ]
        .concat(),
        target_rules: [
            rights::for_identity(),
            rights::for_scratch(to),
            rights::for_movers(&movers, Side::Target),
            rights::for_target_checks(),
            rights::for_target_claims(&inventory, to),
            rights::for_workload(&inventory, to, &workload),
            rights::for_commands(to),
            there,
        ]
        .concat(),
        looks: vec![Arc::new(MoverLook(movers))],
        summary: format!("{address} → {target}, {workload}, to be tried and taken away again"),
        allowed_freeze: None,
        ending: None,
        about: About::of_snapshot(inventory, manifest),
    };
    Ok(parts.with_preflight(sides))
}

/// Whoever names no checks wants those that the snapshot was taken with.
fn checks(plan: &Plan, taken: &[Measured]) -> Vec<WorkloadCheck> {
    if plan.spec.checks.is_empty() {
        taken.iter().map(Measured::again).collect()
    } else {
        plan.spec.checks.clone()
    }
}

/// The workload, where something of it can be started.
fn startable(
    workload: Option<Workload>,
    inventory: &Inventory,
    address: &str,
) -> Result<Workload, Failure> {
    let why = match workload {
        Some(workload) if inventory.replicas > 0 => return Ok(workload),
        Some(workload) => format!("{workload} with no pods"),
        None => "a volume alone".to_owned(),
    };
    let why = format!(
        "{address} is of {why}, and nothing of it can be started: --level 2 reads all of it"
    );
    Err(Failure::new(Kind::Blocked, why))
}

/// A second copy is to push nobody else's pods off their nodes.
fn alone(inventory: &mut Inventory) {
    let pod = inventory.workload.pointer_mut("/spec/template/spec");
    if let Some(pod) = pod.and_then(Value::as_object_mut) {
        for field in ["priorityClassName", "priority", "preemptionPolicy"] {
            pod.remove(field);
        }
    }
}
