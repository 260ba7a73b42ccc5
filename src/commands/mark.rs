use anyhow::Result;

use super::session::{Session, Subject, Way};
use crate::{context::Context, error::Kind};

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
    /// Take the migration over from a run elsewhere that is dead
    #[arg(long)]
    take_over: bool,
}

/// Runs the verb: marks the step, then goes on with what follows it.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let session = Session::open(cx, Subject::Name(args.name.clone()), args.take_over).await?;
    session.mark(&args.step, &args.reason, args.force).await?;
    cx.ui.say(&format!(
        "migration/{} step {} marked",
        args.name, args.step
    ));
    let session = Session::open(cx, Subject::Name(args.name), args.take_over).await?;
    session.go(Way::On).await
}
