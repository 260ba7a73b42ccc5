use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{
    identity, named, path,
    session::{Session, Subject, Way, as_wanted, keeps_its_plan, recorded, unchanged},
};
use crate::{
    context::Context,
    engine::{Cx, Record, Sink, State, Stop},
    error::Kind,
    flags::DryRun,
    playbooks,
    ui::Format,
};

/// Run a plan, or go on where a migration stopped
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::RUN)]
pub(crate) struct Args {
    /// Name of the migration to go on with
    name: Option<String>,
    /// The plan file; - for standard input
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "name")]
    filename: Option<PathBuf>,
    /// Take over from another run whose lock has run out
    #[arg(long)]
    take_over: bool,
    /// client: show what would be done; server: also let the API server check every change, without keeping it
    #[arg(
        long,
        value_name = "HOW",
        default_value = "none",
        value_enum,
        hide_possible_values = true
    )]
    dry_run: DryRun,
    /// Refuse a cut-over that would stop writes for longer
    #[arg(long, value_name = "SPAN")]
    max_freeze: Option<crate::plan::Span>,
    /// Exit with 3 when there is nothing to do
    #[arg(long)]
    error_unchanged: bool,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let subject = match (&args.name, &args.filename) {
        (None, None) => bail!(crate::plan::PlanError {
            file: "command line".to_owned(),
            line: None,
            field: String::new(),
            problem: "name a plan file (-f FILE) or a migration that has begun".to_owned(),
        }),
        (Some(name), _) => {
            if args.max_freeze.is_some() {
                // A name that is misspelt is told first.
                named::seen(cx, name).await?;
                keeps_its_plan(&cx.flags, name, &[("--max-freeze", true)])?;
            }
            Subject::Name(name.clone())
        }
        (None, Some(file)) => {
            let mut plan = crate::plan::read(file)?;
            plan.spec.freeze.max = args.max_freeze.or(plan.spec.freeze.max);
            Subject::Plan(Box::new(plan))
        }
    };
    if args.dry_run != DryRun::None {
        return match dry_run(cx, subject, args.dry_run).await {
            Err(error) => as_wanted(cx, error, args.error_unchanged),
            done => done,
        };
    }
    super::consent::to_freeze(cx, &subject).await?;
    let session = match Session::open(cx, subject, args.take_over).await {
        Ok(session) => session,
        Err(error) => return as_wanted(cx, error, args.error_unchanged),
    };
    let state = session.journal.state();
    let settled = |id: &String| state.last(id).is_some_and(Record::is_settled);
    if session.journal.header().steps.iter().all(settled) {
        let text = format!(
            "migration/{} unchanged: every step is done",
            session.journal.header().migration
        );
        session.leave().await;
        return Ok(unchanged(cx, &text, args.error_unchanged));
    }
    session.go(Way::On).await
}

/// The same way, stopped early: the steps, and for `server` each of their first writes as the server
/// takes them.
pub(super) async fn dry_run(cx: &Context, subject: Subject, how: DryRun) -> Result<Kind> {
    let mut inventory = None;
    let plan = match subject {
        Subject::Plan(plan) => path::complete(cx, *plan).await?,
        Subject::Name(name) => {
            let seen = named::seen(cx, &name).await?;
            keeps_its_plan(&cx.flags, &name, &[])?;
            inventory = recorded(&State::fold(&seen.entries)?)?;
            identity::of_journal(cx, &seen.header).await?.0
        }
    };
    let sides = path::sides(cx, &plan, "dryrun", None).await?;
    let playbook = playbooks::build(&plan, &sides, inventory).await?;
    if how == DryRun::Client {
        let view = super::plan::view(&plan, &sides.belongs.home, &playbook);
        cx.ui.plan(Format::Table, &view)?;
        return Ok(Kind::Done);
    }
    let (sink, _, _) = Sink::new();
    let (_wish, stop) = Stop::new();
    let look = Cx::fresh(sink, stop);
    for step in &playbook.steps {
        for line in step.rehearse(&look).await? {
            cx.ui.data(&line)?;
        }
    }
    Ok(Kind::Done)
}
