//! PostgreSQL's binary COPY, cut into rows. The server sends a row a message, but that is no promise.
use bytes::{Buf as _, Bytes, BytesMut};

use super::super::kine::Row;

/// What every stream begins with, before two lengths.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Bytes of the head when it has no extension.
const HEAD: usize = 19;
/// The number of fields that ends a stream.
const END: i16 = -1;

/// What goes before the first row.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What goes behind the last.
pub(super) const TRAILER: [u8; 2] = END.to_be_bytes();

/// Rows on their way in.
#[derive(Debug, Default)]
pub(super) struct Tuples {
    /// Bytes of which no whole row came yet.
    kept: BytesMut,
    begun: bool,
    ended: bool,
}

impl Tuples {
    /// Takes what came, and gives the rows that are whole now.
    pub fn push(&mut self, bytes: Bytes, rows: &mut Vec<Row>) -> Result<(), String> {
        if self.kept.is_empty() {
            let left = self.cut(bytes, rows)?;
            self.kept.extend_from_slice(&left);
        } else {
            self.kept.extend_from_slice(&bytes);
            let all = std::mem::take(&mut self.kept).freeze();
            let left = self.cut(all, rows)?;
            self.kept.extend_from_slice(&left);
        }
        Ok(())
    }

    /// Whether the last row came.
    pub fn whole(&self) -> bool {
        self.ended
    }

    fn cut(&mut self, mut bytes: Bytes, rows: &mut Vec<Row>) -> Result<Bytes, String> {
        if !self.begun {
            if bytes.len() < HEAD {
                return Ok(bytes);
            }
            let extension = &bytes[HEAD - 4..HEAD];
            if !bytes.starts_with(SIGNATURE) || extension != [0; 4] {
                return Err("what it sends is no binary copy that we know".to_owned());
            }
            bytes.advance(HEAD);
            self.begun = true;
        }
        while let Some(length) = tuple_length(&bytes)? {
            if length == TRAILER.len() && bytes.starts_with(&TRAILER) {
                self.ended = true;
                bytes.advance(length);
                continue;
            }
            if self.ended {
                return Err("there are rows behind the last".to_owned());
            }
            let tuple = bytes.split_to(length);
            rows.push(Row::parse(tuple, id).ok_or("a row has no id")?);
        }
        Ok(bytes)
    }
}

/// How many bytes the first row has, none where it is not whole yet.
fn tuple_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(count) = bytes.first_chunk() else {
        return Ok(None);
    };
    let count = i16::from_be_bytes(*count);
    let mut at = 2_usize;
    if count == END {
        return Ok(Some(at));
    }
    for _ in 0..count {
        let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        at += 4;
        let length = i32::from_be_bytes(*length);
        if length != -1 {
            at += usize::try_from(length).map_err(|_| "a field has a length below zero")?;
        }
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// Ids have 32 or 64 bits.
fn id(field: &[u8]) -> Option<i64> {
    match field.len() {
        4 => Some(i32::from_be_bytes(field.try_into().ok()?).into()),
        8 => Some(i64::from_be_bytes(field.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(ids: &[i64]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for id in ids {
            bytes.extend([0, 3, 0, 0, 0, 8]);
            bytes.extend(id.to_be_bytes());
            bytes.extend([0, 0, 0, 2, b'/', b'a', 0xff, 0xff, 0xff, 0xff]);
        }
        bytes.extend(TRAILER);
        bytes
    }

    #[test]
    fn rows_come_out_however_they_were_cut() {
        let bytes = stream(&[1, 1 << 40, 7]);
        for size in 1..=bytes.len() {
            let (mut tuples, mut rows) = (Tuples::default(), Vec::new());
            for piece in bytes.chunks(size) {
                assert!(!tuples.whole());
                tuples
                    .push(Bytes::copy_from_slice(piece), &mut rows)
                    .expect("a binary copy");
            }
            assert!(tuples.whole(), "in pieces of {size}");
            let seen: Vec<_> = rows.iter().map(|row| (row.id, row.name())).collect();
            assert_eq!(seen, [(1, &b"/a"[..]), (1 << 40, b"/a"), (7, b"/a")]);
            assert_eq!(rows[0].fields().nth(2), Some(None));
        }
    }

    #[test]
    fn what_is_cut_off_or_strange_is_told() {
        let bytes = stream(&[1]);
        let (mut tuples, mut rows) = (Tuples::default(), Vec::new());
        let cut = Bytes::copy_from_slice(&bytes[..bytes.len() - 2]);
        tuples.push(cut, &mut rows).expect("so far");
        assert!(!tuples.whole());
        let strange = Bytes::from_static(b"1\t/registry/a\t0\t0\t0\t0\t0\n");
        assert!(Tuples::default().push(strange, &mut rows).is_err());
        let mut negative = HEADER.to_vec();
        negative.extend([0, 1, 0xff, 0xff, 0xff, 0xfe]);
        assert!(Tuples::default().push(negative.into(), &mut rows).is_err());
    }
}
