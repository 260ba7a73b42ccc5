use anyhow::Result;
use serde::Serialize;

use crate::{context::Context, error::Kind, playbooks::DEFAULT_IMAGE, ui::Format};

/// Print the version
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Also ask the server for its version
    #[arg(long)]
    server_version: bool,
    /// How to print it
    #[arg(long, short = 'o', value_name = "FORMAT", default_value = "table", value_parser = Format::parser(&[Format::Table, Format::Json, Format::Yaml]))]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    client: &'static str,
    platform: String,
    mover_image: &'static str,
    server: Option<String>,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let server = if args.server_version {
        Some(cx.source().await?.version().await?.git_version)
    } else {
        None
    };
    let version = Version {
        client: env!("CARGO_PKG_VERSION"),
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        mover_image: DEFAULT_IMAGE,
        server,
    };
    if args.output != Format::Table {
        cx.ui.document(args.output, &version)?;
        return Ok(Kind::Done);
    }
    cx.ui
        .data(&format!("kubectl-migrate v{}", version.client))?;
    if let Some(server) = version.server {
        cx.ui.data(&format!("server {server}"))?;
    }
    Ok(Kind::Done)
}
