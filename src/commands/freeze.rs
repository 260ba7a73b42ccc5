use anyhow::Result;

use super::session::{Session, Subject, Way, unchanged};
use crate::{
    context::Context,
    engine::{Failure, Holds, Kind as FailureKind, Record},
    error::Kind,
    flags::DryRun,
    plan::{self, FreezeMode, Metadata, Plan, Playbook, Source, Spec, Workload},
};

/// Stop the writes of a StatefulSet or Deployment, and prove it
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::FREEZE)]
pub(crate) struct Args {
    /// The workload, as statefulset/NAME or deployment/NAME
    #[arg(value_name = "KIND/NAME")]
    workload: Workload,
    /// How its writes are stopped
    #[arg(long, value_enum, default_value_t)]
    mode: FreezeMode,
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
    /// Exit with 3 when it is frozen already
    #[arg(long)]
    error_unchanged: bool,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let plan = plan_of(&args.workload, args.mode);
    let subject = Subject::Plan(Box::new(plan));
    if args.dry_run != DryRun::None {
        return super::run::dry_run(cx, subject, args.dry_run).await;
    }
    let session = Session::open(cx, subject, args.take_over).await?;
    let state = session.journal.state();
    if !state.last("freeze").is_some_and(Record::is_settled) {
        return session.go(Way::On).await;
    }
    // It was frozen before: what counts is whether it still is.
    let frozen = session.look().await;
    session.leave().await;
    match frozen? {
        Holds::Yes | Holds::Unknown(_) => Ok(unchanged(
            cx,
            &format!("{} unchanged: it is frozen", args.workload),
            args.error_unchanged,
        )),
        Holds::No(why) => {
            let failure = Failure::new(FailureKind::FreezeBroken, why);
            Err(anyhow::Error::from(failure).context(format!(
                "{} is not frozen any more; put it back (`{}`), then freeze it again",
                args.workload,
                cx.command(&format!("thaw {}", args.workload))
            )))
        }
    }
}

/// The one-step migration that freezing is.
fn plan_of(workload: &Workload, mode: FreezeMode) -> Plan {
    let mut source = Source::default();
    match workload {
        Workload::StatefulSet(name) => source.statefulset = Some(name.clone()),
        Workload::Deployment(name) => source.deployment = Some(name.clone()),
    }
    Plan {
        api_version: plan::API_VERSION.to_owned(),
        kind: plan::KIND.to_owned(),
        metadata: Metadata {
            name: migration_of(workload),
            namespace: None,
        },
        spec: Spec {
            freeze: plan::Freeze {
                mode,
                ..plan::Freeze::default()
            },
            ..Spec::new(Playbook::Freeze, source)
        },
    }
}

/// The name of the migration that freezes a workload; a long name is cut, and told from others by a digest.
pub(super) fn migration_of(workload: &Workload) -> String {
    plan::short_name(&format!("freeze-{}-{}", workload.kind(), workload.name()))
}
