use std::fmt;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How texts may look on the stream that they are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns that a line may take; none: as many as it needs.
    pub width: Option<usize>,
    /// Whether colours are shown.
    pub color: bool,
}

/// What a colour says. Every coloured text says it in words, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// The operator should look at it.
    Notice,
    /// It went wrong, or cannot be undone.
    Bad,
    /// It matters less than what is around it.
    Faint,
    /// It matters more than what is around it.
    Strong,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Notice => "33",
            Self::Bad => "31",
            Self::Faint => "2",
            Self::Strong => "1",
        }
    }

    /// The escape that begins this tone, as the table crate wants it.
    pub(super) fn begin(self) -> String {
        format!("\x1b[{}m", self.code())
    }
}

/// The escape that ends every tone.
pub(super) const END: &str = "\x1b[0m";

impl Look {
    /// No limit and no colour: what a pipe and a file get.
    pub const PLAIN: Self = Self {
        width: None,
        color: false,
    };

    /// The text in this tone, where colours are shown.
    #[must_use]
    pub fn paint(self, tone: Tone, text: impl fmt::Display) -> String {
        if self.color {
            format!("{}{text}{END}", tone.begin())
        } else {
            text.to_string()
        }
    }

    /// The text cut to the width of a line.
    #[must_use]
    pub fn cut(self, text: &str) -> String {
        self.width
            .map_or_else(|| text.to_owned(), |width| cut(text, width))
    }

    /// A line of dashes with a word in its middle.
    #[must_use]
    pub fn rule(self, word: &str, length: usize) -> String {
        let length = self.width.map_or(length, |width| length.min(width));
        let word = format!(" {word} ");
        let dashes = length.saturating_sub(columns(&word));
        if dashes < 4 {
            return self.cut(word.trim());
        }
        // The word stands where the eye is, a little right of the middle, as in a heading.
        let right = (dashes / 3).max(2);
        format!("{}{word}{}", "─".repeat(dashes - right), "─".repeat(right))
    }
}

/// How many columns a text takes on a terminal.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.width()
}

/// The text in at most `width` columns; what was cut off is shown as `…`.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut kept = String::with_capacity(text.len());
    for letter in text.chars() {
        let wide = letter.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        kept.push(letter);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits_and_says_that_it_is_cut() {
        for text in ["", "a", "final-copy", "日本語のデータ", "e\u{301}tude"] {
            for width in 0..14 {
                let shown = cut(text, width);
                assert!(columns(&shown) <= width, "{text} in {width}: {shown}");
                assert_eq!(
                    shown == text,
                    columns(text) <= width,
                    "{text} in {width}: {shown}"
                );
            }
        }
        assert_eq!(cut("final-copy", 6), "final…");
    }

    #[test]
    fn a_rule_fits_every_width() {
        for width in 1..120 {
            let look = Look {
                width: Some(width),
                color: false,
            };
            assert!(columns(&look.rule("writes stop here", 90)) <= width);
        }
        assert_eq!(Look::PLAIN.rule("stop", 16), "─────── stop ───");
    }
}
