//! A StatefulSet in place: the same name, namespace and cluster, with volumes of another class or size.
use std::{collections::BTreeSet, sync::Arc};

use anyhow::Result;

use super::{
    MoverLook, Parts, Playbook, Sides,
    ending::ending,
    movers,
    statefulset::{counted, freeze_step, grace},
};
use crate::{
    engine::Step,
    plan::{self, Plan},
    steps::{
        About,
        copy::{FinalCopy, WarmCopy},
        freeze,
        in_place::{self, FreezeInPlace, InPlace, Retain, Start, Swap, VerifyInPlace},
        inventory::Inventory,
        prepare::{From, Prepare},
        release::Release,
        rights,
        verify::Verify,
    },
    transfer::Side,
};

/// What the steps of a move in place have in common, of an inventory that is known already.
#[must_use]
pub fn in_place_of(plan: &Plan, sides: &Sides, inventory: &Inventory) -> InPlace {
    let name = plan.spec.source.statefulset.clone().unwrap_or_default();
    let mut freeze = freeze_step(plan, sides, inventory, &name);
    // A rollback makes it again, with another uid; what it is otherwise has to be as it was.
    if let Some(metadata) = freeze.begun["metadata"].as_object_mut() {
        metadata.remove("uid");
    }
    InPlace {
        belongs: sides.belongs.clone(),
        place: sides.source.clone(),
        name,
        target: plan.spec.target.clone(),
        inventory: inventory.clone(),
        freeze,
    }
}

pub(super) async fn build(plan: &Plan, sides: &Sides, inventory: Inventory) -> Result<Playbook> {
    let movers = movers::of_plan(plan, sides, &inventory).await?;
    let of = in_place_of(plan, sides, &inventory);
    let guard = Some(of.freeze.watched());
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
        Arc::new(FreezeInPlace(of.clone())),
        Arc::new(FinalCopy {
            movers: movers.clone(),
            guard: guard.clone(),
        }),
        Arc::new(VerifyInPlace {
            verify: Verify {
                movers: movers.clone(),
                guard: guard.clone(),
                warm: plan.spec.verify == plan::Verify::Warm,
            },
            in_place: of.clone(),
        }),
        Arc::new(Release {
            movers: movers.clone(),
            guard,
        }),
        Arc::new(Retain(of.clone())),
        Arc::new(Swap(of.clone())),
        Arc::new(Start(of.clone())),
    ];
    let namespace = &sides.source.namespace;
    let (here, there) = rights::for_objects(&inventory, plan.spec.objects, namespace, namespace);
    let summary = format!(
        "statefulset/{} in place: {}, {}, to {}",
        of.name,
        counted(inventory.replicas, "pod"),
        counted(inventory.volumes.len(), "volume"),
        wanted(&inventory)
    );
    let parts = Parts {
        steps,
        source_rules: [
            rights::for_identity(),
            rights::for_journal(&sides.belongs),
            rights::for_movers(&movers, Side::Source),
            rights::for_way(namespace, &plan.spec.mover),
            rights::for_namespace(namespace),
            freeze::rules(&of.freeze),
            rights::for_source_claims(namespace),
            in_place::rules(&of),
            here,
        ]
        .concat(),
        target_rules: [
            rights::for_movers(&movers, Side::Target),
            rights::for_target_checks(),
            rights::for_target_claims(&inventory, namespace),
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

/// The classes and sizes that volumes are to have: `class fast of 20Gi`.
fn wanted(inventory: &Inventory) -> String {
    let each = inventory.volumes.iter().map(|volume| match &volume.class {
        Some(class) => format!("class {class} of {}", volume.size),
        None => format!("the default class of {}", volume.size),
    });
    let each: BTreeSet<String> = each.collect();
    each.into_iter().collect::<Vec<_>>().join(" and ")
}
