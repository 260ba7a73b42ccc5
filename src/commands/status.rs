use std::time::Duration;

use anyhow::Result;
use futures::stream;

use super::named;
use crate::{
    context::Context,
    error::Kind,
    state,
    ui::{Format, StatusRow},
};

/// Show all migrations of the namespace, or one
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The migration
    name: Option<String>,
    /// Of all namespaces
    #[arg(long, short = 'A', conflicts_with = "name")]
    all_namespaces: bool,
    /// Only those with these labels on their journal
    #[arg(long, short = 'l', value_name = "LABELS", conflicts_with = "name")]
    selector: Option<String>,
    /// Go on showing: full screen on a terminal, a line per change elsewhere
    #[arg(long, short = 'w')]
    watch: bool,
    /// How to print it
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&Format::COMMON))]
    output: Format,
}

/// Progress is published every two seconds; more often would show nothing new.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    if !args.watch {
        let rows = rows(cx, &args, true).await?;
        cx.ui.status(args.output, &rows, args.all_namespaces)?;
        return Ok(Kind::Done);
    }
    let args = &args;
    let looks = stream::unfold(true, |first| async move {
        if !first {
            tokio::time::sleep(LOOK).await;
        }
        Some((rows(cx, args, first).await, false))
    });
    cx.ui
        .watch(std::pin::pin!(looks), args.all_namespaces)
        .await?;
    Ok(Kind::Done)
}

async fn rows(cx: &Context, args: &Args, warn: bool) -> Result<Vec<StatusRow>> {
    let one = match (&args.name, &cx.flags.journal) {
        (Some(name), _) => Some(named::seen(cx, name).await?),
        (None, Some(file)) => Some(named::in_file(cx, file).await?),
        (None, None) => None,
    };
    if let Some(seen) = one {
        let (report, progress) = named::report(&seen);
        return Ok(vec![StatusRow::of(&report, progress.as_ref())]);
    }
    let cluster = cx.source().await?;
    let namespace = (!args.all_namespaces).then(|| cluster.default_namespace().to_owned());
    let mut rows = Vec::new();
    for seen in state::all(cluster, namespace.as_deref(), args.selector.as_deref()).await? {
        match seen {
            Ok(seen) => {
                let (report, progress) = named::report(&seen);
                rows.push(StatusRow::of(&report, progress.as_ref()));
            }
            // One that cannot be read must not hide the others.
            Err(error) if warn => cx.ui.warn(&error.to_string()),
            Err(_) => {}
        }
    }
    Ok(rows)
}
