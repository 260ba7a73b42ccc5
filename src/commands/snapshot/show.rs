use anyhow::Result;

use super::{
    super::bucket::{BucketFlags, InBucket},
    list::row,
};
use crate::{context::Context, error::Kind, ui::Format};

/// Tell what a snapshot of a bucket is of, and how it is
#[derive(clap::Args, Debug)]
#[command(after_help = super::super::examples::SNAPSHOT_SHOW)]
pub(crate) struct Args {
    /// Which one, as `list` names it
    #[arg(value_name = "s3://BUCKET/PREFIX/NAME/TIME")]
    snapshot: InBucket,
    /// Output format
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&[Format::Table, Format::Json, Format::Yaml]))]
    output: Format,
    #[command(flatten)]
    server: BucketFlags,
}

/// Runs the verb.
pub(super) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let InBucket { repository, id } = args.snapshot;
    let found = args.server.open(cx, &repository).await?.look(&id).await?;
    cx.ui.snapshot(args.output, &row(&repository, &found))?;
    Ok(Kind::Done)
}
