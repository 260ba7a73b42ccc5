use clap::Args;

use super::*;
use crate::commands::{
    completion, copy, freeze, limit, mark, mover, plan, report, rollback, run, snapshot, status,
    thaw,
};

/// The program's verbs and flags, as the page of the command line puts them together.
fn command() -> Command {
    let verb = |name| Command::new(name);
    Global::augment_args(Command::new("kubectl-migrate")).subcommands([
        plan::Args::augment_args(verb("plan")),
        run::Args::augment_args(verb("run")),
        status::Args::augment_args(verb("status")),
        limit::Args::augment_args(verb("limit")),
        mark::Args::augment_args(verb("mark")),
        rollback::Args::augment_args(verb("rollback")),
        report::Args::augment_args(verb("report")),
        freeze::Args::augment_args(verb("freeze")),
        thaw::Args::augment_args(verb("thaw")),
        copy::Args::augment_args(verb("copy")),
        snapshot::Args::augment_args(verb("snapshot")),
        completion::Args::augment_args(verb("completion")),
        mover::Args::augment_args(verb("mover")).hide(true),
    ])
}

/// Every verb that is shown.
const VERBS: &str =
    "plan run status limit mark rollback report freeze thaw copy snapshot completion help";

fn typed(line: &str) -> Typed {
    let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
    read(command(), &words)
}

/// The words that are offered and begin with what is typed, without what they are.
fn offered(line: &str) -> String {
    let typed = typed(line);
    let Wanted::Words(words) = typed.wanted else {
        return format!("{:?}", typed.wanted);
    };
    let words = words.iter().filter(|word| word.starts_with(&typed.word));
    let bare: Vec<_> = words.filter_map(|word| word.split('\t').next()).collect();
    bare.join(" ")
}

#[test]
fn verbs_flags_and_their_values_are_the_parsers_own() {
    for (line, expected) in [
        ("", VERBS),
        ("re", "report"),
        ("--context prod re", "report"),
        ("help th", "thaw"),
        ("snapshot ", "list show delete prune"),
        ("snapshot --endpoint https://s3.example s", "show"),
        ("snapshot list --end", "--endpoint"),
        ("snapshot list -o ", "table wide json yaml name"),
        (
            "snapshot prune s3://backups --dry-run=",
            "none client server",
        ),
        // Without an equals sign it has no value: the next word is a flag again.
        (
            "snapshot prune s3://backups --dry-run --keep-l",
            "--keep-last",
        ),
        ("snapshot tcp/a ", "Nothing"),
        ("help snapshot li", "limit"),
        ("status --all", "--all-namespaces"),
        ("completion ", "bash elvish fish powershell zsh"),
        ("status -o ", "table wide json yaml name"),
        ("report orders-db -o h", "html"),
        ("report orders-db --output=m", "md"),
        ("run -f a.yaml --dry-run ", "none client server"),
        ("run -f a.yaml --dry-run=s", "server"),
        ("freeze sts/a --mode s", "scale sleep"),
        ("copy pvc/a pvc/b --run-as ", "auto root workload"),
        ("limit orders-db ", "none"),
        ("mover ", VERBS),
    ] {
        assert_eq!(offered(line), expected, "{line}");
    }
}

#[test]
fn names_files_and_steps_are_told_apart() {
    let steps = |markable| Wanted::Steps {
        of: "orders-db".to_owned(),
        markable,
    };
    for (line, expected) in [
        ("status ", Wanted::Migrations),
        ("limit ", Wanted::Migrations),
        ("copy pvc/a pvc/b --limit ", Wanted::Nothing),
        ("status -n shop ", Wanted::Migrations),
        ("status orders-db ", Wanted::Nothing),
        ("run ", Wanted::Migrations),
        ("run -f a.yaml ", Wanted::Nothing),
        ("run -f ", Wanted::Files),
        ("run --filename=a", Wanted::Files),
        ("run --max-freeze ", Wanted::Nothing),
        ("status --kubeconfig ", Wanted::Files),
        ("status --cache-dir ", Wanted::Folders),
        ("status --as ", Wanted::Nothing),
        ("mark orders-db ", steps(true)),
        ("mark -n shop orders-db ", steps(true)),
        ("mark --reason why -n shop orders-db ", steps(true)),
        ("mark orders-db hand-over ", Wanted::Nothing),
        ("rollback orders-db --to ", steps(false)),
        ("rollback --to ", Wanted::Nothing),
        ("freeze ", Wanted::Workloads),
        ("thaw sts/or", Wanted::Workloads),
        ("copy ", Wanted::Claims(Side::Source)),
        ("copy pvc/a ", Wanted::Claims(Side::Target)),
        ("status --context ", Wanted::Contexts(Side::Source)),
        ("run --to-context ", Wanted::Contexts(Side::Target)),
        ("status -n ", Wanted::Namespaces(Side::Source)),
        ("status -wn ", Wanted::Namespaces(Side::Source)),
        ("-n ", Wanted::Namespaces(Side::Source)),
        ("run --to-namespace=sh", Wanted::Namespaces(Side::Target)),
        ("status --cluster ", Wanted::Clusters),
        ("status --user ", Wanted::Users),
        // The value of a flag is no word of the verb, also where it looks like one.
        ("status -n report ", Wanted::Migrations),
        ("status --context run orders-db ", Wanted::Nothing),
        ("rollback -- ", Wanted::Migrations),
    ] {
        assert_eq!(typed(line).wanted, expected, "{line}");
    }
}

#[test]
fn flags_before_the_cursor_say_where_to_look() {
    for line in [
        "status --context prod -n shop --kubeconfig file ",
        "--context prod -n shop --kubeconfig=file status o",
        "mark --context=prod -nshop --kubeconfig file orders-db ",
        "status --context prod -n shop --kubeconfig file -o ",
    ] {
        let flags = typed(line).flags.expect("flags that can be read");
        let connection = flags.connection;
        assert_eq!(
            (
                connection.context.as_deref(),
                connection.namespace.as_deref()
            ),
            (Some("prod"), Some("shop")),
            "{line}"
        );
        assert_eq!(connection.kubeconfig.as_deref(), Some("file".as_ref()));
    }
}
