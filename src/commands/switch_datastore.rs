use anyhow::Result;

use super::session::{Session, Subject, Way};
use crate::{
    context::Context,
    error::Kind,
    flags::DryRun,
    plan::{self, Metadata, Plan, Playbook, Source, Span, Spec, Target, TenantFreeze},
};

/// Move a Kamaji tenant's control plane to another DataStore
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::SWITCH_DATASTORE)]
pub(crate) struct Args {
    /// The TenantControlPlane's name
    #[arg(value_name = "TCP")]
    tenant: String,
    /// The DataStore that it is to use
    #[arg(long, value_name = "DATASTORE")]
    to: String,
    /// How writes are stopped for the last copy
    #[arg(long, value_name = "HOW", default_value = "read-only", value_enum)]
    freeze: TenantFreeze,
    /// How long writes may stop; a cut-over that would not fit is refused
    #[arg(long, value_name = "DURATION")]
    max_freeze: Option<Span>,
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
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let source = Source {
        tenant_control_plane: Some(args.tenant.clone()),
        ..Source::default()
    };
    let mut spec = Spec::new(Playbook::KamajiDatastore, source);
    spec.target = Target {
        data_store: Some(args.to.clone()),
        ..Target::default()
    };
    spec.freeze.tenant = args.freeze;
    spec.freeze.max = args.max_freeze;
    let plan = Plan {
        api_version: plan::API_VERSION.to_owned(),
        kind: plan::KIND.to_owned(),
        metadata: Metadata {
            name: plan::short_name(&format!("switch-{}-{}", args.tenant, args.to)),
            namespace: None,
        },
        spec,
    };
    let subject = Subject::Plan(Box::new(plan));
    if args.dry_run != DryRun::None {
        return super::run::dry_run(cx, subject, args.dry_run).await;
    }
    super::consent::to_freeze(cx, &subject).await?;
    Session::open(cx, subject, args.take_over)
        .await?
        .go(Way::On)
        .await
}
