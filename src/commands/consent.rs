//! The one question before writes are stopped.
use anyhow::Result;

use super::{named, path, session::Subject};
use crate::{
    context::Context,
    plan::{Plan, Playbook},
    report::{Report, StepState},
    state,
};

/// Asks whether a run may stop the writes of its workload, before anything is begun. A run that has
/// stopped them already, or never does, asks nothing; nor does one that nobody watches.
pub(super) async fn to_freeze(cx: &Context, subject: &Subject) -> Result<()> {
    if !cx.ui.is_asked() {
        return Ok(());
    }
    let (plan, report) = match subject {
        Subject::Name(name) => {
            let seen = named::seen(cx, name).await?;
            let plan = serde_json::from_value(seen.header.plan.clone())?;
            (plan, Some(named::report(&seen).0))
        }
        Subject::Plan(plan) => {
            let plan = path::complete(cx, plan.as_ref().clone()).await?;
            let home = plan.metadata.namespace.clone().unwrap_or_default();
            let seen = state::one(&cx.keeper().await?, &home, &plan.metadata.name).await?;
            (plan, seen.map(|seen| named::report(&seen).0))
        }
    };
    if let Some(workload) = will_freeze(&plan, report.as_ref()) {
        cx.ui.consent(&format!(
            "This run will stop writes on {workload} at step freeze. Go on?"
        ))?;
    }
    Ok(())
}

/// The workload whose writes a run is still to stop.
fn will_freeze(plan: &Plan, report: Option<&Report>) -> Option<String> {
    let source = &plan.spec.source;
    let (kind, name) = match plan.spec.playbook {
        Playbook::Snapshot if plan.spec.freeze.live || source.pvc.is_some() => return None,
        Playbook::StatefulSet | Playbook::Freeze | Playbook::Snapshot => {
            match (&source.statefulset, &source.deployment) {
                (Some(name), _) => ("statefulset", name),
                (None, Some(name)) => ("deployment", name),
                (None, None) => return None,
            }
        }
        Playbook::KamajiDatastore => match &source.tenant_control_plane {
            Some(name) => ("tenantcontrolplane", name),
            None => return None,
        },
        Playbook::Copy | Playbook::Restore | Playbook::RestoreCheck => return None,
    };
    let settled = report
        .and_then(|report| report.step("freeze"))
        .is_some_and(|step| {
            matches!(
                step.state,
                StepState::Done | StepState::Skipped | StepState::Marked
            )
        });
    let namespace = plan.metadata.namespace.as_deref().unwrap_or_default();
    (!settled).then(|| format!("{kind} {namespace}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan,
        report::{
            Seen,
            sample::{at, entries, header},
        },
    };

    #[test]
    fn a_run_asks_only_until_writes_are_stopped() {
        let text = "{apiVersion: kubectl-migrate/v1, kind: Migration, metadata: {name: m, namespace: shop}, \
            spec: {playbook: statefulset, source: {statefulset: orders-db}, target: {namespace: new}}}";
        let mut plan = plan::parse("m.yaml", text).expect("a plan");
        let after = |count| Report::of(&header(), &entries(count), &Seen::at(at(1000), false));
        let workload = Some("statefulset shop/orders-db".to_owned());
        assert_eq!(will_freeze(&plan, None), workload);
        // The freeze was begun and not done: it will be done again.
        assert_eq!(will_freeze(&plan, Some(&after(5))), workload);
        assert_eq!(will_freeze(&plan, Some(&after(6))), None);
        plan.spec.playbook = Playbook::Copy;
        assert_eq!(will_freeze(&plan, None), None);
    }
}
