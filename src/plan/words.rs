//! What the reader of YAML says of a value, in words that are not those of its own types.

/// A refusal of the reader in plain words; one that it does not know is given as it is.
pub(super) fn plain(message: &str) -> String {
    unknown(message)
        .or_else(|| wrong_type(message))
        .or_else(|| named(message, "missing field ", "is missing"))
        .or_else(|| named(message, "duplicate field ", "is there twice"))
        .unwrap_or_else(|| message.to_owned())
}

/// ``unknown variant `a`, expected one of `b`, `c` ``; the same for fields.
fn unknown(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("unknown variant ")
        .or_else(|| message.strip_prefix("unknown field "))?;
    let (given, known) = rest.split_once(", ")?;
    let known = match known.strip_prefix("expected ") {
        Some(known) => match known.strip_prefix("one of ") {
            Some(known) => format!("it is one of {known}"),
            None => format!("it is {known}"),
        },
        None => "nothing stands here".to_owned(),
    };
    Some(format!("{given} is not known; {known}"))
}

/// ``invalid type: sequence, expected a string``.
fn wrong_type(message: &str) -> Option<String> {
    let rest = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))?;
    // A text that was given may hold anything, also the words that stand after it.
    let (given, wanted) = rest.rsplit_once(", expected ")?;
    Some(format!(
        "this is {}, and {} is needed",
        given_as(given),
        wanted_as(wanted)
    ))
}

fn given_as(given: &str) -> String {
    let (what, value) = given.split_once(' ').unwrap_or((given, ""));
    match what {
        "sequence" => "a list".to_owned(),
        "map" => "a mapping".to_owned(),
        "unit" | "null" | "Option" => "empty".to_owned(),
        "string" => format!("the text {value}"),
        "integer" => format!("the number {value}"),
        "floating" => format!("the number {}", value.trim_start_matches("point ")),
        "boolean" => format!("the word {value}"),
        _ => given.to_owned(),
    }
}

fn wanted_as(wanted: &str) -> String {
    match wanted {
        "a string" | "string or singleton map" => "a text".to_owned(),
        "a map" => "a mapping".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number".to_owned(),
        // What the reader calls its own types is nothing that a plan's author can write.
        _ if wanted.starts_with("struct ") => "a mapping".to_owned(),
        _ if wanted.starts_with("enum ") => "a text".to_owned(),
        _ => wanted.to_owned(),
    }
}

/// ``missing field `name` ``.
fn named(message: &str, prefix: &str, what: &str) -> Option<String> {
    let name = message.strip_prefix(prefix)?;
    Some(format!("{name} {what}"))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn the_readers_own_words_are_not_shown() {
        for (said, shown) in [
            (
                "unknown variant `mysql`, expected one of `statefulset`, `copy`, `freeze`",
                "`mysql` is not known; it is one of `statefulset`, `copy`, `freeze`",
            ),
            (
                "unknown variant `size`, expected `content`",
                "`size` is not known; it is `content`",
            ),
            (
                "unknown field `a`, there are no fields",
                "`a` is not known; nothing stands here",
            ),
            (
                "invalid type: sequence, expected a string",
                "this is a list, and a text is needed",
            ),
            (
                "invalid type: string \"many, expected by all\", expected u32",
                "this is the text \"many, expected by all\", and a whole number is needed",
            ),
            (
                "invalid value: integer `-1`, expected u32",
                "this is the number `-1`, and a whole number is needed",
            ),
            (
                "invalid type: floating point `1.5`, expected struct Spec",
                "this is the number `1.5`, and a mapping is needed",
            ),
            ("missing field `name`", "`name` is missing"),
            ("duplicate field `name`", "`name` is there twice"),
            ("found a tab character", "found a tab character"),
        ] {
            assert_eq!(plain(said), shown);
        }
    }
}
