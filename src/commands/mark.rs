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
#[command(after_help = super::examples::MARK)]
pub(crate) struct Args {
    /// Name of the migration
    name: String,
    /// Name of the step, as `status` shows it
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
    #[arg(
        long,
        value_name = "HOW",
        default_value = "none",
        value_enum,
        hide_possible_values = true
    )]
    dry_run: DryRun,
    /// Take over from another run whose lock has run out
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{entries, header};

    #[test]
    fn only_a_step_that_waits_or_has_failed_is_marked() {
        let told = |count, step: &str| {
            let state = State::fold(&entries(count)).expect("a history that can be");
            can_be_marked(&state, &header().steps, step)
                .err()
                .map(|why| why.to_string())
                .unwrap_or_default()
        };
        assert_eq!(told(16, "hand-over"), "");
        assert_eq!(told(8, "final-copy"), "");
        insta::assert_snapshot!([
            told(16, "handover"),
            told(16, "verify"),
            told(9, "final-copy"),
            told(3, "freeze"),
            told(17, "hand-over"),
        ].join("\n"), @"
    there is no step `handover`: it is one of preflight, warm-copy, freeze, final-copy, verify, start-target, hand-over
    step `verify` is done: only a step that waits or has failed can be marked
    step `final-copy` is started: only a step that waits or has failed can be marked
    step `freeze` is not begun: only a step that waits or has failed can be marked
    step `hand-over` is marked: only a step that waits or has failed can be marked
    ");
    }
}
