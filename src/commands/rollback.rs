use anyhow::{Result, bail};

use super::session::{Session, Subject, Way, unchanged};
use crate::{context::Context, engine::Record, error::Kind};

/// Put everything back, last step first
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::ROLLBACK)]
pub(crate) struct Args {
    /// Name of the migration
    name: String,
    /// Undo down to this step, which itself stays done
    #[arg(long, value_name = "STEP")]
    to: Option<String>,
    /// Take over from another run whose lock has run out
    #[arg(long)]
    take_over: bool,
    /// Exit with 3 when there is nothing to do
    #[arg(long)]
    error_unchanged: bool,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let session = Session::open(cx, Subject::Name(args.name.clone()), args.take_over).await?;
    let steps = session.journal.header().steps.clone();
    if let Some(to) = &args.to
        && !steps.contains(to)
    {
        session.leave().await;
        bail!("there is no step `{to}`: it is one of {}", steps.join(", "));
    }
    let kept = args
        .to
        .as_ref()
        .and_then(|to| steps.iter().position(|step| step == to));
    let state = session.journal.state();
    let undone = &steps[kept.map_or(0, |at| at + 1)..];
    let nothing = |id: &String| {
        matches!(
            state.last(id),
            None | Some(Record::Skipped(_) | Record::Undone | Record::Blocked(_))
        )
    };
    if undone.iter().all(nothing) {
        session.leave().await;
        let text = format!(
            "migration/{} unchanged: there is nothing to put back",
            args.name
        );
        return Ok(unchanged(cx, &text, args.error_unchanged));
    }
    // From here on clients may have written to the target.
    let started = undone.iter().any(|id| id == "start-target") && state.begun("start-target");
    if started {
        let what = "what clients wrote to the target since it was started is lost with a rollback";
        if let Err(error) = cx.ui.confirm_irreversible(what, &args.name) {
            session.leave().await;
            return Err(error.into());
        }
    }
    session.go(Way::Back(args.to.as_deref())).await
}
