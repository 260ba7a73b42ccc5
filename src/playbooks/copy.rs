//! One volume to another: the verb `copy`.
use std::{sync::Arc, time::Duration};

use anyhow::Result;

use super::{MoverLook, Parts, Playbook, Sides, movers};
use crate::{
    engine::Step,
    plan::{Objects, Plan},
    steps::{
        About,
        copy::{FinalCopy, WarmCopy},
        inventory::Inventory,
        prepare::{From, Prepare},
        release::Release,
        rights,
        verify::Verify,
    },
    transfer::Side,
};

pub(super) async fn build(
    plan: &Plan,
    sides: &Sides,
    recorded: Option<Inventory>,
) -> Result<Playbook> {
    let name = plan.spec.source.pvc.clone().unwrap_or_default();
    let inventory = match recorded {
        Some(inventory) => inventory,
        None => Inventory::of_claim(plan, &sides.source, &name).await?,
    };
    let movers = movers::of_plan(plan, sides, &inventory).await?;
    let steps: Vec<Arc<dyn Step>> = vec![
        Arc::new(Prepare {
            belongs: sides.belongs.clone(),
            source: sides.source.clone(),
            target: sides.target.clone(),
            inventory: inventory.clone(),
            objects: Objects::Require,
            from: From::Running,
        }),
        Arc::new(WarmCopy {
            movers: movers.clone(),
            // Nothing is frozen: one round moves everything, and the final one proves it by content.
            rounds: plan.spec.warm.rounds.min(1),
            verify: false,
            max_freeze: None,
            stopping: Duration::ZERO,
        }),
        Arc::new(FinalCopy {
            movers: movers.clone(),
            guard: None,
        }),
        Arc::new(Verify {
            movers: movers.clone(),
            guard: None,
            warm: false,
        }),
        Arc::new(Release {
            movers: movers.clone(),
            guard: None,
        }),
    ];
    let (from, to) = (&sides.source.namespace, &sides.target.namespace);
    let target = inventory
        .volumes
        .first()
        .map_or("", |volume| volume.target.as_str());
    let summary = format!("pvc/{name} → {}/pvc/{target}", sides.target);
    let parts = Parts {
        steps,
        source_rules: [
            rights::for_identity(),
            rights::for_journal(&sides.belongs),
            rights::for_movers(&movers, Side::Source),
            rights::for_way(from, &plan.spec.mover),
            rights::for_namespace(from),
            rights::for_source_claims(from),
        ]
        .concat(),
        target_rules: [
            rights::for_identity(),
            rights::for_movers(&movers, Side::Target),
            rights::for_target_checks(),
            rights::for_namespace(to),
            rights::for_target_claims(&inventory, to),
        ]
        .concat(),
        looks: vec![Arc::new(MoverLook(movers))],
        summary,
        allowed_freeze: None,
        ending: None,
        about: About::Volumes(inventory),
    };
    Ok(parts.with_preflight(sides))
}
