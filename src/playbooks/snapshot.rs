//! A workload's volumes, or a single one, into a bucket: the verb `snapshot`.
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::{MoverLook, Parts, Playbook, Sides, ending::ending, movers};
use crate::{
    engine::{Failure, Kind, Step},
    marks,
    plan::{Plan, Workload},
    steps::{
        About,
        archives::{Archiving, Away, Hold, Measure, ReadBack, Remote, Reserve, Seal, Upload, Wake},
        freeze::{self, FreezeStep},
        inventory::Inventory,
        rights,
    },
    transfer::Side,
};

pub(super) async fn build(
    plan: &Plan,
    sides: &Sides,
    recorded: Option<Inventory>,
) -> Result<Playbook> {
    let source = &plan.spec.source;
    let workload = source
        .statefulset
        .clone()
        .map(Workload::StatefulSet)
        .or_else(|| source.deployment.clone().map(Workload::Deployment));
    let claim = source.pvc.as_deref().unwrap_or_default();
    let is_new = recorded.is_none();
    let inventory = match (recorded, &workload) {
        (Some(inventory), _) => inventory,
        (None, Some(Workload::StatefulSet(name))) => {
            Inventory::of_statefulset(plan, &sides.source, name).await?
        }
        (None, Some(workload)) => Inventory::of_workload(plan, &sides.source, workload).await?,
        (None, None) => Inventory::of_claim(plan, &sides.source, claim).await?,
    };
    let bucket = plan.spec.target.bucket.as_ref();
    let bucket = bucket.context("the plan names no bucket")?;
    let repository = Remote::new(bucket, &sides.source)?;
    if is_new {
        // Found now, before anything is locked or written down. Whoever goes back may have none any more.
        repository.open().await?;
    }
    let frozen = workload
        .as_ref()
        .filter(|_| !plan.spec.freeze.live)
        .map(|workload| freeze_step(plan, sides, &inventory, workload));
    let note = &inventory.workload["metadata"]["annotations"][marks::ORIGINAL];
    if is_new && frozen.is_none() && workload.is_some() && note.is_string() {
        let why = "the workload is frozen, so that its manifest is not what it runs with: leave out --live, or `thaw` it first";
        return Err(Failure::new(Kind::Blocked, why).into());
    }
    let subject = match &workload {
        Some(workload) => workload.to_string(),
        None => format!("persistentvolumeclaim/{claim}"),
    };
    let movers = movers::of_plan(plan, sides, &inventory).await?;
    let archiving = Archiving {
        movers: movers.clone(),
        repository,
        inventory: inventory.clone(),
        subject: subject.clone(),
        guard: frozen.as_ref().map(FreezeStep::watched),
    };
    let mut steps: Vec<Arc<dyn Step>> = Vec::new();
    let mut commands = Vec::new();
    if let Some(workload) = workload.as_ref().filter(|_| !plan.spec.checks.is_empty()) {
        steps.push(Arc::new(Measure {
            place: sides.source.clone(),
            workload: workload.clone(),
            object: inventory.workload.clone(),
            checks: plan.spec.checks.clone(),
        }));
        commands = rights::for_commands(&sides.source.namespace);
    }
    steps.push(Arc::new(Reserve(archiving.clone())));
    if let Some(frozen) = &frozen {
        steps.push(Arc::new(Hold(frozen.clone())));
    }
    steps.push(Arc::new(Upload(archiving.clone())));
    steps.push(Arc::new(ReadBack(archiving.clone())));
    steps.push(Arc::new(Away(movers.clone())));
    if let Some(frozen) = &frozen {
        steps.push(Arc::new(Wake(frozen.clone())));
    }
    steps.push(Arc::new(Seal(archiving.clone())));
    let namespace = &sides.source.namespace;
    let count = inventory.volumes.len();
    let summary = format!(
        "{subject} → {}, {count} {}",
        archiving.repository.address(),
        if count == 1 { "volume" } else { "volumes" }
    );
    let parts = Parts {
        steps,
        source_rules: [
            rights::for_identity(),
            rights::for_journal(&sides.belongs),
            rights::for_movers(&movers, Side::Source),
            rights::for_namespace(namespace),
            rights::for_source_claims(namespace),
            rights::for_secret(namespace, bucket.secret.as_ref()),
            frozen.as_ref().map_or_else(Vec::new, freeze::rules),
            commands,
        ]
        .concat(),
        target_rules: Vec::new(),
        looks: vec![Arc::new(MoverLook(movers))],
        summary,
        allowed_freeze: None,
        ending: frozen
            .as_ref()
            .and_then(|_| ending(plan.spec.freeze.mode, &inventory)),
        about: About::Volumes(inventory),
    };
    Ok(parts.with_preflight(sides))
}

fn freeze_step(
    plan: &Plan,
    sides: &Sides,
    inventory: &Inventory,
    workload: &Workload,
) -> FreezeStep {
    let exclusive = inventory
        .volumes
        .iter()
        .filter(|volume| volume.is_exclusive());
    FreezeStep {
        place: sides.source.clone(),
        workload: workload.clone(),
        mode: plan.spec.freeze.mode,
        belongs: sides.belongs.clone(),
        claims: inventory.claims(),
        begun: inventory.workload.clone(),
        exclusive: exclusive.map(|volume| volume.source.clone()).collect(),
        bound: super::statefulset::bound(inventory),
    }
}
