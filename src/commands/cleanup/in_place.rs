//! The volumes that a StatefulSet had before it was moved in place.
use anyhow::{Context as _, Result};

use crate::{
    context::Context,
    engine::{self, Cx, Failure, Kind, Record, Sink, Stop},
    flags::DryRun,
    plan::Plan,
    playbooks::{self, Sides},
    report::{Report, State},
    state::Seen,
    steps::{in_place, preflight::CHECKED, verify::VERIFIED},
    ui::Removal,
};

/// The old volumes of a migration that is done.
pub(super) struct OldVolumes(in_place::OldVolumes);

/// Whether a migration is of a StatefulSet that was moved in place.
pub(super) fn is_in_place(seen: &Seen) -> bool {
    let plan: Result<Plan, _> = serde_json::from_value(seen.header.plan.clone());
    plan.is_ok_and(|plan| plan.is_in_place())
}

impl OldVolumes {
    /// The old volumes, if every proof that nobody needs them still stands; none when nothing is left of them.
    pub(super) async fn of(seen: &Seen, report: &Report, sides: &Sides) -> Result<Option<Self>> {
        let state = engine::State::fold(&seen.entries)?;
        let compared = matches!(state.last(VERIFIED.step()), Some(Record::Done(_)));
        if report.state != State::Done || !compared {
            let why = format!(
                "migration {} is {}, or its volumes were not compared by content: the old volumes are kept",
                report.name,
                report.state.name()
            );
            return Err(Failure::new(Kind::Blocked, why).into());
        }
        let (sink, _, _) = Sink::new();
        let (_, stop) = Stop::new();
        let cx = Cx::of(&state, sink, stop);
        let inventory = cx.get(&CHECKED)?.about.into_volumes();
        let inventory = inventory.context("the migration has no volumes")?;
        let plan: Plan = serde_json::from_value(seen.header.plan.clone())?;
        let in_place = playbooks::in_place_of(&plan, sides, &inventory);
        let old = in_place::OldVolumes::of(in_place, &cx).await?;
        Ok(old.map(Self))
    }

    /// As they are shown before.
    pub(super) fn shown(&self) -> impl Iterator<Item = Removal> {
        self.0.shown().map(|(name, why)| Removal {
            kind: "persistentvolume".to_owned(),
            namespace: String::new(),
            name,
            why: why.to_owned(),
        })
    }

    /// Deletes them as their own policy says, and takes all notes off; a dry run only tells it. Gives what was deleted.
    pub(super) async fn delete(&self, cx: &Context, how: DryRun) -> Result<Vec<String>> {
        if how != DryRun::None {
            for (name, _) in self.0.shown() {
                cx.ui
                    .data(&format!("persistentvolume/{name} let go of (dry run)"))?;
            }
            return Ok(Vec::new());
        }
        let gone = self.0.delete().await?;
        let mut told = Vec::new();
        for (name, _) in self.0.shown() {
            let became = if gone.contains(&name) {
                told.push(format!("persistentvolume {name}"));
                "deleted"
            } else {
                "let go of; its data is yours to delete"
            };
            cx.ui.data(&format!("persistentvolume/{name} {became}"))?;
        }
        Ok(told)
    }
}
