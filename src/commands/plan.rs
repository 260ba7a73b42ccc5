use std::path::PathBuf;

use anyhow::Result;

use super::path;
use crate::{
    context::Context,
    error::Kind,
    playbooks,
    ui::{Format, PlanStep, PlanView},
};

/// Show the steps of a plan, how each is undone, and how long it may take; change nothing
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The plan file; - for standard input
    #[arg(long, short = 'f', value_name = "FILE")]
    filename: PathBuf,
    /// How to print it
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&Format::COMMON))]
    output: Format,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let plan = path::complete(cx, crate::plan::read(&args.filename)?).await?;
    let sides = path::sides(cx, &plan, "plan", None).await?;
    let playbook = playbooks::build(&plan, &sides, None).await?;
    cx.ui
        .plan(args.output, &view(&plan, &sides.belongs.home, &playbook))?;
    Ok(Kind::Done)
}

/// What a plan looks like.
pub(super) fn view(
    plan: &crate::plan::Plan,
    namespace: &str,
    playbook: &playbooks::Playbook,
) -> PlanView {
    PlanView::new(
        (namespace, &plan.metadata.name),
        plan.spec.playbook.name(),
        playbook.summary.clone(),
        playbook
            .steps
            .iter()
            .map(|step| PlanStep::of(step.as_ref()))
            .collect(),
        playbook.allowed_freeze,
    )
}
