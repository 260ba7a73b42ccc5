//! What is being typed, found by the program's own parser: no cluster is asked here.
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches as _, parser::ValueSource};

use crate::flags::Global;

/// What the word at the cursor may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One of these, each with a tab before what it is.
    Words(Vec<String>),
    /// A file's name.
    Files,
    /// A folder's name.
    Folders,
    /// A migration's name.
    Migrations,
    /// A step of this migration; only those that can be marked, or all.
    Steps { of: String, markable: bool },
    /// A workload, as KIND/NAME.
    Workloads,
    /// A claim, as pvc/NAME.
    Claims(Side),
    /// A context of the kubeconfig.
    Contexts(Side),
    /// A cluster of the kubeconfig.
    Clusters,
    /// A user of the kubeconfig.
    Users,
    /// A namespace.
    Namespaces(Side),
    /// Nothing that could be known.
    Nothing,
}

/// Of which cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Target,
}

/// A command line that is being typed.
#[derive(Debug)]
pub(super) struct Typed {
    /// What the word at the cursor may be.
    pub(super) wanted: Wanted,
    /// The part of it that is typed already.
    pub(super) word: String,
    /// The flags of every verb that stand before it.
    pub(super) flags: Option<Global>,
}

/// Reads the words after the program's name; the last one is being typed.
pub(super) fn read(command: Command, words: &[String]) -> Typed {
    let mut command = command.ignore_errors(true);
    command.build();
    let (last, before) = words
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let scan = Scan::of(&command, before);
    // A flag whose value is not there yet would take the parser's next word for it.
    let whole = match scan.open {
        Some(_) => &before[..before.len() - 1],
        None => before,
    };
    let line = std::iter::once("kubectl-migrate").chain(whole.iter().map(String::as_str));
    let matches = command.clone().try_get_matches_from(line).ok();
    let given = matches.as_ref().and_then(|matches| {
        let mut verbs = scan.verbs.iter();
        let matches = verbs.try_fold(matches, |matches, verb| {
            matches.subcommand_matches(verb.get_name())
        })?;
        scan.verb().map(|verb| Given { verb, matches })
    });
    let (wanted, word) = match (scan.open, last.split_once('=')) {
        (Some(flag), _) => (value(flag, given.as_ref()), last),
        (None, Some((flag, word))) if !scan.only_words && flag.starts_with('-') => {
            let flag = flag_of(&command, scan.verb(), flag);
            (
                flag.map_or(Wanted::Nothing, |flag| value(flag, given.as_ref())),
                word,
            )
        }
        _ if !scan.only_words && last.starts_with('-') => {
            (Wanted::Words(flags(&command, scan.verb())), last)
        }
        _ => match (scan.verb(), &given) {
            (None, _) => (Wanted::Words(verbs(&command)), last),
            (Some(verb), _) if verb.get_name() == "help" => (Wanted::Words(verbs(&command)), last),
            // A verb with verbs of its own, such as `snapshot list`.
            (Some(verb), _) if verb.has_subcommands() && !scan.other_words => {
                (Wanted::Words(verbs(verb)), last)
            }
            (Some(_), Some(given)) => (given.positional(), last),
            (Some(_), None) => (Wanted::Nothing, last),
        },
    };
    Typed {
        wanted,
        word: word.to_owned(),
        flags: matches.and_then(|matches| Global::from_arg_matches(&matches).ok()),
    }
}

/// What the words before the cursor are, seen from outside of the parser, which cannot be asked for it.
struct Scan<'a> {
    /// The verb, and that below it where it has some.
    verbs: Vec<&'a Command>,
    /// Words came that are no verbs: after them none can.
    other_words: bool,
    /// The flag whose value is being typed.
    open: Option<&'a Arg>,
    /// After `--` nothing is a flag.
    only_words: bool,
}

impl<'a> Scan<'a> {
    fn of(command: &'a Command, before: &[String]) -> Self {
        let mut scan = Self {
            verbs: Vec::new(),
            other_words: false,
            open: None,
            only_words: false,
        };
        for word in before {
            if scan.open.take().is_some() {
                continue;
            }
            if scan.only_words || !word.starts_with('-') || word == "-" {
                scan.word(command, word);
            } else if word == "--" {
                scan.only_words = true;
            } else if !word.contains('=') {
                let flag = flag_of(command, scan.verb(), word);
                // Such a flag has its value behind an equals sign, or none.
                scan.open = flag.filter(|flag| !flag.is_require_equals_set());
            }
        }
        scan
    }

    /// The verb that was named last.
    fn verb(&self) -> Option<&'a Command> {
        self.verbs.last().copied()
    }

    fn word(&mut self, command: &'a Command, word: &str) {
        let above = self.verb().unwrap_or(command);
        // What `help` is asked for is no verb of its own.
        let found = (!self.other_words && above.get_name() != "help").then(|| verb_of(above, word));
        match found.flatten() {
            Some(verb) => self.verbs.push(verb),
            None => self.other_words |= self.verb().is_some(),
        }
    }
}

