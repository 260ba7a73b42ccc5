mod read;
mod start;

use std::path::PathBuf;

use anyhow::Result;

use super::bucket::{BucketFlags, InBucket};
use crate::{
    context::Context,
    error::{Kind, Usage},
    plan::Span,
};

/// Check that a snapshot in a bucket can be restored
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::RESTORE_CHECK)]
pub(crate) struct Args {
    /// Which one, as `snapshot list` names it
    #[arg(value_name = "s3://BUCKET/PREFIX/NAME/TIME")]
    snapshot: InBucket,
    /// 1: objects, sizes and sums, by listing; 2: also read everything and compare each file's digest; 3: restore it into a namespace of its own, start it and run checks
    #[arg(long, value_name = "1|2|3", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=3))]
    level: u8,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    server: BucketFlags,
}

/// What starting a snapshot has and reading it has not.
#[derive(clap::Args, Clone, Debug)]
struct Start {
    /// File with the checks to run in its pods, as YAML; those that the snapshot was taken with if not given
    #[arg(long, value_name = "FILE", help_heading = "Level 3")]
    checks: Option<PathBuf>,
    /// Start it also where the cluster cannot keep it from reaching others
    #[arg(long, help_heading = "Level 3")]
    open_network: bool,
    /// How long it may take to be ready; 15m if not given
    #[arg(long, value_name = "TIME", help_heading = "Level 3")]
    ready_within: Option<Span>,
    /// Storage class of its volumes; what they had if not given
    #[arg(long, value_name = "NAME", help_heading = "Level 3")]
    storage_class: Option<String>,
    /// Take over from another check whose lock has run out
    #[arg(long, help_heading = "Level 3")]
    take_over: bool,
}

impl Start {
    /// Refuses flags of level 3 where another is meant.
    fn is_of_no_use(&self) -> Result<()> {
        let given = [
            ("--checks", self.checks.is_some()),
            ("--open-network", self.open_network),
            ("--ready-within", self.ready_within.is_some()),
            ("--storage-class", self.storage_class.is_some()),
            ("--take-over", self.take_over),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((flag, _)) => Err(Usage(format!(
                "{flag} is for --level 3, which starts the snapshot: leave it out"
            ))
            .into()),
        }
    }
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    if args.level == 3 {
        return Box::pin(start::run(cx, args)).await;
    }
    args.start.is_of_no_use()?;
    read::run(cx, args).await
}
