//! Every verb on one page.
use std::{ffi::OsString, path::PathBuf};

use clap::{
    CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    error::{ContextKind, ErrorKind},
};

use crate::{
    commands,
    context::Context,
    error::{Kind, Stopped},
    flags::Global,
    ui::{Options, Ui},
};

/// Move the state of running workloads, with proof that nothing was lost and a way back at every step
#[derive(Parser, Debug)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Flags stand after `kubectl migrate`: kubectl migrate status --context prod"
)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Plan(commands::plan::Args),
    Preflight(commands::preflight::Args),
    Run(commands::run::Args),
    Status(commands::status::Args),
    Limit(commands::limit::Args),
    Mark(commands::mark::Args),
    Rollback(commands::rollback::Args),
    Cleanup(commands::cleanup::Args),
    Report(commands::report::Args),
    Freeze(commands::freeze::Args),
    Thaw(commands::thaw::Args),
    Copy(commands::copy::Args),
    SwitchDatastore(commands::switch_datastore::Args),
    Snapshot(commands::snapshot::Args),
    Restore(commands::restore::Args),
    RestoreCheck(commands::restore_check::Args),
    Completion(commands::completion::Args),
    Version(commands::version::Args),
    #[command(hide = true)]
    Mover(commands::mover::Args),
    #[command(hide = true)]
    Wall(commands::wall::Args),
    #[command(name = "__complete", hide = true)]
    Complete(commands::complete::Args),
}

/// Runs the program on these arguments, the program's own name first, and gives its exit code.
///
/// It can be called any number of times in one process.
#[must_use]
pub fn run(args: Vec<OsString>) -> u8 {
    let program = shown_name(args.first());
    let args = commands::complete::as_completer(args);
    let cli = match parse(&program, args) {
        Ok(cli) => cli,
        Err(error) => return refused(&program, &error),
    };
    if let Command::Mover(args) = &cli.command {
        // A mover has threads of its own and no use for a runtime.
        return commands::mover::run(args).code();
    }
    if let Command::Wall(args) = &cli.command {
        return commands::wall::run(args).code();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return commands::failed_to_start(&program, &error),
    };
    let code = runtime.block_on(dispatch(program, cli));
    // Threads that wait for a terminal's input would hold up the end.
    runtime.shutdown_background();
    code
}

/// Shows what the parser of the command line has to say: help and version are no errors.
fn refused(program: &str, said: &clap::Error) -> u8 {
    let ui = Ui::new(Options::of(program));
    if ui.parsed(said).is_err() {
        return Kind::Error.code();
    }
    if said.use_stderr() {
        Kind::Usage.code()
    } else {
        Kind::Done.code()
    }
}

async fn dispatch(program: String, cli: Cli) -> u8 {
    let ui = Ui::new(commands::ui_options(program, &cli.global));
    commands::log(&ui, cli.global.verbose);
    let cx = Context::new(cli.global, ui);
    let ended = match cli.command {
        Command::Plan(args) => commands::plan::run(&cx, args).await,
        Command::Preflight(args) => commands::preflight::run(&cx, args).await,
        Command::Run(args) => Box::pin(commands::run::run(&cx, args)).await,
        Command::Status(args) => commands::status::run(&cx, args).await,
        Command::Limit(args) => commands::limit::run(&cx, args).await,
        Command::Mark(args) => commands::mark::run(&cx, args).await,
        Command::Rollback(args) => Box::pin(commands::rollback::run(&cx, args)).await,
        Command::Cleanup(args) => Box::pin(commands::cleanup::run(&cx, args)).await,
        Command::Report(args) => commands::report::run(&cx, args).await,
        Command::Freeze(args) => Box::pin(commands::freeze::run(&cx, args)).await,
        Command::Thaw(args) => commands::thaw::run(&cx, args).await,
        Command::Copy(args) => commands::copy::run(&cx, args).await,
        Command::SwitchDatastore(args) => commands::switch_datastore::run(&cx, args).await,
        Command::Snapshot(args) => commands::snapshot::run(&cx, args).await,
        Command::Restore(args) => commands::restore::run(&cx, args).await,
        Command::RestoreCheck(args) => commands::restore_check::run(&cx, args).await,
        Command::Completion(args) => {
            let command = command(cx.ui.program());
            commands::completion::run(&cx, &args, command)
        }
        Command::Version(args) => commands::version::run(&cx, args).await,
        Command::Mover(args) => return commands::mover::run(&args).code(),
        Command::Wall(args) => return commands::wall::run(&args).code(),
        Command::Complete(args) => {
            commands::complete::run(&cx, args, command("kubectl migrate")).await
        }
    };
    match ended {
        Ok(kind) => kind.code(),
        Err(error) => {
            let kind = Kind::of(&error);
            if kind != Kind::Done && error.downcast_ref::<Stopped>().is_none() {
                cx.ui.ending(&commands::ending::of(&cx, &error));
            }
            kind.code()
        }
    }
}

/// The program's own command line, with the name under which it was called in every text.
fn command(program: &str) -> clap::Command {
    let binary = binary_name(program);
    let named = |command: clap::Command| match command.get_after_help() {
        Some(help) => {
            let completer = binary.replacen("kubectl-", "kubectl_complete-", 1);
            let help = help.to_string();
            let help = help.replace("kubectl migrate", program);
            let help = help.replace("@BINARY@", &binary);
            command.after_help(help.replace("@COMPLETER@", &completer))
        }
        None => command,
    };
    named(Cli::command())
        .mut_subcommands(|verb| named(verb).mut_subcommands(named))
        .bin_name(program.to_owned())
        .display_name(binary.clone())
}

/// The name of the program's file, from how it is shown.
fn binary_name(program: &str) -> String {
    match program.strip_prefix("kubectl ") {
        Some(verb) => format!("kubectl-{}", verb.replace('-', "_")),
        None => program.to_owned(),
    }
}

/// The command line with the name under which it was called.
pub(crate) fn parse(program: &str, args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let command = command(program);
    let matches = command.try_get_matches_from(args).map_err(|mut error| {
        if error.kind() == ErrorKind::MissingSubcommand {
            // The list would name the hidden ones, too.
            error.remove(ContextKind::ValidSubcommand);
        }
        error
    })?;
    Cli::from_arg_matches(&matches)
}

/// How the program is called in help and messages: `kubectl migrate` where kubectl started it.
fn shown_name(called: Option<&OsString>) -> String {
    let called = called.map(PathBuf::from).unwrap_or_default();
    let name = called.file_stem().map_or_else(
        || "kubectl-migrate".into(),
        |name| name.to_string_lossy().into_owned(),
    );
    match name.strip_prefix("kubectl-") {
        // A plugin's underscores are dashes on kubectl's command line.
        Some(verb) => format!("kubectl {}", verb.replace('_', "-")),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_name_is_what_the_user_types() {
        for (called, shown) in [
            ("/usr/bin/kubectl-migrate", "kubectl migrate"),
            ("kubectl-state_migrate", "kubectl state-migrate"),
            ("./migrate", "migrate"),
            ("", "kubectl migrate"),
        ] {
            assert_eq!(shown_name(Some(&called.into())), shown, "{called}");
        }
    }

    #[test]
    fn the_file_is_named_as_it_was_called() {
        for (shown, file) in [
            ("kubectl migrate", "kubectl-migrate"),
            ("kubectl state-migrate", "kubectl-state_migrate"),
            ("migrate", "migrate"),
        ] {
            assert_eq!(binary_name(shown), file);
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
