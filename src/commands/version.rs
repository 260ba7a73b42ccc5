use anyhow::Result;
use serde::Serialize;

use crate::{
    context::Context, error::Kind, playbooks::DEFAULT_IMAGE, steps::movers::own_digest, ui::Format,
};

/// Print the version
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::VERSION)]
pub(crate) struct Args {
    /// Also ask the server for its version
    #[arg(long)]
    server_version: bool,
    /// Also tell the digest of this executable, as `sha256sum` does
    #[arg(long)]
    digest: bool,
    /// Output format
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
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<Own>,
}

/// This program's own executable.
#[derive(Serialize)]
struct Own {
    digest: String,
    bytes: u64,
}

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let server = if args.server_version {
        Some(cx.source().await?.version().await?.git_version)
    } else {
        None
    };
    let executable = if args.digest {
        let (sha256, bytes) = own_digest()?;
        let digest = format!("sha256:{sha256}");
        Some(Own { digest, bytes })
    } else {
        None
    };
    let version = Version {
        client: concat!("v", env!("CARGO_PKG_VERSION")),
        platform: platform(std::env::consts::OS, std::env::consts::ARCH),
        mover_image: DEFAULT_IMAGE,
        server,
        executable,
    };
    if args.output != Format::Table {
        cx.ui.document(args.output, &version)?;
        return Ok(Kind::Done);
    }
    cx.ui.data(&format!("kubectl-migrate {}", version.client))?;
    // These two lines are what a mover proves itself with: see steps/movers/put.
    if let Some(Own { digest, bytes }) = version.executable {
        cx.ui.data(&format!("executable {digest}, {bytes} bytes"))?;
    }
    if let Some(server) = version.server {
        cx.ui.data(&format!("server {server}"))?;
    }
    Ok(Kind::Done)
}

/// The platform in kubectl's words, which are Go's.
fn platform(os: &str, arch: &str) -> String {
    let os = if os == "macos" { "darwin" } else { os };
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("{os}/{arch}")
}

#[cfg(test)]
mod tests {
    use super::platform;

    #[test]
    fn the_platform_is_named_as_kubectl_names_it() {
        assert_eq!(platform("linux", "x86_64"), "linux/amd64");
        assert_eq!(platform("macos", "aarch64"), "darwin/arm64");
        assert_eq!(platform("linux", "riscv64"), "linux/riscv64");
    }
}
