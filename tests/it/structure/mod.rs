//! The rooms of `src/` and the arrows between them: who may import whom, how long a file may be, who
//! prints and who ends the process.
mod code;
mod imports;
mod rooms;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use code::{Token, tokens};
use rooms::ROOMS;

/// Longest file, in lines: more is a room to divide.
const LONGEST: usize = 600;

/// What is wrong with a file of `src/`; `path` is relative to it.
fn faults(path: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mut found = wrong_arrows(path, &tokens);
    let room = imports::room_of(path);
    if room != "ui" {
        found.extend(printing(path, &tokens));
    }
    if room != "main" {
        found.extend(endings(path, &tokens));
    }
    found.extend(anywhere(path, text, &tokens));
    found
}

/// What is wrong in any file of Rust, tests too.
fn anywhere(path: &str, text: &str, tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        found.push(format!("{path}: {lines} lines, more than {LONGEST}"));
    }
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1).map(|next| next.text.as_str());
        let unfinished = matches!(token.text.as_str(), "todo" | "unimplemented");
        if unfinished && next == Some("!") {
            found.push(format!(
                "{path}:{}: {}! is not done",
                token.line, token.text
            ));
        }
        if token.text == "ignore" && at > 0 && tokens[at - 1].text == "[" {
            found.push(format!("{path}:{}: a test that is ignored", token.line));
        }
    }
    found
}

fn wrong_arrows(path: &str, tokens: &[Token]) -> Vec<String> {
    let from = imports::room_of(path);
    let Some(room) = ROOMS.iter().find(|room| room.name == from) else {
        return vec![format!("{path}: room `{from}` is not in the table")];
    };
    imports::of(path, tokens)
        .into_iter()
        .filter(|import| import.room != from && !room.uses.contains(&import.room.as_str()))
        .map(|import| format!("{path}:{}: `{from}` imports `{}`", import.line, import.room))
        .collect()
}

fn printing(path: &str, tokens: &[Token]) -> Vec<String> {
    let called = |token: &Token, next: &str, before: &str| match token.text.as_str() {
        "print" | "println" | "eprint" | "eprintln" | "dbg" if next == "!" => true,
        // A method of this name sets the stream of a child process.
        "stdout" | "stderr" => next == "(" && before != ".",
        // clap's own error prints itself.
        "print" => next == "(" && before == ".",
        _ => false,
    };
    matching(path, tokens, "is printing outside of `ui`", called)
}

fn endings(path: &str, tokens: &[Token]) -> Vec<String> {
    let called = |token: &Token, next: &str, before: &str| {
        matches!(token.text.as_str(), "exit" | "abort")
            && next == "("
            && !matches!(before, "." | "fn")
    };
    matching(path, tokens, "ends the process outside of `main`", called)
}

fn matching(
    path: &str,
    tokens: &[Token],
    what: &str,
    wrong: impl Fn(&Token, &str, &str) -> bool,
) -> Vec<String> {
    let text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |t| &t.text);
    tokens
        .iter()
        .enumerate()
        .filter(|(at, token)| wrong(token, text(Some(at + 1)), text(at.checked_sub(1))))
        .map(|(_, token)| format!("{path}:{}: `{}` {what}", token.line, token.text))
        .collect()
}

fn project(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// All files of Rust under a folder, with their paths relative to it.
fn files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(folder)?.display().to_string();
                found.push((name, std::fs::read_to_string(&path)?));
            }
        }
    }
    ensure!(!found.is_empty(), "no files in {}", folder.display());
    Ok(found)
}

