use std::time::Duration;

use anyhow::Result;

use super::{
    freeze::migration_of,
    session::{Session, Subject, Way, unchanged},
};
use crate::{
    context::Context,
    engine::Sink,
    error::Kind,
    flags::DryRun,
    plan::Workload,
    state,
    steps::{
        Place,
        freeze::{Thawed, Whose, rehearse_thaw, thaw},
    },
};

/// Put back exactly what was there before a freeze
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::THAW)]
pub(crate) struct Args {
    /// The workload, as statefulset/NAME or deployment/NAME
    #[arg(value_name = "KIND/NAME")]
    workload: Workload,
    /// Put it back even if another unfinished migration froze it, or its journal is lost
    #[arg(long)]
    force: bool,
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
    /// Exit with 3 when there is nothing to do
    #[arg(long)]
    error_unchanged: bool,
}

/// How long pods may take to come back before the command no longer waits for them.
const BOUND: Duration = Duration::from_mins(5);

/// Runs the verb: by the journal where there is one, else by the note on the workload alone.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let name = migration_of(&args.workload);
    let namespace = cx.namespace().await?;
    let journal = match state::one(&cx.keeper().await?, &namespace, &name).await {
        // The note on the workload is enough to put it back.
        Err(error) if args.force => {
            cx.ui
                .warn(&format!("the journal counts as lost: {error:#}"));
            None
        }
        journal => journal?,
    };
    // Its own migration's journal is gone, or says that it is not frozen: the note alone counts then.
    let whose = if args.force {
        Whose::Anyone
    } else {
        Whose::Migration {
            name: &name,
            home: &namespace,
        }
    };
    let place = Place {
        cluster: cx.source().await?.clone(),
        namespace: namespace.clone(),
        remote: false,
    };
    if args.dry_run != DryRun::None {
        return dry_run(cx, &args, &place, whose).await;
    }
    let frozen = journal
        .as_ref()
        .is_some_and(|seen| super::named::report(seen).0.frozen.now);
    if frozen {
        let session = Session::open(cx, Subject::Name(name.clone()), args.take_over).await?;
        return session.go(Way::Back(None)).await;
    }
    let (sink, _, _) = Sink::new();
    match thaw(&place, &args.workload, whose, BOUND, &sink).await? {
        Thawed::Restored(_) => {
            cx.ui.say(&format!("{} thawed", args.workload));
            Ok(Kind::Done)
        }
        Thawed::NotFrozen => Ok(not_frozen(cx, &args)),
    }
}

/// The note tells all that is put back, with or without a journal.
async fn dry_run(cx: &Context, args: &Args, place: &Place, whose: Whose<'_>) -> Result<Kind> {
    let ask = args.dry_run == DryRun::Server;
    let Thawed::Restored(mark) = rehearse_thaw(place, &args.workload, whose, ask).await? else {
        return Ok(not_frozen(cx, args));
    };
    let how = if ask { "server dry run" } else { "dry run" };
    for line in mark.original.lines_back() {
        cx.ui.data(&format!("{}: {line}", args.workload))?;
    }
    cx.ui.data(&format!("{} thawed ({how})", args.workload))?;
    Ok(Kind::Done)
}

fn not_frozen(cx: &Context, args: &Args) -> Kind {
    let text = format!(
        "{} unchanged: it is not frozen by this program",
        args.workload
    );
    unchanged(cx, &text, args.error_unchanged)
}
