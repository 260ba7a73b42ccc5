//! A Kamaji tenant's control plane to another DataStore.
use std::sync::Arc;

use anyhow::Result;

use super::{Parts, Playbook, Sides};
use crate::{
    engine::Step,
    plan::Plan,
    steps::{
        About,
        kamaji::{
            FinalCopy, Flip, FreezeTenant, Lead, Pause, Raise, RollOut, Stores, Switch, Tenant,
            TenantLook, ThawTenant, VerifyStores, WarmCopy, rules,
        },
        rights,
    },
};

/// The switch of a tenant that is known already.
#[must_use]
pub fn switch_of(plan: &Plan, sides: &Sides, tenant: Tenant) -> Switch {
    let place = &sides.source;
    Switch {
        belongs: sides.belongs.clone(),
        place: place.clone(),
        stores: Stores::new(place.cluster.clone(), tenant.clone()),
        tenant,
        freeze: plan.spec.freeze.tenant,
    }
}

pub(super) async fn build(
    plan: &Plan,
    sides: &Sides,
    recorded: Option<Tenant>,
) -> Result<Playbook> {
    let tenant = match recorded {
        Some(tenant) => tenant,
        None => Tenant::of_plan(plan, &sides.source).await?,
    };
    let switch = switch_of(plan, sides, tenant.clone());
    let steps: Vec<Arc<dyn Step>> = vec![
        Arc::new(Pause(switch.clone())),
        Arc::new(WarmCopy {
            switch: switch.clone(),
            rounds: plan.spec.warm.rounds,
        }),
        Arc::new(Raise(switch.clone())),
        Arc::new(FreezeTenant(switch.clone())),
        Arc::new(FinalCopy(switch.clone())),
        Arc::new(VerifyStores(switch.clone())),
        Arc::new(Lead(switch.clone())),
        Arc::new(Flip(switch.clone())),
        Arc::new(RollOut(switch.clone())),
        Arc::new(ThawTenant(switch.clone())),
    ];
    let summary = format!(
        "{}: datastore {} → {}, {}, schema {}",
        switch.shown(),
        tenant.source,
        tenant.target,
        tenant.driver,
        tenant.schema
    );
    let parts = Parts {
        source_rules: [
            rights::for_identity(),
            rights::for_journal(&sides.belongs),
            rules(&switch).await?,
        ]
        .concat(),
        about: About::Tenant(tenant),
        steps,
        target_rules: Vec::new(),
        looks: vec![Arc::new(TenantLook(switch))],
        summary,
        allowed_freeze: plan.spec.freeze.max.map(|max| max.0),
        ending: None,
    };
    Ok(parts.with_preflight(sides))
}
