//! Completion by kubectl itself: it runs `kubectl_complete-migrate WORDS…` and reads candidates, one a
//! line with a tab before the description, and a last line `:N` with cobra's directive.
use std::{ffi::OsString, path::PathBuf};

use anyhow::Result;
use clap::{Arg, ArgAction};

use crate::{context::Context, error::Kind, state};

/// Give candidates for the last word of a command line
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The words after `kubectl migrate`; the last one is being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Cobra's directive "no file names".
const NO_FILES: &str = ":4";
/// Cobra's default directive: file names where there is no candidate.
const FILES: &str = ":0";

/// As `kubectl_complete-NAME` the program is a completer.
pub(crate) fn as_completer(mut args: Vec<OsString>) -> Vec<OsString> {
    let called = args.first().map(PathBuf::from).unwrap_or_default();
    let completes = called
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("kubectl_complete-"));
    if completes {
        args.insert(1, "__complete".into());
    }
    args
}

/// Runs the verb, for this command line. It fails at nothing: a cluster that is away has no candidates.
pub(crate) async fn run(cx: &Context, args: Args, command: &clap::Command) -> Result<Kind> {
    let typed = args.words.last().cloned().unwrap_or_default();
    let before = args
        .words
        .split_last()
        .map_or(&[][..], |(_, before)| before);
    let verb = before.iter().find_map(|word| {
        command
            .get_subcommands()
            .find(|verb| verb.get_name() == word && !verb.is_hide_set())
    });
    let flag = before.last().and_then(|word| flag_of(command, verb, word));
    let (candidates, directive) = if let Some(flag) = flag.filter(|flag| takes_value(flag)) {
        values(flag)
    } else if typed.starts_with('-') {
        (flags(command, verb), NO_FILES)
    } else if let Some(verb) = verb {
        (positionals(cx, verb, before).await, NO_FILES)
    } else {
        let verbs = command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(|verb| line(verb.get_name(), verb.get_about()))
            .collect();
        (verbs, NO_FILES)
    };
    for candidate in candidates
        .iter()
        .filter(|candidate| candidate.starts_with(&typed))
    {
        cx.ui.raw(candidate)?;
    }
    cx.ui.raw(directive)?;
    Ok(Kind::Done)
}

fn line(word: &str, about: Option<&clap::builder::StyledStr>) -> String {
    match about {
        Some(about) => format!("{word}\t{about}"),
        None => word.to_owned(),
    }
}

fn all_flags<'a>(
    command: &'a clap::Command,
    verb: Option<&'a clap::Command>,
) -> impl Iterator<Item = &'a Arg> {
    let own = verb.into_iter().flat_map(clap::Command::get_arguments);
    own.chain(command.get_arguments())
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set())
}

fn flag_of<'a>(
    command: &'a clap::Command,
    verb: Option<&'a clap::Command>,
    word: &str,
) -> Option<&'a Arg> {
    all_flags(command, verb).find(|arg| {
        let long = arg
            .get_long()
            .is_some_and(|long| word.strip_prefix("--") == Some(long));
        let short = arg
            .get_short()
            .is_some_and(|short| word.strip_prefix('-') == Some(short.to_string().as_str()));
        long || short
    })
}

fn takes_value(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Set | ArgAction::Append)
}

fn flags(command: &clap::Command, verb: Option<&clap::Command>) -> Vec<String> {
    all_flags(command, verb)
        .filter_map(|arg| Some(line(&format!("--{}", arg.get_long()?), arg.get_help())))
        .collect()
}

fn values(flag: &Arg) -> (Vec<String>, &'static str) {
    let possible: Vec<_> = flag
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    let directive = if possible.is_empty() { FILES } else { NO_FILES };
    (possible, directive)
}

/// The names of migrations, and after a name its steps.
async fn positionals(cx: &Context, verb: &clap::Command, before: &[String]) -> Vec<String> {
    let at = before
        .iter()
        .position(|word| word == verb.get_name())
        .map_or(0, |at| at + 1);
    let given: Vec<_> = before[at..]
        .iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wanted = verb.get_positionals().nth(given.len()).map(Arg::get_id);
    let Ok(cluster) = cx.source().await else {
        return Vec::new();
    };
    let seen = state::all(cluster, Some(cluster.default_namespace()), None)
        .await
        .unwrap_or_default();
    let seen = seen.into_iter().flatten();
    match wanted.map(clap::Id::as_str) {
        Some("name") => seen
            .map(|seen| format!("{}\t{}", seen.header.migration, seen.header.playbook))
            .collect(),
        Some("step") => seen
            .filter(|seen| {
                given
                    .first()
                    .is_some_and(|name| **name == seen.header.migration)
            })
            .flat_map(|seen| seen.header.steps)
            .collect(),
        _ => Vec::new(),
    }
}
