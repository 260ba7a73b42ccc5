//! Whether the source may be deleted, and what of it: it is the way back, and what is deleted here cannot be
//! had back.
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};

use super::{ID, Item};
use crate::{
    engine::{self, Cx, Failure, Holds, Kind, Record, Sink, Stop},
    plan::Plan,
    playbooks::{self, Sides},
    report::{Report, State},
    state::Seen,
    steps::{
        About,
        freeze::FROZEN,
        inventory::{Now, Part},
        preflight::CHECKED,
        verify::VERIFIED,
    },
};

/// The source's workload and claims, if every proof that they are no longer needed still stands.
pub(super) async fn items(seen: &Seen, report: &Report, sides: &Sides) -> Result<Vec<Item>> {
    let name = &report.name;
    let state = engine::State::fold(&seen.entries)?;
    let compared = matches!(state.last(VERIFIED.step()), Some(Record::Done(_)));
    if report.state != State::Done || !compared {
        let why = if report.state == State::Done {
            "was not compared by content".to_owned()
        } else {
            format!("is {}", report.state.name())
        };
        return Err(kept(format!(
            "migration {name} {why}: its source is the only copy, and is kept"
        )));
    }
    let (sink, _, _) = Sink::new();
    let (_, stop) = Stop::new();
    let left = Cx::of(&state, sink, stop);
    let inventory = left.get(&CHECKED)?.about.into_volumes();
    let inventory = inventory.context("the migration has no volumes")?;
    let plan: Plan = serde_json::from_value(seen.header.plan.clone())?;
    let frozen = left.find(&FROZEN)?.map(|frozen| frozen.uid);
    let parts = inventory
        .source_now(&sides.source, frozen.as_deref())
        .await?;
    refuse_others(name, sides, &parts)?;
    // A cleanup that was cut off may have deleted the workload already.
    let workload_gone = parts
        .iter()
        .any(|part| part.kind == "statefulset" && part.now == Now::Gone);
    if frozen.is_some() && !(workload_gone && state.begun(ID)) {
        let steps = playbooks::build(&plan, sides, Some(About::Volumes(inventory.clone()))).await?;
        for step in steps.steps.iter().filter(|step| step.id() == FROZEN.step()) {
            if let Holds::No(why) = step.holds(&left).await? {
                return Err(kept(format!(
                    "the source of migration {name} is not frozen any more, so that it may hold what the target does not: {why}; it is kept"
                )));
            }
        }
    } else if inventory.workload.is_object() && frozen.is_none() {
        return Err(kept(format!(
            "migration {name} did not freeze its source itself: the source is kept"
        )));
    }
    let users = inventory.users_now(&sides.source).await?;
    if !users.is_empty() {
        let why =
            format!("the volumes of the source of migration {name} are in use: they are kept");
        return Err(Failure::new(Kind::Blocked, why).with_evidence(users).into());
    }
    let there = parts.iter().filter(|part| part.now != Now::Gone);
    there
        .map(|part| {
            ensure!(
                !part.uid.is_empty(),
                "the journal does not tell which {} {} was copied: delete it by hand if it is not needed",
                part.kind,
                part.name
            );
            let (place, why) = (&sides.source, "the source");
            Ok(match part.kind {
                "statefulset" => Item::of::<StatefulSet>(place, &part.name, &part.uid, why),
                _ => Item::of::<PersistentVolumeClaim>(place, &part.name, &part.uid, why),
            })
        })
        .collect()
}

/// What bears the name of the source and is not what was copied.
fn refuse_others(name: &str, sides: &Sides, parts: &[Part]) -> Result<()> {
    let others: Vec<_> = parts
        .iter()
        .filter(|part| part.now == Now::Replaced)
        .filter_map(|part| part.why(&sides.source))
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let why = format!(
        "what bears the name of the source of migration {name} is not what was copied, and is kept"
    );
    Err(Failure::new(Kind::Blocked, why)
        .with_evidence(others)
        .into())
}

fn kept(why: String) -> anyhow::Error {
    Failure::new(Kind::Blocked, why).into()
}
