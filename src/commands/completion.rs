use anyhow::Result;
use clap_complete::Shell;

use crate::{context::Context, error::Kind};

/// Print the completion script of a shell, for the binary called by its own name
#[derive(clap::Args, Debug)]
#[command(after_help = "\
kubectl itself completes `kubectl migrate …` by a program named kubectl_complete-migrate:
  ln -s \"$(command -v kubectl-migrate)\" \"$HOME/.local/bin/kubectl_complete-migrate\"")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the verb, for this command line.
pub(crate) fn run(cx: &Context, args: &Args, mut command: clap::Command) -> Result<Kind> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "kubectl-migrate", &mut script);
    cx.ui.raw(&String::from_utf8_lossy(&script))?;
    Ok(Kind::Done)
}
