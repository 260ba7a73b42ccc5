use anyhow::Result;

use super::{
    bucket::BucketFlags,
    session::{Session, Subject, Way},
};
use crate::{
    adapters::s3::Address,
    context::Context,
    error::Kind,
    flags::DryRun,
    plan::{self, Metadata, MoverWay, Plan, Playbook, Quantity, Rate, RunAs, Source, Spec, Target},
};

/// Copy a volume to another, verified
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::COPY)]
pub(crate) struct Args {
    /// The claim that is copied, as pvc/NAME
    #[arg(value_name = "SRC", value_parser = claim)]
    source: String,
    /// The claim that receives the copy, as pvc/NAME; it is made if it does not exist
    #[arg(value_name = "DST", value_parser = claim)]
    target: String,
    /// Storage class of a claim that is made
    #[arg(long, value_name = "NAME")]
    storage_class: Option<String>,
    /// Size of a claim that is made
    #[arg(long, value_name = "QUANTITY")]
    size: Option<Quantity>,
    /// User that the movers run as: auto, root, workload or UID:GID
    #[arg(long, value_name = "USER", default_value = "auto")]
    run_as: RunAs,
    /// Bytes a second that are sent at most, like 50MiB/s; the verb limit changes it later
    #[arg(long, value_name = "RATE")]
    limit: Option<Rate>,
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
    /// A place in a bucket that the bytes may go through
    #[arg(long, value_name = "s3://BUCKET/PREFIX", help_heading = "Ways")]
    through: Option<Address>,
    /// Ways that the bytes may go, of direct, client (this machine) and bucket, tried in this order, all if not given; or exec
    /// alone, without a mover: by commands in pods of --mover-image
    #[arg(
        long = "way",
        value_name = "WAYS",
        value_enum,
        hide_possible_values = true,
        value_delimiter = ',',
        help_heading = "Ways"
    )]
    ways: Vec<MoverWay>,
    #[command(flatten)]
    server: BucketFlags,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let mut spec = Spec::new(
        Playbook::Copy,
        Source {
            pvc: Some(args.source.clone()),
            ..Source::default()
        },
    );
    spec.target = Target {
        pvc: Some(args.target.clone()),
        storage_class: args.storage_class,
        size: args.size,
        ..Target::default()
    };
    spec.mover.run_as = args.run_as;
    spec.mover.limit = args.limit;
    spec.mover.ways = args.ways;
    match &args.through {
        Some(address) => spec.mover.bucket = Some(Box::new(args.server.place(cx, address).await?)),
        None => args.server.are_of_no_use_without("--through")?,
    }
    let name = plan::short_name(&format!("copy-{}-{}", args.source, args.target));
    let plan = Plan {
        api_version: plan::API_VERSION.to_owned(),
        kind: plan::KIND.to_owned(),
        metadata: Metadata {
            name,
            namespace: None,
        },
        spec,
    };
    let subject = Subject::Plan(Box::new(plan));
    if args.dry_run != DryRun::None {
        return super::run::dry_run(cx, subject, args.dry_run).await;
    }
    Session::open(cx, subject, args.take_over)
        .await?
        .go(Way::On)
        .await
}

/// A claim's name, with or without its kind.
fn claim(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        Some(("pvc" | "persistentvolumeclaim" | "persistentvolumeclaims", name)) => name,
        Some((kind, _)) => return Err(format!("`{kind}` is not pvc")),
        None => text,
    };
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    Ok(name.to_owned())
}