#[test]
fn every_arrow_points_the_right_way_and_nothing_prints_or_exits_where_it_may_not() -> Result<()> {
    let mut found: Vec<_> = files(&project("src"))?
        .iter()
        .flat_map(|(path, text)| faults(path, text))
        .collect();
    for (path, text) in files(&project("tests"))? {
        found.extend(anywhere(&format!("tests/{path}"), &text, &tokens(&text)));
    }
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn the_table_names_every_room_and_only_rooms_and_has_no_circle() -> Result<()> {
    let there: std::collections::BTreeSet<_> = files(&project("src"))?
        .iter()
        .map(|(path, _)| imports::room_of(path))
        .collect();
    let named: std::collections::BTreeSet<_> =
        ROOMS.iter().map(|room| room.name.to_owned()).collect();
    ensure!(there == named, "src/ has {there:?}, the table {named:?}");
    // A room may use only rooms that stand after it: so no way leads back.
    for (at, room) in ROOMS.iter().enumerate() {
        ensure!(!room.why.is_empty(), "{} has no reason", room.name);
        for used in room.uses {
            let below = ROOMS[at + 1..].iter().any(|other| other.name == *used);
            ensure!(below, "{} → {used} leads up or nowhere", room.name);
        }
    }
    Ok(())
}

#[test]
fn a_planted_fault_is_found() {
    for (path, text, fault) in [
        (
            "engine/run.rs",
            "use crate::ui::Ui;",
            "engine/run.rs:1: `engine` imports `ui`",
        ),
        (
            "ui/plan.rs",
            "use std::fmt;\nuse crate::{engine::Step, steps::{Place, copy::Copy}};",
            "ui/plan.rs:2: `ui` imports `steps`",
        ),
        (
            "transfer/mod.rs",
            "fn x() { let y = crate::adapters::kube::connect(); }",
            "transfer/mod.rs:1: `transfer` imports `adapters`",
        ),
        (
            "adapters/kube/watch.rs",
            "mod tests { use super::super::super::super::engine::Step; }",
            "adapters/kube/watch.rs:1: `adapters` imports `engine`",
        ),
        (
            "report.rs",
            "use super::ui::Ui;",
            "report.rs:1: `report` imports `ui`",
        ),
        (
            "plan/read.rs",
            "use crate::*;",
            "plan/read.rs:1: `plan` imports `*`",
        ),
        (
            "main.rs",
            "fn main() { kubectl_migrate::steps::go() }",
            "main.rs:1: `main` imports `steps`",
        ),
        (
            "attic/mod.rs",
            "",
            "attic/mod.rs: room `attic` is not in the table",
        ),
        (
            "steps/copy.rs",
            "fn x() { println!(\"{}\", 1) }",
            "steps/copy.rs:1: `println` is printing outside of `ui`",
        ),
        (
            "steps/copy.rs",
            "fn x() { std::io::stderr().write_all(b\"\"); }",
            "steps/copy.rs:1: `stderr` is printing outside of `ui`",
        ),
        (
            "cli.rs",
            "fn x(e: clap::Error) { e.print().ok(); }",
            "cli.rs:1: `print` is printing outside of `ui`",
        ),
        (
            "commands/run.rs",
            "\nfn x() { std::process::exit(1) }",
            "commands/run.rs:2: `exit` ends the process outside of `main`",
        ),
        (
            "steps/copy.rs",
            "fn x() { todo!() }",
            "steps/copy.rs:1: todo! is not done",
        ),
        (
            "steps/copy.rs",
            "#[test]\n#[ignore = \"slow\"]\nfn x() {}",
            "steps/copy.rs:2: a test that is ignored",
        ),
    ] {
        assert_eq!(faults(path, text), [fault], "{text}");
    }
    let long = "\n".repeat(LONGEST + 1);
    assert_eq!(
        faults("ui/mod.rs", &long),
        ["ui/mod.rs: 601 lines, more than 600"]
    );
}

#[test]
fn what_is_right_is_not_found() {
    for (path, text) in [
        (
            "steps/copy.rs",
            "use crate::{adapters::kube::{Cluster, Wait}, engine::Step, transfer::Side};",
        ),
        (
            "steps/copy/warm.rs",
            "use super::super::place::Place; mod tests { use super::*; use crate::steps::Place; }",
        ),
        (
            "engine/run.rs",
            "// use crate::ui;\n/* crate::ui /* crate::cli */ crate::ui */ const X: &str = \"crate::ui println!()\";",
        ),
        (
            "engine/run.rs",
            "const X: &str = r#\"crate::ui \" todo!()\"#; const C: char = '\"'; fn x<'a>(y: &'a str) { crate::engine::go('\\'', y) }",
        ),
        (
            "ui/stream.rs",
            "fn x() { std::io::stdout(); eprintln!(\"x\"); }",
        ),
        (
            "main.rs",
            "fn main() { std::process::exit(kubectl_migrate::run(args).into()) }",
        ),
        (
            "adapters/kube/exec.rs",
            "fn x() { Command::new(\"x\").stdout(Stdio::piped()).spawn(); task.abort(); }",
        ),
    ] {
        assert_eq!(faults(path, text), Vec::<String>::new(), "{text}");
    }
}
