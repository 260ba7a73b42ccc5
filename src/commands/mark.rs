use anyhow::Result;

use super::session::{Session, Subject, Way};
use crate::{
    context::Context,
    engine::{Header, Record, State},
    error::Kind,
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
    /// Take over from another run whose lock has run out
    #[arg(long)]
    take_over: bool,
}

/// Runs the verb: marks the step, then goes on with what follows it.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let session = Session::open(cx, Subject::Name(args.name.clone()), args.take_over).await?;
    session.mark(&args.step, &args.reason).await?;
    cx.ui.say(&format!(
        "migration/{} step {} marked",
        args.name, args.step
    ));
    let session = Session::open(cx, Subject::Name(args.name), args.take_over).await?;
    session.go(Way::On).await
}

/// Whether a step can be marked, or why not.
pub(super) fn markable(header: &Header, state: &State, step: &str) -> Result<(), String> {
    let name = &header.migration;
    if !header.steps.iter().any(|known| known == step) {
        let steps = header.steps.join(", ");
        return Err(format!(
            "migration {name} has no step `{step}`: its steps are {steps}"
        ));
    }
    match state.last(step) {
        Some(Record::Waiting(_) | Record::Failed { .. }) => Ok(()),
        last => {
            let last = last.map_or("not begun", Record::name);
            Err(format!(
                "step `{step}` of migration {name} is {last}: only a step that waits or has failed can be marked"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{entries, header};

    #[test]
    fn only_a_step_that_waits_or_has_failed_is_marked() {
        let told = |count, step: &str| {
            let state = State::fold(&entries(count)).expect("a history that can be");
            markable(&header(), &state, step).err().unwrap_or_default()
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
    migration orders-db has no step `handover`: its steps are preflight, warm-copy, freeze, final-copy, verify, start-target, hand-over
    step `verify` of migration orders-db is done: only a step that waits or has failed can be marked
    step `final-copy` of migration orders-db is started: only a step that waits or has failed can be marked
    step `freeze` of migration orders-db is not begun: only a step that waits or has failed can be marked
    step `hand-over` of migration orders-db is marked: only a step that waits or has failed can be marked
    ");
    }
}
