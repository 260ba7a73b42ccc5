use anyhow::Result;

use super::session::{Session, Subject, Way, unchanged};
use crate::{
    context::Context,
    error::{Kind, Usage},
    flags::DryRun,
    plan::{self, Metadata, Plan, Playbook, Source, Span, Spec, Target, TenantFreeze, TenantWay},
    report::State,
    state,
    steps::{Place, kamaji::settled_in},
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
    /// Who copies the data
    #[arg(long, value_name = "WAY", default_value = "direct", value_enum)]
    way: TenantWay,
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
    /// Exit with 3 when it is there already
    #[arg(long)]
    error_unchanged: bool,
}

/// Whether there is nothing to do: the tenant is there, and no migration is on its way.
async fn done_already(cx: &Context, args: &Args, migration: &str) -> Result<Option<Kind>> {
    let place = Place {
        cluster: cx.source().await?.clone(),
        namespace: cx.namespace().await?,
        remote: false,
    };
    if settled_in(&place, &args.tenant).await?.as_ref() != Some(&args.to) {
        return Ok(None);
    }
    let journal = state::one(&cx.keeper().await?, &place.namespace, migration).await?;
    let state = journal.map(|seen| super::named::report(&seen).0.state);
    if state.is_some_and(|state| !matches!(state, State::Done | State::RolledBack)) {
        return Ok(None);
    }
    let text = format!(
        "tcp/{} unchanged: it is in datastore {}",
        args.tenant, args.to
    );
    Ok(Some(unchanged(cx, &text, args.error_unchanged)))
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    if args.way == TenantWay::Controller && args.freeze != TenantFreeze::default() {
        let why = "--freeze is not for --way controller: Kamaji freezes the tenant itself";
        return Err(Usage(why.to_owned()).into());
    }
    if args.way == TenantWay::Controller && args.max_freeze.is_some() {
        let why = "--max-freeze is not for --way controller: nobody knows before how long Kamaji's Job takes";
        return Err(Usage(why.to_owned()).into());
    }
    let source = Source {
        tenant_control_plane: Some(args.tenant.clone()),
        ..Source::default()
    };
    let mut spec = Spec::new(Playbook::KamajiDatastore, source);
    spec.target = Target {
        data_store: Some(args.to.clone()),
        ..Target::default()
    };
    spec.way = args.way;
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
    if let Some(kind) = done_already(cx, &args, &plan.metadata.name).await? {
        return Ok(kind);
    }
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
