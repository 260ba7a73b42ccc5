//! Volumes out of a bucket: a migration of its own, with a journal, so that it can be gone on with.
use anyhow::Result;

use super::{
    super::{
        bucket::{InBucket, Place},
        session::{Session, Subject, Way},
    },
    Args,
};
use crate::{
    context::Context,
    error::{Kind, Usage},
    flags::DryRun,
    plan::{self, Metadata, Plan, Playbook, Quantity, RunAs, Source, Span, Spec, Target},
};

/// What restoring volumes has and a tenant's has not.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Flags {
    /// Storage class of claims that are made; what they had if not given
    #[arg(long, value_name = "NAME", help_heading = "Volumes")]
    storage_class: Option<String>,
    /// Size of claims that are made; what they had if not given
    #[arg(long, value_name = "QUANTITY", help_heading = "Volumes")]
    size: Option<Quantity>,
    /// Leave the workload out, and bring its volumes alone
    #[arg(long, help_heading = "Volumes")]
    volumes_only: bool,
    /// How long the workload may take to be ready; 15m if not given
    #[arg(long, value_name = "TIME", help_heading = "Volumes")]
    ready_within: Option<Span>,
    /// User that the movers run as: auto, root, workload or UID:GID
    #[arg(long, value_name = "USER", help_heading = "Volumes")]
    run_as: Option<RunAs>,
    /// Take over from another run whose lock has run out
    #[arg(long, help_heading = "Volumes")]
    take_over: bool,
}

impl Flags {
    /// Refuses flags of volumes where none are meant.
    pub(super) fn are_of_no_use(&self) -> Result<()> {
        let given = [
            ("--storage-class", self.storage_class.is_some()),
            ("--size", self.size.is_some()),
            ("--volumes-only", self.volumes_only),
            ("--ready-within", self.ready_within.is_some()),
            ("--run-as", self.run_as.is_some()),
            ("--take-over", self.take_over),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((flag, _)) => Err(Usage(format!(
                "{flag} is for volumes, and a DataStore is named: leave it out"
            ))
            .into()),
        }
    }
}

/// Begins it, or goes on with it.
pub(super) async fn run(cx: &Context, args: &Args, target: Target) -> Result<Kind> {
    if args.schema.is_some() || args.overwrite {
        let why = "--schema and --overwrite are for a DataStore, and volumes go into empty claims: leave them out";
        return Err(Usage(why.to_owned()).into());
    }
    let Place::Bucket(address) = &args.from else {
        let why = "volumes come out of a bucket: name it as s3://BUCKET/PREFIX/NAME/TIME";
        return Err(Usage(why.to_owned()).into());
    };
    let InBucket { repository, id } = InBucket::of(address).map_err(Usage)?;
    let flags = &args.volumes;
    let mut spec = Spec::new(
        Playbook::Restore,
        Source {
            snapshot: Some(id.to_string()),
            bucket: Some(Box::new(args.server.place(cx, &repository).await?)),
            ..Source::default()
        },
    );
    spec.target = Target {
        storage_class: flags.storage_class.clone(),
        size: flags.size.clone(),
        volumes_only: flags.volumes_only,
        ..target
    };
    spec.mover.run_as = flags.run_as.unwrap_or_default();
    spec.ready_within = flags.ready_within;
    let into = spec.target.pvc.as_ref().or(spec.target.namespace.as_ref());
    let into = into.cloned().unwrap_or_default();
    let plan = Plan {
        api_version: plan::API_VERSION.to_owned(),
        kind: plan::KIND.to_owned(),
        metadata: Metadata {
            name: plan::short_name(&format!("restore-{}-{into}", id.name)),
            namespace: None,
        },
        spec,
    };
    let subject = Subject::Plan(Box::new(plan));
    if args.dry_run == "client" {
        return super::super::run::dry_run(cx, subject, DryRun::Client).await;
    }
    Session::open(cx, subject, flags.take_over)
        .await?
        .go(Way::On)
        .await
}
