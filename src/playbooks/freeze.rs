//! Stop the writes of a workload: the verb `freeze`, whose rollback is `thaw`.
use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};

use super::{Parts, Playbook, Sides, ending::ending};
use crate::{
    plan::{Plan, Workload},
    steps::{
        About,
        freeze::{self, FreezeStep},
        inventory::Inventory,
        rights,
    },
};

/// How long pods may take to end: longer than any grace that is usual.
const BOUND: Duration = Duration::from_mins(15);

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
        .or_else(|| source.deployment.clone().map(Workload::Deployment))
        .context("the plan names no workload")?;
    let inventory = match recorded {
        Some(inventory) => inventory,
        None => Inventory::of_workload(plan, &sides.source, &workload).await?,
    };
    let frozen = FreezeStep {
        place: sides.source.clone(),
        workload: workload.clone(),
        mode: plan.spec.freeze.mode,
        belongs: sides.belongs.clone(),
        claims: inventory.claims(),
        begun: inventory.workload.clone(),
        // No mover is waited for.
        exclusive: Vec::new(),
        bound: BOUND,
    };
    let namespace = &sides.source.namespace;
    let source_rules = [
        rights::for_identity(),
        rights::for_journal(&sides.belongs),
        rights::for_source_claims(namespace),
        freeze::rules(&frozen),
    ]
    .concat();
    let summary = format!(
        "{workload} in {}, mode {}",
        sides.source, plan.spec.freeze.mode
    );
    let parts = Parts {
        ending: ending(plan.spec.freeze.mode, &inventory),
        about: About::Volumes(inventory),
        steps: vec![Arc::new(frozen)],
        source_rules,
        target_rules: Vec::new(),
        looks: Vec::new(),
        summary,
        allowed_freeze: None,
    };
    Ok(parts.with_preflight(sides))
}
