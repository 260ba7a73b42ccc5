use std::path::PathBuf;

use anyhow::Result;

use super::{named, path, session::as_wanted};
use crate::{
    context::Context,
    engine::{Freezes, Step},
    error::Kind,
    plan::{self, Plan, TenantWay, digest},
    playbooks,
    report::Report,
    state,
    steps::{
        inventory::Inventory,
        preflight::{CHECKED, Checked},
    },
    ui::{Format, FreezeForecast, PlanStep, PlanView, amount},
};

/// Show the steps of a plan, how each is undone, and how long writes stop; change nothing
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::PLAN)]
pub(crate) struct Args {
    /// The plan file; - for standard input
    #[arg(long, short = 'f', value_name = "FILE")]
    filename: PathBuf,
    /// Output format
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&Format::COMMON))]
    output: Format,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let plan = path::complete(cx, plan::read(&args.filename)?).await?;
    let sides = path::sides(cx, &plan, "plan", None).await?;
    let begun = begun(cx, &plan, &sides.belongs.home).await;
    let recorded = begun
        .as_ref()
        .and_then(|report| report.outputs.get(CHECKED.step()))
        .and_then(|output| serde_json::from_value::<Checked>(output.clone()).ok())
        .map(|checked| checked.about);
    let playbook = match playbooks::build(&plan, &sides, recorded).await {
        Ok(playbook) => playbook,
        Err(error) => return as_wanted(cx, error, false),
    };
    let mut view = view(&plan, &sides.belongs.home, &playbook);
    view.freeze.expected_seconds = begun.and_then(|report| report.frozen.expected_seconds);
    cx.ui.plan(args.output, &view)?;
    Ok(Kind::Done)
}

/// The migration of this very plan, if it has begun: it tells what the warm rounds measured. A plan can be
/// shown to those who may not read journals, too.
async fn begun(cx: &Context, plan: &Plan, home: &str) -> Option<Report> {
    let keeper = cx.keeper().await.ok()?;
    let seen = state::one(&keeper, home, &plan.metadata.name)
        .await
        .ok()??;
    (seen.header.digest == digest(plan)).then(|| named::report(&seen).0)
}

/// What a plan looks like.
pub(super) fn view(plan: &Plan, namespace: &str, playbook: &playbooks::Playbook) -> PlanView {
    let capacity = playbook
        .preflight
        .about
        .volumes()
        .map_or(0, Inventory::capacity);
    let summary = if capacity == 0 {
        playbook.summary.clone()
    } else {
        format!("{}, {}", playbook.summary, amount::bytes(capacity))
    };
    let at_most = |step: &dyn Step| playbook.ending.filter(|_| step.freezes() == Freezes::Begin);
    PlanView::new(
        (namespace, &plan.metadata.name),
        plan.spec.playbook.name(),
        summary,
        playbook
            .steps
            .iter()
            .map(|step| PlanStep::of(step.as_ref(), at_most(step.as_ref())))
            .collect(),
        FreezeForecast {
            expected_seconds: None,
            allowed_seconds: playbook.allowed_freeze.map(|allowed| allowed.as_secs_f64()),
            measured: is_measured(plan),
        },
    )
}

/// Whether anything tells before writes stop how long they will: a tenant's stores have a warm round always, and by
/// Kamaji's Job none.
fn is_measured(plan: &Plan) -> bool {
    match plan.spec.playbook {
        plan::Playbook::KamajiDatastore => plan.spec.way == TenantWay::Direct,
        plan::Playbook::Snapshot | plan::Playbook::Restore => false,
        _ => plan.spec.warm.rounds > 0,
    }
}
