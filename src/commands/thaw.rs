use std::{str::FromStr, time::Duration};

use anyhow::Result;

use super::{
    freeze::migration_of,
    session::{Session, Subject, Way, unchanged},
};
use crate::{
    context::Context,
    engine::{self, Cx, Sink, Stop},
    error::Kind,
    flags::DryRun,
    plan::Workload,
    report::State,
    state,
    steps::{
        Place,
        freeze::{Thawed, Whose, rehearse_thaw, thaw},
        kamaji::Held,
    },
};

/// Put back exactly what was there before a freeze
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::THAW)]
pub(crate) struct Args {
    /// The workload, as statefulset/NAME or deployment/NAME; or tcp/NAME, a Kamaji tenant's control plane
    #[arg(value_name = "KIND/NAME")]
    workload: Frozen,
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

/// What can be thawed.
#[derive(Clone, Debug)]
enum Frozen {
    Workload(Workload),
    /// The name of a Kamaji tenant's control plane.
    Tenant(String),
}

impl FromStr for Frozen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some(("tcp" | "tenantcontrolplane" | "tenantcontrolplanes", name))
                if !name.is_empty() =>
            {
                Ok(Self::Tenant(name.to_owned()))
            }
            _ => text.parse().map(Self::Workload),
        }
    }
}

/// How long pods may take to come back before the command no longer waits for them.
const BOUND: Duration = Duration::from_mins(5);

/// Runs the verb: by the journal where there is one, else by the note on the workload alone.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let workload = match &args.workload {
        Frozen::Workload(workload) => workload.clone(),
        Frozen::Tenant(name) => return tenant(cx, &args, name).await,
    };
    let name = migration_of(&workload);
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
        return dry_run(cx, &args, &workload, &place, whose).await;
    }
    let frozen = journal
        .as_ref()
        .is_some_and(|seen| super::named::report(seen).0.frozen.now);
    if frozen {
        let session = Session::open(cx, Subject::Name(name.clone()), args.take_over).await?;
        return session.go(Way::Back(None)).await;
    }
    let (sink, _, _) = Sink::new();
    match thaw(&place, &workload, whose, BOUND, &sink).await? {
        Thawed::Restored(_) => {
            cx.ui.say(&format!("{workload} thawed"));
            Ok(Kind::Done)
        }
        Thawed::NotFrozen => Ok(not_frozen(cx, &args, &workload.to_string())),
    }
}

/// By the marks on the control plane and in the tenant alone.
async fn tenant(cx: &Context, args: &Args, name: &str) -> Result<Kind> {
    let shown = format!("tcp/{name}");
    let place = Place {
        cluster: cx.source().await?.clone(),
        namespace: cx.namespace().await?,
        remote: false,
    };
    let Some(held) = Held::find(&place, name).await? else {
        return Ok(not_frozen(cx, args, &shown));
    };
    if !args.force {
        let by = held.by();
        let journal = state::one(&cx.keeper().await?, &by.home, &by.migration).await?;
        let state = journal.map(|seen| super::named::report(&seen).0.state);
        if state.is_some_and(|state| !matches!(state, State::Done | State::RolledBack)) {
            let next = cx.command(&format!("thaw {shown} --force"));
            let taken = held.taken().with_next(next, "thaws it all the same");
            return Err(taken.into());
        }
    }
    if args.dry_run != DryRun::None {
        for line in held.lines().await? {
            cx.ui.data(&format!("{shown}: {line}"))?;
        }
        cx.ui.data(&format!("{shown} thawed (dry run)"))?;
        return Ok(Kind::Done);
    }
    let (sink, _, _) = Sink::new();
    let (_, stop) = Stop::new();
    held.release(&Cx::of(&engine::State::default(), sink, stop))
        .await?;
    cx.ui.say(&format!("{shown} thawed"));
    Ok(Kind::Done)
}

/// The note tells all that is put back, with or without a journal.
async fn dry_run(
    cx: &Context,
    args: &Args,
    workload: &Workload,
    place: &Place,
    whose: Whose<'_>,
) -> Result<Kind> {
    let ask = args.dry_run == DryRun::Server;
    let Thawed::Restored(mark) = rehearse_thaw(place, workload, whose, ask).await? else {
        return Ok(not_frozen(cx, args, &workload.to_string()));
    };
    let how = if ask { "server dry run" } else { "dry run" };
    for line in mark.original.lines_back() {
        cx.ui.data(&format!("{workload}: {line}"))?;
    }
    cx.ui.data(&format!("{workload} thawed ({how})"))?;
    Ok(Kind::Done)
}

fn not_frozen(cx: &Context, args: &Args, shown: &str) -> Kind {
    let text = format!("{shown} unchanged: it is not frozen by this program");
    unchanged(cx, &text, args.error_unchanged)
}
