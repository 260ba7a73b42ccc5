//! Names and texts from elsewhere, made safe for a terminal.
use std::{borrow::Cow, fmt::Write as _};

/// The text in one line, with everything that a terminal would obey instead of show written out:
/// control characters, escapes, and the marks that turn the direction of writing.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            hidden if obeyed(hidden) => {
                // Writing to a String cannot fail.
                write!(shown, "\\u{{{:x}}}", u32::from(hidden)).ok();
            }
            plain => shown.push(plain),
        }
    }
    Cow::Owned(shown)
}

/// The same for a name that may not be UTF-8: what is not is shown as `\xff`.
#[must_use]
pub fn visible_bytes(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        shown.push_str(&visible(chunk.valid()));
        for byte in chunk.invalid() {
            write!(shown, "\\x{byte:02x}").ok();
        }
    }
    shown
}

/// The same for a text of several lines, which stay lines.
#[must_use]
pub fn visible_lines(text: &str) -> String {
    let lines: Vec<_> = text
        .split('\n')
        .map(|line| visible(line.trim_end_matches('\r')))
        .collect();
    lines.join("\n")
}

pub(super) fn obeyed(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            // Line and paragraph separators, direction marks, byte order mark.
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_stays() {
        for code in 0..=u32::from(char::MAX) {
            let Some(letter) = char::from_u32(code) else {
                continue;
            };
            let name = format!("a{letter}b");
            let shown = visible(&name);
            assert!(!shown.contains(obeyed), "U+{code:04X}");
            assert!(shown.starts_with('a') && shown.ends_with('b'));
        }
    }

    #[test]
    fn names_stay_readable() {
        assert_eq!(
            visible("shop/orders-db → ähre 日本"),
            "shop/orders-db → ähre 日本"
        );
        assert_eq!(visible("a\x1b[31mred\x07\nb"), r"a\u{1b}[31mred\u{7}\nb");
        assert_eq!(
            visible("evil\u{202e}gpj.exe\u{9b}2J"),
            r"evil\u{202e}gpj.exe\u{9b}2J"
        );
        assert_eq!(visible_bytes(b"caf\xe9\x1b.txt"), r"caf\xe9\u{1b}.txt");
        assert_eq!(visible_lines("one\r\ntwo\x1b"), "one\ntwo\\u{1b}");
    }
}
