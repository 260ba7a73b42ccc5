//! A row as bytes: what both drivers compare, hash and send.
use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};

/// A row of the table, or those of its columns that were asked for: the id, the name, then the others.
///
/// Its bytes are those of a tuple in PostgreSQL's binary COPY: how many fields (2 bytes), then each with its length
/// before it (4 bytes, -1 for null).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Row {
    /// The revision.
    pub id: i64,
    name: Range<usize>,
    bytes: Bytes,
}

/// Bytes before the first field.
const HEAD: usize = 2;
/// Bytes before each field.
const LENGTH: usize = 4;

impl Row {
    /// Reads a tuple; `id` reads the first field. None where it is no tuple.
    pub fn parse(bytes: Bytes, id: impl Fn(&[u8]) -> Option<i64>) -> Option<Self> {
        let (first, next) = field(&bytes, HEAD)?;
        let id = id(bytes.get(first?)?)?;
        let name = match field(&bytes, next) {
            Some((Some(name), _)) => name,
            _ => 0..0,
        };
        Some(Self { id, name, bytes })
    }

    /// Puts a tuple together from its fields.
    pub fn of<'a>(
        id: i64,
        count: usize,
        fields: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Option<Self> {
        let mut bytes = BytesMut::new();
        bytes.put_i16(i16::try_from(count).ok()?);
        for field in fields {
            match field {
                None => bytes.put_i32(-1),
                Some(value) => {
                    bytes.put_i32(i32::try_from(value.len()).ok()?);
                    bytes.put_slice(value);
                }
            }
        }
        Self::parse(bytes.freeze(), |_| Some(id))
    }

    /// The key; empty where it is null or was not asked for.
    pub fn name(&self) -> &[u8] {
        &self.bytes[self.name.clone()]
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Every field.
    pub fn fields(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut at = HEAD;
        std::iter::from_fn(move || {
            let (range, next) = field(&self.bytes, at)?;
            at = next;
            Some(range.map(|range| &self.bytes[range]))
        })
    }
}

/// The field that begins here, none where it is null, and where the next begins.
pub(in super::super) fn field(bytes: &[u8], at: usize) -> Option<(Option<Range<usize>>, usize)> {
    let begin = at.checked_add(LENGTH)?;
    let length = i32::from_be_bytes(bytes.get(at..begin)?.try_into().ok()?);
    if length == -1 {
        return Some((None, begin));
    }
    let end = begin.checked_add(usize::try_from(length).ok()?)?;
    (end <= bytes.len()).then_some((Some(begin..end), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_nulls_and_empty_fields_apart() {
        let fields = [
            Some(&b"7"[..]),
            Some(b"/registry/a"),
            None,
            Some(b""),
            Some(b"\\\0'"),
        ];
        let row = Row::of(7, fields.len(), fields.into_iter()).expect("a row");
        assert_eq!((row.id, row.name()), (7, &b"/registry/a"[..]));
        assert_eq!(row.fields().collect::<Vec<_>>(), fields);
    }

    #[test]
    fn what_is_cut_off_is_no_row() {
        let fields = [Some(&b"7"[..]), Some(b"/registry/a")];
        let row = Row::of(7, 2, fields.into_iter()).expect("a row");
        let cut = Bytes::copy_from_slice(&row.bytes()[..5]);
        assert_eq!(Row::parse(cut, |_| Some(7)), None);
        assert_eq!(field(&[0xff, 0xff, 0xff, 0xfe], 0), None);
    }
}
