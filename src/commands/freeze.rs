use anyhow::Result;

use super::session::{Session, Subject, Way};
use crate::{
    context::Context,
    error::Kind,
    flags::DryRun,
    plan::{self, FreezeMode, Metadata, Plan, Playbook, Source, Spec, Workload},
};

/// Stop the writes of a StatefulSet or Deployment, and prove it
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The workload, as statefulset/NAME or deployment/NAME
    #[arg(value_name = "KIND/NAME")]
    workload: Workload,
    /// How it is stopped
    #[arg(long, value_enum, default_value_t)]
    mode: FreezeMode,
    /// Take the migration over from a run elsewhere that is dead
    #[arg(long)]
    take_over: bool,
    /// Only show (client) or only check (server) what would be done
    #[arg(long, value_name = "HOW", default_value = "none", value_enum)]
    dry_run: DryRun,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let plan = plan_of(&args.workload, args.mode);
    let subject = Subject::Plan(Box::new(plan));
    if args.dry_run != DryRun::None {
        return super::run::dry_run(cx, subject, args.dry_run).await;
    }
    Session::open(cx, subject, args.take_over)
        .await?
        .go(Way::On)
        .await
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
            freeze: plan::Freeze { mode, max: None },
            ..Spec::new(Playbook::Freeze, source)
        },
    }
}

/// The name of the migration that freezes a workload; a long name is cut, and told from others by a digest.
pub(super) fn migration_of(workload: &Workload) -> String {
    plan::short_name(&format!("freeze-{}-{}", workload.kind(), workload.name()))
}
