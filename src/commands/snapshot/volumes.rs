//! Volumes into a bucket: a migration of its own, with a journal, so that it can be gone on with.
use std::path::PathBuf;

use anyhow::Result;

use super::super::{
    bucket::{BucketFlags, Place},
    consent,
    session::{Session, Subject, Way},
};
use crate::{
    context::Context,
    error::{Kind, Usage},
    flags::DryRun,
    plan::{self, FreezeMode, Metadata, Plan, Playbook, Rate, RunAs, Source, Spec, Target},
};

/// What snapshots of volumes have and a tenant's have not.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Flags {
    /// Do not stop the workload's writes; files that change while they are read are named
    #[arg(long, conflicts_with = "freeze", help_heading = "Volumes")]
    live: bool,
    /// How writes are stopped: by scale, to 0 pods, or by sleep, with a sleeper in them; scale if not given
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        hide_possible_values = true,
        help_heading = "Volumes"
    )]
    freeze: Option<FreezeMode>,
    /// User that the movers run as: auto, root, workload or UID:GID
    #[arg(long, value_name = "USER", help_heading = "Volumes")]
    run_as: Option<RunAs>,
    /// Bytes a second that are read at most, like 50MiB/s
    #[arg(long, value_name = "RATE", help_heading = "Volumes")]
    limit: Option<Rate>,
    /// File with checks to run in its pods before, as YAML; what they give is kept for `restore-check`
    #[arg(long, value_name = "FILE", help_heading = "Volumes")]
    checks: Option<PathBuf>,
    /// Take over from another run whose lock has run out
    #[arg(long, help_heading = "Volumes")]
    take_over: bool,
    /// client: show what would be done
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        hide_possible_values = true,
        help_heading = "Volumes"
    )]
    dry_run: Option<DryRun>,
}

impl Flags {
    /// Refuses flags of volumes where none are meant.
    pub(super) fn are_of_no_use(&self) -> Result<()> {
        let given = [
            ("--live", self.live),
            ("--freeze", self.freeze.is_some()),
            ("--run-as", self.run_as.is_some()),
            ("--limit", self.limit.is_some()),
            ("--checks", self.checks.is_some()),
            ("--take-over", self.take_over),
            ("--dry-run", self.dry_run.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((flag, _)) => Err(Usage(format!(
                "{flag} is for volumes, and a tenant is named: leave it out"
            ))
            .into()),
        }
    }
}

/// Begins it, or goes on with it.
pub(super) async fn run(
    cx: &Context,
    source: Source,
    to: Place,
    server: &BucketFlags,
    flags: Flags,
) -> Result<Kind> {
    let Place::Bucket(address) = to else {
        let why = "volumes go into a bucket: name it as --to s3://BUCKET/PREFIX";
        return Err(Usage(why.to_owned()).into());
    };
    let (kind, name) = [
        ("sts", &source.statefulset),
        ("deploy", &source.deployment),
        ("pvc", &source.pvc),
    ]
    .into_iter()
    .find_map(|(kind, name)| Some((kind, name.clone()?)))
    .unwrap_or_default();
    if flags.freeze.is_some() && kind == "pvc" {
        let why = "--freeze is for a workload, and a claim is named: leave it out";
        return Err(Usage(why.to_owned()).into());
    }
    if flags.checks.is_some() && kind == "pvc" {
        let why = "--checks is for a workload, and a claim is named: leave it out";
        return Err(Usage(why.to_owned()).into());
    }
    let checks = match &flags.checks {
        Some(file) => plan::read_checks(file)?,
        None => Vec::new(),
    };
    let bucket = server.place(cx, &address).await?;
    let mut spec = Spec::new(Playbook::Snapshot, source);
    spec.target = Target {
        bucket: Some(Box::new(bucket)),
        ..Target::default()
    };
    spec.checks = checks;
    spec.freeze.live = flags.live;
    spec.freeze.mode = flags.freeze.unwrap_or_default();
    spec.mover.run_as = flags.run_as.unwrap_or_default();
    spec.mover.limit = flags.limit;
    let plan = Plan {
        api_version: plan::API_VERSION.to_owned(),
        kind: plan::KIND.to_owned(),
        metadata: Metadata {
            name: plan::short_name(&format!("snapshot-{kind}-{name}")),
            namespace: None,
        },
        spec,
    };
    let subject = Subject::Plan(Box::new(plan));
    let dry_run = flags.dry_run.unwrap_or(DryRun::None);
    if dry_run != DryRun::None {
        return super::super::run::dry_run(cx, subject, dry_run).await;
    }
    consent::to_freeze(cx, &subject).await?;
    Session::open(cx, subject, flags.take_over)
        .await?
        .go(Way::On)
        .await
}
