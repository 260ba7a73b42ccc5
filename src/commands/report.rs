mod verify;

use anyhow::Result;

use super::named;
use crate::{context::Context, error::Kind, ui::Format};

/// Tell what happened, with numbers and digests
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::REPORT)]
pub(crate) struct Args {
    /// Name of the migration
    name: String,
    /// Read both sides once more first, and compare them with what was verified
    #[arg(long)]
    verify: bool,
    /// Output format
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&Format::REPORT))]
    output: Format,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    if args.verify {
        return verify::run(cx, &args.name, args.output).await;
    }
    let (report, _) = named::report(&named::seen(cx, &args.name).await?);
    cx.ui.report(args.output, &report)?;
    Ok(Kind::Done)
}
