//! A Kamaji tenant's control plane to another DataStore.
use std::sync::Arc;

use anyhow::Result;

use super::{Parts, Playbook, Sides};
use crate::{
    adapters::datastore::Driver,
    engine::Step,
    plan::{Plan, TenantWay},
    steps::{
        About,
        kamaji::{
            AwaitFreeze, AwaitJob, Commit, FinalCopy, Flip, FreezeTenant, JobLook, Lead, Mend,
            Pause, Raise, Request, RollOut, Settle, Stores, Switch, Tenant, TenantLook, ThawTenant,
            VerifyStores, WarmCopy, WarmVerify, rules,
        },
        preflight::Look,
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
        way: plan.spec.way,
        freeze: plan.spec.freeze.tenant,
        max_freeze: plan.spec.freeze.max,
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
    let steps = match switch.way {
        TenantWay::Direct => direct(&switch, plan.spec.warm.rounds),
        TenantWay::Controller => by_controller(&switch),
    };
    let mut looks: Vec<Arc<dyn Look>> = vec![Arc::new(TenantLook(switch.clone()))];
    if switch.way == TenantWay::Controller {
        looks.push(Arc::new(JobLook(switch.clone())));
    }
    let by = match switch.way {
        TenantWay::Direct => "",
        TenantWay::Controller => ", by Kamaji's Job",
    };
    let summary = format!(
        "{}: datastore {} → {}, {}, schema {}{by}",
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
        looks,
        summary,
        allowed_freeze: plan.spec.freeze.max.map(|max| max.0),
        ending: None,
    };
    Ok(parts.with_preflight(sides))
}

fn direct(switch: &Switch, rounds: u32) -> Vec<Arc<dyn Step>> {
    let mut steps: Vec<Arc<dyn Step>> = vec![
        Arc::new(Pause(switch.clone())),
        Arc::new(WarmCopy {
            switch: switch.clone(),
            rounds,
        }),
    ];
    steps.extend(raise(switch));
    // Behind kine a comparison is made of all rows, and only while nothing is written.
    if switch.tenant.driver == Driver::Etcd {
        steps.push(Arc::new(WarmVerify(switch.clone())));
    }
    steps.extend([
        Arc::new(FreezeTenant(switch.clone())) as Arc<dyn Step>,
        Arc::new(FinalCopy(switch.clone())),
        Arc::new(VerifyStores(switch.clone())),
        Arc::new(Lead(switch.clone())),
        Arc::new(Flip(switch.clone())),
        Arc::new(RollOut(switch.clone())),
        Arc::new(ThawTenant(switch.clone())),
        Arc::new(Settle(switch.clone())),
    ]);
    steps
}

fn by_controller(switch: &Switch) -> Vec<Arc<dyn Step>> {
    // Before the freeze, which would else last as long as this, and before a Job that nobody can hold.
    let mut steps: Vec<Arc<dyn Step>> = raise(switch).into_iter().collect();
    steps.extend([
        Arc::new(Request(switch.clone())) as Arc<dyn Step>,
        Arc::new(AwaitFreeze(switch.clone())),
        Arc::new(AwaitJob(switch.clone())),
        Arc::new(Mend(switch.clone())),
        Arc::new(VerifyStores(switch.clone())),
        Arc::new(Lead(switch.clone())),
        Arc::new(Commit(switch.clone())),
        Arc::new(RollOut(switch.clone())),
        Arc::new(ThawTenant(switch.clone())),
        Arc::new(Settle(switch.clone())),
    ]);
    steps
}

/// Only etcd's revisions are its own: behind kine they are copied.
fn raise(switch: &Switch) -> Option<Arc<dyn Step>> {
    (switch.tenant.driver == Driver::Etcd).then(|| Arc::new(Raise(switch.clone())) as Arc<dyn Step>)
}
