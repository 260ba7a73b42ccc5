//! What Kamaji's own migrations of a tenant left, whoever began them.
use anyhow::{Context as _, Result};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};

use super::{found, item, item::Item};
use crate::{
    adapters::kube::{KubeError, Selector},
    context::Context,
    engine::{self, Cx, Sink, Stop},
    flags::DryRun,
    plan::Plan,
    playbooks::{self, Sides},
    state::Seen,
    steps::{
        kamaji::{LeftByKamaji, Switch},
        preflight::CHECKED,
    },
    ui::Removal,
};

/// Annotations of a control plane that act on Kamaji's next migration.
pub(super) struct OneShot {
    switch: Switch,
    annotations: Vec<(String, String)>,
}

/// What is left; probes of ours among it.
pub(super) async fn left(
    cx: &Context,
    seen: &Seen,
    sides: &Sides,
    probes: &Selector,
) -> Result<(Vec<Item>, Option<OneShot>)> {
    let switch = switch_of(seen, sides)?;
    let left = match switch.left_by_kamaji().await {
        Ok(Some(left)) => left,
        Ok(None) => return Ok((Vec::new(), None)),
        // What is ours is cleaned up all the same.
        Err(error) if is_no_right(&error) => {
            cx.ui
                .warn(&format!("what Kamaji left is not looked at: {error:#}"));
            return Ok((Vec::new(), None));
        }
        Err(error) => return Err(error),
    };
    let LeftByKamaji {
        place,
        job,
        pods,
        annotations,
    } = left;
    let mut items: Vec<_> = job
        .iter()
        .map(|job: &Job| item(&place, job, "Kamaji's job"))
        .collect();
    items.extend(
        pods.iter()
            .map(|pod: &Pod| item(&place, pod, "a pod of Kamaji's job")),
    );
    items.extend(found::<Pod>(&place, probes, "a probe of preflight").await?);
    let one_shot = (!annotations.is_empty()).then_some(OneShot {
        switch,
        annotations,
    });
    Ok((items, one_shot))
}

fn switch_of(seen: &Seen, sides: &Sides) -> Result<Switch> {
    let (sink, _, _) = Sink::new();
    let (_, stop) = Stop::new();
    let state = engine::State::fold(&seen.entries)?;
    let plan: Plan = serde_json::from_value(seen.header.plan.clone())?;
    let about = Cx::of(&state, sink, stop).get(&CHECKED)?.about;
    let tenant = about
        .into_tenant()
        .context("the migration is of no tenant")?;
    Ok(playbooks::switch_of(&plan, sides, tenant))
}

fn is_no_right(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<KubeError>();
    cause.is_some_and(|cause| matches!(cause, KubeError::Forbidden { .. }))
}

impl OneShot {
    fn keys(&self) -> String {
        let keys: Vec<_> = self
            .annotations
            .iter()
            .map(|(key, _)| key.as_str())
            .collect();
        keys.join(", ")
    }

    /// As it is shown before.
    pub(super) fn shown(&self) -> Removal {
        Removal {
            kind: "annotation".to_owned(),
            namespace: self.switch.shown(),
            name: self.keys(),
            why: "acts on Kamaji's next migration".to_owned(),
        }
    }

    /// Removes them; a dry run only tells it, or asks the server too.
    pub(super) async fn delete(&self, cx: &Context, how: DryRun) -> Result<()> {
        let cluster = &self.switch.place.cluster;
        let (cluster, told) = match how {
            DryRun::None => (Some(cluster.clone()), ""),
            DryRun::Client => (None, " (dry run)"),
            DryRun::Server => (Some(cluster.dry_run()), " (server dry run)"),
        };
        if let Some(cluster) = cluster {
            self.switch
                .remove_annotations(&cluster, &self.annotations)
                .await?;
        }
        cx.ui
            .data(&format!("annotation {} deleted{told}", self.keys()))?;
        Ok(())
    }
}
