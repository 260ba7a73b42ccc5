use std::fmt::Write as _;

use clap::{
    ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use serde::Serialize;

use super::{OutputError, Ui};

/// How data is written to standard output: the values of `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table that fits the terminal
    #[default]
    Table,
    /// A table with every column and every row
    Wide,
    /// JSON, complete and stable
    Json,
    /// YAML, complete and stable
    Yaml,
    /// One name per line, as `kind/name`
    Name,
    /// Markdown, for a ticket or a wiki page
    #[value(name = "md")]
    Markdown,
    /// One HTML page that needs nothing else
    Html,
}

/// Why data could not be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// This verb has no such form.
    #[error("this has no `-o {0}`: use one of {1}")]
    Unknown(&'static str, String),
    /// It could not be made into JSON or YAML.
    #[error("failed to write the result as {0}")]
    Encode(&'static str, #[source] anyhow::Error),
    /// It could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Format {
    /// What every verb that shows something has.
    pub const COMMON: [Self; 5] = [Self::Table, Self::Wide, Self::Json, Self::Yaml, Self::Name];

    /// As it is given to `-o`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Wide => "wide",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Name => "name",
            Self::Markdown => "md",
            Self::Html => "html",
        }
    }

    /// A parser for the flag of a verb that has only these: others are a usage error.
    pub fn parser(among: &'static [Self]) -> impl TypedValueParser<Value = Self> {
        let values = among.iter().filter_map(Self::to_possible_value);
        PossibleValuesParser::new(values).try_map(|name| Self::from_str(&name, false))
    }

    /// The error of a verb that has only `among`.
    pub(super) fn unknown(self, among: &[Self]) -> FormatError {
        let names: Vec<_> = among.iter().map(|format| format.name()).collect();
        FormatError::Unknown(self.name(), names.join(", "))
    }
}

impl Ui {
    /// Writes any document as JSON or YAML to standard output; `table` and the like are refused.
    pub fn document(&self, format: Format, document: &impl Serialize) -> Result<(), FormatError> {
        let text = match format {
            Format::Json => json(document)?,
            Format::Yaml => yaml(document)?,
            other => return Err(other.unknown(&[Format::Json, Format::Yaml])),
        };
        Ok(self.show(&text)?)
    }
}

/// Indented JSON in which also the control characters above ASCII are escaped: a terminal obeys them.
fn json(document: &impl Serialize) -> Result<String, FormatError> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| FormatError::Encode("JSON", error.into()))?;
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        // Such a character can only stand inside a string, where the escape means the same.
        if letter != '\n' && super::visible::obeyed(letter) {
            // Writing to a String cannot fail.
            write!(safe, "\\u{:04x}", u32::from(letter)).ok();
        } else {
            safe.push(letter);
        }
    }
    Ok(safe)
}

/// YAML, through the JSON form, so that both say the same. It escapes all that is a control character;
/// marks of direction it has no escape for outside of quotes.
fn yaml(document: &impl Serialize) -> Result<String, FormatError> {
    let encode = |error: anyhow::Error| FormatError::Encode("YAML", error);
    let value = serde_json::to_value(document).map_err(|error| encode(error.into()))?;
    serde_yaml::to_string(&value).map_err(|error| encode(error.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_read_back_and_carry_no_escapes() -> anyhow::Result<()> {
        let odd = json!({"name": "a\u{9b}2J\u{1b}[31m\u{202e}ü\n日", "list": [1, 2.5, null, true]});
        for format in [Format::Json, Format::Yaml] {
            let (ui, written) = Ui::for_test(80, true);
            ui.document(format, &odd)?;
            let text = written.out();
            assert!(
                !text
                    .chars()
                    .any(|letter| letter != '\n' && letter.is_control()),
                "{text:?}"
            );
            assert!(format == Format::Yaml || !text.contains('\u{202e}'));
            let back: serde_json::Value = match format {
                Format::Json => serde_json::from_str(&text)?,
                _ => serde_yaml::from_str(&text)?,
            };
            assert_eq!(back, odd);
        }
        Ok(())
    }

    #[test]
    fn a_verb_takes_only_its_own_formats() {
        let command = clap::Command::new("status").arg(
            clap::Arg::new("output")
                .short('o')
                .value_parser(Format::parser(&Format::COMMON)),
        );
        let parse = |value: &str| {
            command
                .clone()
                .try_get_matches_from(["status", "-o", value])
        };
        for format in Format::value_variants() {
            let matches = parse(format.name());
            assert_eq!(
                matches.is_ok(),
                Format::COMMON.contains(format),
                "{format:?}"
            );
            if let Ok(matches) = matches {
                assert_eq!(matches.get_one::<Format>("output"), Some(format));
            }
        }
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let (ui, written) = Ui::for_test(80, false);
        let error = ui
            .document(Format::Wide, &1)
            .map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("this has no `-o wide`: use one of json, yaml".to_owned())
        );
        assert_eq!(written.out(), "");
    }
}
