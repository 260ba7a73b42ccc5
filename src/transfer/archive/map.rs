//! Where a sparse file has data, and how that stands in an archive (`GNU.sparse` 1.0).
use super::head::BLOCK;
use crate::transfer::read::{OpenFile, data_after};
use rustix::io::Errno;

/// Smaller files are kept whole: a map and its padding take as much as their holes.
const LEAST: u64 = 64 << 10;
/// A map has no more stretches than these: it is held in memory. In a file with more the smallest holes are filled.
pub(super) const MOST: usize = 100_000;

/// A stretch of data: where it begins and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stretch {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

/// The data of a file of this size; between its stretches are holes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Map {
    pub(crate) size: u64,
    pub(crate) data: Vec<Stretch>,
}

impl Map {
    /// The map of a file that has holes; none for one that has none worth it.
    pub(crate) fn of(file: &OpenFile) -> Result<Option<Self>, (&'static str, Errno)> {
        let taken = file.stat.st_blocks.cast_unsigned().saturating_mul(512);
        if file.size < LEAST || taken >= file.size || !file.may_have_holes() {
            return Ok(None);
        }
        let mut map = Self {
            size: file.size,
            data: Vec::new(),
        };
        let (mut position, mut hole) = (0, 0);
        while position < file.size {
            let (start, end) = data_after(file.fd(), position, file.size)?;
            if start < end {
                map.add(start, end, hole);
            }
            if map.data.len() > MOST {
                hole = if hole == 0 { 8 << 10 } else { hole * 2 };
                map.fill(hole);
            }
            position = end.max(position + 1);
        }
        let whole = [Stretch {
            start: 0,
            length: file.size,
        }];
        Ok((map.data != whole).then_some(map))
    }

    /// Adds a stretch; a hole before it that is smaller than this is data.
    fn add(&mut self, start: u64, end: u64, hole: u64) {
        match self.data.last_mut() {
            Some(last) if start - (last.start + last.length) < hole.max(1) => {
                last.length = end - last.start;
            }
            _ => self.data.push(Stretch {
                start,
                length: end - start,
            }),
        }
    }

    fn fill(&mut self, hole: u64) {
        for Stretch { start, length } in std::mem::take(&mut self.data) {
            self.add(start, start + length, hole);
        }
    }

    /// How many bytes of it are data.
    pub(crate) fn stored(&self) -> u64 {
        self.data.iter().map(|stretch| stretch.length).sum()
    }

    /// As it stands before the data, padded to whole blocks.
    pub(crate) fn encode(&self) -> Vec<u8> {
        use std::fmt::Write as _;
        // Where the file ends in a hole, nothing but a stretch of no length tells how far that goes.
        let last = self.data.last().map_or(0, |last| last.start + last.length);
        let end = (last < self.size).then_some(Stretch {
            start: self.size,
            length: 0,
        });
        let mut text = String::new();
        let count = self.data.len() + usize::from(end.is_some());
        let _ = writeln!(text, "{count}");
        for Stretch { start, length } in self.data.iter().chain(&end) {
            let _ = writeln!(text, "{start}\n{length}");
        }
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    /// Reads a map of at most so many stretches, and one that tells the end, number by number.
    pub(crate) fn decode(
        size: u64,
        most: usize,
        mut number: impl FnMut() -> Option<u64>,
    ) -> Option<Self> {
        let count = usize::try_from(number()?).ok()?;
        if count > most.saturating_add(1) {
            return None;
        }
        let mut map = Self {
            size,
            data: Vec::new(),
        };
        let mut least = 0;
        for _ in 0..count {
            let (start, length) = (number()?, number()?);
            let end = start.checked_add(length)?;
            if start < least || end > size {
                return None;
            }
            least = end;
            if length > 0 {
                map.data.push(Stretch { start, length });
            }
        }
        Some(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(size: u64, data: &[(u64, u64)]) -> Map {
        let data = data.iter();
        Map {
            size,
            data: data
                .map(|(start, length)| Stretch {
                    start: *start,
                    length: *length,
                })
                .collect(),
        }
    }

    fn read(bytes: &[u8], size: u64) -> Option<Map> {
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        let mut lines = text.trim_end_matches('\0').lines();
        Map::decode(size, 2, || lines.next()?.parse().ok())
    }

    #[test]
    fn a_map_is_read_as_it_was_written() {
        for (map, text) in [
            (map(10, &[(2, 3)]), "2\n2\n3\n10\n0\n"),
            (map(10, &[(0, 1), (8, 2)]), "2\n0\n1\n8\n2\n"),
            (map(10, &[]), "1\n10\n0\n"),
        ] {
            let bytes = map.encode();
            assert_eq!(bytes.len(), BLOCK);
            assert!(bytes.starts_with(text.as_bytes()));
            assert_eq!(read(&bytes, 10), Some(map));
        }
    }

    #[test]
    fn a_map_that_leaves_its_file_goes_back_or_is_too_long_is_refused() {
        for text in [
            "1\n8\n3\n",
            "2\n4\n2\n3\n1\n",
            "2\n4\n2\n",
            "1\n9\n18446744073709551615\n",
            "-1\n",
            "4\n0\n1\n2\n1\n4\n1\n10\n0\n",
        ] {
            assert_eq!(read(text.as_bytes(), 10), None, "{text}");
        }
    }

    #[test]
    fn of_too_many_stretches_the_smallest_holes_are_filled() {
        let mut many = map(1 << 40, &[(0, 10), (15, 5), (100, 10), (105_000, 1)]);
        many.fill(64);
        assert_eq!(many.data, map(0, &[(0, 20), (100, 10), (105_000, 1)]).data);
    }
}
