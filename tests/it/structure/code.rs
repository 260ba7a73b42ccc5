//! Rust as a list of words and signs, without comments and texts. No parser: enough to see paths.

/// A word, `::`, or a single sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// As it stands in the file.
    pub text: String,
    /// Its line, from 1.
    pub line: usize,
}

/// The words and signs of a file.
pub fn tokens(text: &str) -> Vec<Token> {
    let code: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < code.len() {
        let end = at + length(&code[at..]);
        let piece = &code[at..end];
        let seen = !piece[0].is_whitespace() && !is_hidden(piece);
        if seen {
            found.push(Token {
                text: piece.iter().collect(),
                line,
            });
        }
        line += piece.iter().filter(|&&sign| sign == '\n').count();
        at = end;
    }
    found
}

/// Whether a piece is a comment, a text or a character, which say nothing about arrows.
fn is_hidden(piece: &[char]) -> bool {
    match piece {
        ['/', '/' | '*', ..] | ['"', ..] | ['\'', .., '\''] => true,
        [first, .., last] if is_word(*first) => matches!(last, '"' | '#' | '\''),
        _ => false,
    }
}

/// How many characters the next piece has.
fn length(code: &[char]) -> usize {
    match code {
        ['/', '/', ..] => up_to(code, '\n'),
        ['/', '*', ..] => block_comment(code),
        ['"', ..] => quoted(code, '"'),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted(code, '\''),
        [':', ':', ..] => 2,
        [first, ..] if is_word(*first) => {
            let word = code.iter().take_while(|sign| is_word(**sign)).count();
            let prefix: String = code[..word].iter().collect();
            word + match (prefix.as_str(), &code[word..]) {
                ("b" | "c", rest @ ['"', ..]) => quoted(rest, '"'),
                ("b", rest @ ['\'', ..]) => quoted(rest, '\''),
                ("r" | "br" | "cr", rest @ ['"' | '#', ..]) => raw(rest),
                _ => 0,
            }
        }
        _ => 1,
    }
}

fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

fn up_to(code: &[char], end: char) -> usize {
    code.iter().take_while(|sign| **sign != end).count()
}

/// Block comments of Rust hold others.
fn block_comment(code: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < code.len() {
        match &code[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// A text from its first quote to its last.
fn quoted(code: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < code.len() && code[at] != quote {
        at += if code[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(code.len())
}

/// A raw text from its first `#` or quote to its last; 0 for a raw name like `r#type`.
fn raw(code: &[char]) -> usize {
    let fence = code.iter().take_while(|sign| **sign == '#').count();
    if code.get(fence) != Some(&'"') {
        return 0;
    }
    let mut end = vec!['"'];
    end.resize(fence + 1, '#');
    let body = &code[fence + 1..];
    body.windows(end.len())
        .position(|window| window == end)
        .map_or(code.len(), |at| fence + 1 + at + end.len())
}

#[test]
fn comments_and_texts_are_no_words() {
    let words =
        |text: &str| -> Vec<String> { tokens(text).into_iter().map(|token| token.text).collect() };
    assert_eq!(words("a::b // c\nd"), ["a", "::", "b", "d"]);
    assert_eq!(words("a /* b /* c */ d */ e"), ["a", "e"]);
    assert_eq!(words(r#"a "b \" c" d"#), ["a", "d"]);
    assert_eq!(words("a r#\"b \" c\"# d br\"e\" f"), ["a", "d", "f"]);
    assert_eq!(words(r"'a' '\'' b'\\' x"), ["x"]);
    assert_eq!(words("&'a str"), ["&", "'", "a", "str"]);
    assert_eq!(words("r#type"), ["r", "#", "type"]);
    assert_eq!(
        tokens("/*\n\n*/ a \"\n\" b").last().map(|t| t.line),
        Some(4)
    );
}
