use std::time::Duration;

use anyhow::Result;
use futures::stream;
use jiff::Timestamp;

use super::{ending, limits, named};
use crate::{
    context::Context,
    error::{Kind, Usage},
    plan::Rate,
    state::{self, Seen, Unreadable},
    ui::{Format, StatusRow},
};

/// Show all migrations of the namespace, or one
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::STATUS)]
pub(crate) struct Args {
    /// Name of the migration
    name: Option<String>,
    /// Show those of all namespaces
    #[arg(long, short = 'A', conflicts_with = "name")]
    all_namespaces: bool,
    /// Only those whose journal matches this label selector
    #[arg(long, short = 'l', value_name = "LABELS", conflicts_with = "name")]
    selector: Option<String>,
    /// Go on showing: full screen on a terminal, a line per change elsewhere, a document with -o json
    #[arg(long, short = 'w')]
    watch: bool,
    /// Output format
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&Format::COMMON))]
    output: Format,
}

/// Progress is published every two seconds; more often would show nothing new.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    if args.watch {
        return watch(cx, &args).await;
    }
    let found = look(cx, &args).await?;
    let rows: Vec<_> = found.iter().map(Found::row).collect();
    if rows.is_empty() && matches!(args.output, Format::Table | Format::Wide) {
        cx.ui.say(&none(cx, &args).await?);
        return Ok(Kind::Done);
    }
    cx.ui.status(args.output, &rows, args.all_namespaces)?;
    let mut kind = Kind::Done;
    for found in found {
        if let Found::Unreadable(unreadable) = found {
            let error = anyhow::Error::from(unreadable.error);
            cx.ui.ending(&ending::of(cx, &error));
            kind = Kind::Error;
        }
    }
    Ok(kind)
}

async fn watch(cx: &Context, args: &Args) -> Result<Kind> {
    let documents = match args.output {
        Format::Table => false,
        Format::Json => true,
        other => {
            let text = format!(
                "-w shows a table, lines or -o json: leave out -o {}",
                other.name()
            );
            return Err(Usage(text).into());
        }
    };
    let looks = stream::unfold(true, |first| async move {
        if !first {
            tokio::time::sleep(LOOK).await;
        }
        let found = look(cx, args).await;
        Some((
            found.map(|found| found.iter().map(Found::row).collect()),
            false,
        ))
    });
    let looks = std::pin::pin!(looks);
    if documents {
        cx.ui.watch_documents(looks).await?;
    } else {
        cx.ui.watch(looks, args.all_namespaces).await?;
    }
    Ok(Kind::Done)
}

/// A migration as it was found.
enum Found {
    Seen(Box<Seen>),
    /// One that cannot be read must not hide the others, nor be hidden by them.
    Unreadable(Box<Unreadable>),
}

impl Found {
    fn row(&self) -> StatusRow {
        match self {
            Self::Seen(seen) => {
                let (report, progress) = named::report(seen);
                let limit = limits::of(seen);
                StatusRow::of(&report, progress.as_ref())
                    .with_limit(limit.as_ref().map(Rate::bytes_per_second))
            }
            Self::Unreadable(unreadable) => StatusRow::unreadable(
                (&unreadable.namespace, &unreadable.migration),
                unreadable.created,
                unreadable.error.to_string(),
                Timestamp::now(),
            ),
        }
    }
}

async fn look(cx: &Context, args: &Args) -> Result<Vec<Found>> {
    let one = match (&args.name, &cx.flags.journal) {
        (Some(name), _) => Some(named::seen(cx, name).await?),
        (None, Some(file)) => Some(named::in_file(cx, file).await?),
        (None, None) => None,
    };
    if let Some(seen) = one {
        return Ok(vec![Found::Seen(Box::new(seen))]);
    }
    let cluster = cx.source().await?;
    let namespace = (!args.all_namespaces).then(|| cluster.default_namespace().to_owned());
    let all = state::all(cluster, namespace.as_deref(), args.selector.as_deref()).await?;
    let found = all.into_iter().map(|seen| match seen {
        Ok(seen) => Found::Seen(Box::new(seen)),
        Err(unreadable) => Found::Unreadable(unreadable),
    });
    Ok(found.collect())
}

/// That there is nothing to show, where it was looked for, and where else to look.
async fn none(cx: &Context, args: &Args) -> Result<String> {
    let labels = args.selector.as_ref();
    let labels = labels.map_or_else(String::new, |labels| format!(" with labels {labels}"));
    if args.all_namespaces {
        return Ok(format!("no migrations found in any namespace{labels}"));
    }
    Ok(format!(
        "no migrations found in namespace {}{labels}; `{}` looks in all",
        cx.namespace().await?,
        cx.command_anywhere("status -A")
    ))
}
