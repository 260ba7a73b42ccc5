use anyhow::Result;

use super::{
    identity, named,
    rollback::only_client,
    session::{Session, Subject, Way, can_be_marked, keeps_its_plan, recorded},
};
use crate::{
    context::Context,
    engine::{Record, State},
    error::Kind,
    flags::DryRun,
    playbooks,
};

/// Say that a waiting or failed step is done, by your own decision
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The migration
    name: String,
    /// The step
    step: String,
    /// Mark it as done
    #[arg(long, required = true)]
    done: bool,
    /// Why; it stays visible in every report
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Also when the freeze, or what else it relies on, is broken
    #[arg(long)]
    force: bool,
    /// client: show what would be done; server is not offered here
    #[arg(long, value_name = "HOW", default_value = "none", value_enum)]
    dry_run: DryRun,
    /// Take the migration over from a run elsewhere that is dead
    #[arg(long)]
    take_over: bool,
}

/// Runs the verb: marks the step, then goes on with what follows it.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    only_client(args.dry_run, "mark")?;
    if args.dry_run == DryRun::Client {
        return dry_run(cx, &args).await;
    }
    let session = Session::open(cx, Subject::Name(args.name.clone()), args.take_over).await?;
    session.mark(&args.step, &args.reason, args.force).await?;
    cx.ui.say(&format!(
        "migration/{} step {} marked",
        args.name, args.step
    ));
    let session = Session::open(cx, Subject::Name(args.name), args.take_over).await?;
    session.go(Way::On).await
}

/// The mark, and the steps that would follow it.
async fn dry_run(cx: &Context, args: &Args) -> Result<Kind> {
    let seen = named::seen(cx, &args.name).await?;
    keeps_its_plan(&cx.flags, &args.name, &[])?;
    let state = State::fold(&seen.entries)?;
    can_be_marked(&state, &seen.header.steps, &args.step)?;
    let (plan, sides) = identity::of_journal(cx, &seen.header).await?;
    let playbook = playbooks::build(&plan, &sides, recorded(&state)?).await?;
    cx.ui.data(&format!("{}: marked (dry run)", args.step))?;
    let open = playbook.steps.iter().filter(|step| {
        step.id() != args.step && !state.last(step.id()).is_some_and(Record::is_settled)
    });
    for step in open {
        let line = format!("{}: {} (dry run)", step.id(), step.title());
        cx.ui.data(&line)?;
    }
    Ok(Kind::Done)
}