/// A verb with what was given to it.
struct Given<'a> {
    verb: &'a Command,
    matches: &'a ArgMatches,
}

impl Given<'_> {
    fn has(&self, arg: &Arg) -> bool {
        let id = arg.get_id().as_str();
        self.matches.value_source(id) == Some(ValueSource::CommandLine)
    }

    fn text(&self, id: &str) -> Option<String> {
        let found = self.matches.try_get_one::<String>(id).ok()??;
        Some(found.clone())
    }

    /// The first word that is not there yet and does not go against what is.
    fn positional(&self) -> Wanted {
        let excluded = |arg: &Arg| {
            let given = self.verb.get_arguments().filter(|other| self.has(other));
            given.into_iter().any(|given| {
                let against = self.verb.get_arg_conflicts_with(given);
                against.iter().any(|other| other.get_id() == arg.get_id())
            })
        };
        let mut open = self.verb.get_positionals().filter(|arg| !self.has(arg));
        match open.next() {
            Some(arg) if !excluded(arg) => value(arg, Some(self)),
            _ => Wanted::Nothing,
        }
    }
}

/// What a flag or a word of a verb takes.
fn value(arg: &Arg, given: Option<&Given<'_>>) -> Wanted {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let line = |value: &clap::builder::PossibleValue| line(value.get_name(), value.get_help());
        return Wanted::Words(possible.iter().map(line).collect());
    }
    let steps = |markable| {
        let of = given.and_then(|given| given.text("name"));
        of.map_or(Wanted::Nothing, |of| Wanted::Steps { of, markable })
    };
    match arg.get_id().as_str() {
        "name" => Wanted::Migrations,
        "step" => steps(true),
        "to" => steps(false),
        "workload" => Wanted::Workloads,
        "source" => Wanted::Claims(Side::Source),
        "target" => Wanted::Claims(Side::Target),
        "context" => Wanted::Contexts(Side::Source),
        "to_context" => Wanted::Contexts(Side::Target),
        "namespace" => Wanted::Namespaces(Side::Source),
        "to_namespace" => Wanted::Namespaces(Side::Target),
        "cluster" => Wanted::Clusters,
        "user" => Wanted::Users,
        "rate" => Wanted::Words(vec!["none\tlifts the limit".to_owned()]),
        "run_as" => Wanted::Words(["auto", "root", "workload"].map(str::to_owned).to_vec()),
        _ => match arg.get_value_names().and_then(|names| names.first()) {
            Some(name) if name.as_str() == "FILE" => Wanted::Files,
            Some(name) if name.as_str() == "DIR" => Wanted::Folders,
            _ => Wanted::Nothing,
        },
    }
}

fn line(word: &str, about: Option<&clap::builder::StyledStr>) -> String {
    match about {
        Some(about) => format!("{word}\t{about}"),
        None => word.to_owned(),
    }
}

fn verb_of<'a>(command: &'a Command, word: &str) -> Option<&'a Command> {
    let mut verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    verbs.find(|verb| verb.get_name() == word)
}

fn verbs(command: &Command) -> Vec<String> {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    shown
        .map(|verb| line(verb.get_name(), verb.get_about()))
        .collect()
}

fn all_flags<'a>(command: &'a Command, verb: Option<&'a Command>) -> impl Iterator<Item = &'a Arg> {
    // A verb has every global flag, too.
    let of = verb.unwrap_or(command);
    of.get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set())
}

fn flags(command: &Command, verb: Option<&Command>) -> Vec<String> {
    all_flags(command, verb)
        .filter_map(|arg| Some(line(&format!("--{}", arg.get_long()?), arg.get_help())))
        .collect()
}

/// The flag of this word that takes a value and has none in the word itself: `--context`, `-n`, `-An`.
fn flag_of<'a>(command: &'a Command, verb: Option<&'a Command>, word: &str) -> Option<&'a Arg> {
    let takes = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if let Some(long) = word.strip_prefix("--") {
        let mut flags = all_flags(command, verb);
        let named = |arg: &&Arg| {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            arg.get_long() == Some(long) || aliases.contains(&long)
        };
        return flags.find(named).filter(takes);
    }
    let shorts = word.strip_prefix('-')?;
    let of = |short| all_flags(command, verb).find(|arg| arg.get_short() == Some(short));
    let (at, flag) = shorts
        .char_indices()
        .find_map(|(at, short)| Some((at, of(short).filter(takes)?)))?;
    (at + 1 == shorts.len()).then_some(flag)
}

#[cfg(test)]
mod tests;
