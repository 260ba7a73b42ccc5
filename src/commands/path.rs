//! The places of a migration, from a plan and the flags.
use anyhow::Result;

use crate::{
    adapters::kube::WriteGuard,
    context::Context,
    error::Usage,
    marks::Belongs,
    plan::{self, MoverExecutable, Plan, Playbook, Rate},
    playbooks::Sides,
    steps::{
        Place,
        drills::scratch_name,
        movers::{Executable, Limit},
    },
};

/// A plan with everything that flags and the user's context say: what the journal keeps.
pub(super) async fn complete(cx: &Context, mut plan: Plan) -> Result<Plan> {
    if plan.metadata.namespace.is_none() || cx.flags.connection.namespace.is_some() {
        let namespace = cx.namespace().await?;
        if let Some(own) = &plan.metadata.namespace
            && *own != namespace
        {
            let why = format!(
                "the plan is for namespace {own}, and -n says {namespace}: leave one of them out"
            );
            return Err(Usage(why).into());
        }
        plan.metadata.namespace = Some(namespace);
    }
    let target = &mut plan.spec.target;
    if let Some(context) = &cx.flags.to_context {
        target.context = Some(context.clone());
    }
    if let Some(namespace) = &cx.flags.to_namespace {
        target.namespace = Some(namespace.clone());
    }
    if let Some(image) = &cx.flags.mover.image {
        plan.spec.mover.image = Some(image.clone());
    }
    // The file is this machine's and no part of the plan.
    if cx.flags.mover.put || cx.flags.mover.executable.is_some() {
        plan.spec.mover.executable = MoverExecutable::Put;
    }
    // A later run that is not given the target's kubeconfig must not take the source's cluster for it.
    if plan.spec.target.context.is_none()
        && let Some(cluster) = cx.target(&plan).await?
    {
        plan.spec.target.context = Some(cluster.context().to_owned());
    }
    if plan.spec.playbook == Playbook::StatefulSet {
        plan::check(&plan)?;
    }
    Ok(plan)
}

/// Both sides of a plan. With a guard, every change asks it first.
pub(super) async fn sides(
    cx: &Context,
    plan: &Plan,
    run: &str,
    guard: Option<&WriteGuard>,
) -> Result<Sides> {
    let source = cx.source().await?;
    let target = cx.target(plan).await?;
    let remote = target.is_some();
    let namespace = match &plan.metadata.namespace {
        Some(namespace) => namespace.clone(),
        None => source.default_namespace().to_owned(),
    };
    let guarded = |cluster: &crate::adapters::kube::Cluster| match guard {
        Some(guard) => cluster.guarded(guard.clone()),
        None => cluster.clone(),
    };
    if cx.flags.mover.executable.is_some() && plan.spec.mover.executable != MoverExecutable::Put {
        let why = format!(
            "migration {} has begun with movers whose image holds their executable: leave out --mover-executable",
            plan.metadata.name
        );
        return Err(Usage(why).into());
    }
    let limit = plan.spec.mover.limit.as_ref();
    Ok(Sides {
        belongs: Belongs {
            migration: plan.metadata.name.clone(),
            home: namespace.clone(),
            run: run.to_owned(),
        },
        target: Place {
            cluster: guarded(target.as_ref().unwrap_or(source)),
            namespace: match (plan.spec.playbook, &plan.spec.target.namespace) {
                // Of this run alone.
                (Playbook::RestoreCheck, _) => scratch_name(run),
                (_, Some(target)) => target.clone(),
                (_, None) => namespace.clone(),
            },
            remote,
        },
        source: Place {
            cluster: guarded(source),
            namespace,
            remote: false,
        },
        executable: Executable::of(cx.flags.mover.executable.clone()),
        limit: Limit::new(limit.map(Rate::bytes_per_second)),
    })
}
