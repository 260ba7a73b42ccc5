use anyhow::Result;
use clap_complete::Shell;

use crate::{context::Context, error::Kind};

/// Print a shell's completion script, for the program called by its own name
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::COMPLETION)]
pub(crate) struct Args {
    /// The shell that is to read it
    shell: Shell,
}

/// Runs the verb, for this command line.
pub(crate) fn run(cx: &Context, args: &Args, mut command: clap::Command) -> Result<Kind> {
    let mut script = Vec::new();
    let binary = command.get_display_name().unwrap_or("kubectl-migrate");
    let binary = binary.to_owned();
    clap_complete::generate(args.shell, &mut command, binary, &mut script);
    cx.ui.raw(&String::from_utf8_lossy(&script))?;
    Ok(Kind::Done)
}
