mod delete;
mod list;
mod prune;
mod show;
mod volumes;

use std::str::FromStr;

use anyhow::{Context as _, Result};

use super::{
    bucket::{BucketFlags, Place as Where},
    signals,
};
use crate::{
    context::Context,
    error::{Kind, Stopped},
    plan::{Source, Workload},
    steps::{
        Place,
        kamaji::{self, SnapshotTarget, Taken},
    },
    ui::amount::{bytes, count},
};

/// Take a snapshot of a workload's volumes, a claim or a Kamaji tenant's data, verified
#[derive(clap::Args, Debug)]
#[command(
    after_help = super::examples::SNAPSHOT,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// What it is of: statefulset/NAME, deployment/NAME, pvc/NAME, or a Kamaji tenant's control plane, tcp/NAME
    #[arg(value_name = "KIND/NAME", required = true)]
    subject: Option<Subject>,
    /// A bucket with a prefix, below which it gets NAME/TIME; of a tenant also a file, which must not exist
    #[arg(long, value_name = "FILE|s3://…", required = true)]
    to: Option<Where>,
    #[command(flatten)]
    volumes: volumes::Flags,
    #[command(flatten)]
    server: BucketFlags,
}

/// What can be done with snapshots that are there.
#[derive(clap::Subcommand, Debug)]
enum Verb {
    List(list::Args),
    Show(show::Args),
    Delete(delete::Args),
    Prune(prune::Args),
}

/// What a snapshot can be of.
#[derive(Clone, Debug)]
enum Subject {
    /// A Kamaji tenant's control plane.
    Tenant(String),
    /// All volumes of a workload.
    Workload(Workload),
    /// One volume.
    Claim(String),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((_, "")) | None => Err(format!(
                "`{text}` is not KIND/NAME, like statefulset/orders-db or tcp/t1"
            )),
            Some(("tcp" | "tenantcontrolplane" | "tenantcontrolplanes", name)) => {
                Ok(Self::Tenant(name.to_owned()))
            }
            Some(("pvc" | "persistentvolumeclaim" | "persistentvolumeclaims", name)) => {
                Ok(Self::Claim(name.to_owned()))
            }
            Some((kind, _)) => text
                .parse()
                .map(Self::Workload)
                .map_err(|_| format!("`{kind}` is none of statefulset, deployment, pvc, tcp")),
        }
    }
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    match args.verb {
        Some(Verb::List(args)) => list::run(cx, args).await,
        Some(Verb::Show(args)) => show::run(cx, args).await,
        Some(Verb::Delete(args)) => delete::run(cx, args).await,
        Some(Verb::Prune(args)) => Box::pin(prune::run(cx, args)).await,
        None => {
            let to = args.to.context("a place")?;
            let source = match args.subject.context("a subject")? {
                Subject::Tenant(name) => {
                    args.volumes.are_of_no_use()?;
                    return Box::pin(take(cx, &name, to, &args.server)).await;
                }
                Subject::Claim(pvc) => Source {
                    pvc: Some(pvc),
                    ..Source::default()
                },
                Subject::Workload(Workload::StatefulSet(name)) => Source {
                    statefulset: Some(name),
                    ..Source::default()
                },
                Subject::Workload(Workload::Deployment(name)) => Source {
                    deployment: Some(name),
                    ..Source::default()
                },
            };
            let taking = volumes::run(cx, source, to, &args.server, args.volumes);
            Box::pin(taking).await
        }
    }
}

async fn take(cx: &Context, name: &str, to: Where, server: &BucketFlags) -> Result<Kind> {
    let target = match to {
        Where::File(path) => {
            server.are_of_no_use()?;
            SnapshotTarget::File(path)
        }
        Where::Bucket(address) => SnapshotTarget::Bucket(server.open(cx, &address).await?),
    };
    let place = Place {
        cluster: cx.source().await?.clone(),
        namespace: cx.namespace().await?,
        remote: false,
    };
    let Taken { place, head, end } = taken(cx, &place, name, &target).await?;
    cx.ui.data(&format!(
        "tcp/{name} written to {place}: schema {} of datastore {} ({}) at revision {}, {} records, {}, digest {}",
        head.schema,
        head.data_store,
        head.driver,
        end.revision,
        count(end.records),
        bytes(end.bytes),
        end.digest
    ))?;
    Ok(Kind::Done)
}

/// Takes it; after Ctrl-C what was sent to a bucket is taken away first.
async fn taken(cx: &Context, place: &Place, name: &str, target: &SnapshotTarget) -> Result<Taken> {
    let meter = super::tenant_meter(cx);
    let work = kamaji::snapshot(place, name, target, &meter);
    let SnapshotTarget::Bucket(repository) = target else {
        return work.await;
    };
    if repository.bucket().is_plain() {
        cx.ui.warn(
            "the bucket is spoken to without TLS: whoever is on the way can read the tenant's Secrets",
        );
    }
    let taken = tokio::select! {
        taken = work => Some(taken),
        () = signals::interrupted() => None,
    };
    if let Some(taken) = taken {
        return taken;
    }
    cx.ui.say("interrupted: taking away what was sent");
    let left = if repository.bucket().tidied().await {
        "nothing is left of it"
    } else {
        "the server does not answer: `snapshot list` shows what is left, and `snapshot delete` removes it"
    };
    cx.ui.say(&format!("no snapshot was made, and {left}"));
    Err(Stopped(Kind::Interrupted).into())
}
