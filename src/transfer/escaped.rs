//! Bytes that are not text, printed so that nothing is lost and nothing plays tricks on a terminal.
//!
//! Printable UTF-8 stays as it is. A backslash becomes `\\`, a newline `\n`, a tab `\t`, other control and
//! direction-changing characters `\u{…}`, and bytes that are not UTF-8 `\xNN`.
use serde::{Deserialize, Deserializer, Serializer, de};
use std::fmt::Write as _;

/// The printable form of these bytes; [`unescape`] gives them back.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                hidden if is_hidden(hidden) => {
                    let _ = write!(text, "\\u{{{:x}}}", u32::from(hidden));
                }
                shown => text.push(shown),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Characters that are not seen, or that move or turn what follows them.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The bytes of a text made by [`escape`]; none if it was not.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let kind = rest.chars().next()?;
        rest = &rest[kind.len_utf8()..];
        match kind {
            '\\' => bytes.push(b'\\'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'x' => {
                bytes.push(u8::from_str_radix(rest.get(..2)?, 16).ok()?);
                rest = &rest[2..];
            }
            'u' => {
                let end = rest.find('}')?;
                let code = u32::from_str_radix(rest.get(..end)?.strip_prefix('{')?, 16).ok()?;
                let mut buffer = [0; 4];
                bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
                rest = &rest[end + 1..];
            }
            _ => return None,
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// For `#[serde(with)]`: the escaped text in JSON, plain bytes on the wire.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.serialize_str(&escape(bytes))
    } else {
        serializer.serialize_bytes(bytes)
    }
}

/// For `#[serde(with)]`: what [`serialize`] wrote.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    if deserializer.is_human_readable() {
        let text = String::deserialize(deserializer)?;
        unescape(&text).ok_or_else(|| de::Error::custom("not a text of escaped bytes"))
    } else {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl de::Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_loses_nothing() {
        let cases: [(&[u8], &str); 6] = [
            (b"plain/name", "plain/name"),
            ("größe".as_bytes(), "größe"),
            (b"a\nb\tc\\d", "a\\nb\\tc\\\\d"),
            (b"\x1b[2J", "\\u{1b}[2J"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u{202e}gpj".as_bytes(), "\\u{202e}gpj"),
        ];
        for (bytes, text) in cases {
            assert_eq!(escape(bytes), text);
            assert_eq!(unescape(text).as_deref(), Some(bytes));
        }
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&every)), Some(every));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in [
            "\\",
            "\\q",
            "\\x1",
            "\\xzz",
            "\\u{110000}",
            "\\u{41",
            "\\x\u{e9}",
        ] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
