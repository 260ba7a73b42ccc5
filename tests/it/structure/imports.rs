//! Which rooms a file names: by `crate::…`, by enough `super::`, and in `main.rs` by the library's name.
#![expect(
    clippy::collapsible_match,
    reason = "a guard would hide what an arm is about"
)]
use super::code::Token;

/// A room that a file names.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name; `*` for all of them.
    pub room: String,
    /// Where, from 1.
    pub line: usize,
}

/// The room of a file of `src/`.
pub fn room_of(path: &str) -> String {
    let first = path.split('/').next().unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// How many modules deep a file is: 0 for the crate's root.
fn depth_of(path: &str) -> usize {
    match path {
        "main.rs" | "lib.rs" => 0,
        _ => path.split('/').filter(|part| *part != "mod.rs").count(),
    }
}

/// Every room that the words of a file name.
pub fn of(path: &str, tokens: &[Token]) -> Vec<Import> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    let mut braces = 0_usize;
    // The depths of braces at which modules inside this file began.
    let mut modules: Vec<usize> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match text(at) {
            "{" => {
                braces += 1;
                if at >= 2 && text(at - 2) == "mod" {
                    modules.push(braces);
                }
            }
            "}" => {
                if modules.last() == Some(&braces) {
                    modules.pop();
                }
                braces = braces.saturating_sub(1);
            }
            "crate" if text(at + 1) == "::" => named(tokens, at + 2, &mut found),
            "kubectl_migrate" if path == "main.rs" && text(at + 1) == "::" => {
                if text(at + 2) != "run" {
                    named(tokens, at + 2, &mut found);
                }
            }
            "super" if text(at + 1) == "::" => {
                let mut ups = 0;
                while text(at + 2 * ups) == "super" && text(at + 2 * ups + 1) == "::" {
                    ups += 1;
                }
                at += 2 * ups;
                if ups >= depth_of(path) + modules.len() {
                    named(tokens, at, &mut found);
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The first names of a tree like `a::b` or `{a::{b, c}, d}`, which are rooms when it starts at the root.
fn named(tokens: &[Token], at: usize, found: &mut Vec<Import>) {
    let import = |token: &Token| Import {
        room: token.text.clone(),
        line: token.line,
    };
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        found.push(import(first));
        return;
    }
    let (mut depth, mut begins) = (0_usize, false);
    for token in &tokens[at..] {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                begins = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return;
                }
            }
            "," => begins = depth == 1,
            _ if begins => {
                found.push(import(token));
                begins = false;
            }
            _ => {}
        }
    }
}

#[test]
fn every_way_to_name_a_room_is_seen() {
    let rooms = |path: &str, text: &str| -> Vec<String> {
        let tokens = super::code::tokens(text);
        of(path, &tokens).into_iter().map(|i| i.room).collect()
    };
    assert_eq!(
        rooms("a/b.rs", "use crate::{c, d::{e, f::{g}}, h as i,};"),
        ["c", "d", "h"]
    );
    assert_eq!(
        rooms("a/b.rs", "fn x(y: crate::c::D) { crate::e::f() }"),
        ["c", "e"]
    );
    assert_eq!(
        rooms("a/b.rs", "use super::c; use super::super::d::e;"),
        ["d"]
    );
    assert_eq!(rooms("a/mod.rs", "use super::{c, d::e};"), ["c", "d"]);
    assert_eq!(
        rooms("a.rs", "mod tests { use super::*; } use super::b;"),
        ["b"]
    );
    assert_eq!(rooms("a.rs", "mod tests { use super::super::b; }"), ["b"]);
    assert_eq!(
        rooms("a/b.rs", "pub(crate) fn x() {} pub(super) mod y;"),
        Vec::<String>::new()
    );
    assert_eq!(
        rooms(
            "main.rs",
            "fn main() { kubectl_migrate::run(); kubectl_migrate::ui::x() }"
        ),
        ["ui"]
    );
}
