use anyhow::Result;

use super::super::bucket::{BucketFlags, InBucket};
use crate::{context::Context, error::Kind};

/// Delete a snapshot of a bucket, whole or not; its name has to be typed
#[derive(clap::Args, Debug)]
#[command(after_help = super::super::examples::SNAPSHOT_DELETE)]
pub(crate) struct Args {
    /// Which one, as `list` names it
    #[arg(value_name = "s3://BUCKET/PREFIX/NAME/TIME")]
    snapshot: InBucket,
    #[command(flatten)]
    server: BucketFlags,
}

/// Runs the verb.
pub(super) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let repository = args.server.open(cx, &args.snapshot.repository).await?;
    let id = &args.snapshot.id;
    repository.look(id).await?;
    let deletes = format!("this deletes snapshot {}", args.snapshot);
    cx.ui.confirm_irreversible(&deletes, &id.to_string())?;
    repository.delete(id).await?;
    cx.ui.data(&format!("snapshot {} deleted", args.snapshot))?;
    Ok(Kind::Done)
}
