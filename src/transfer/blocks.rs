//! Large files and devices, block by block: both sides digest the same blocks at the same time, and only those that
//! differ are sent.
//!
//! The target tells what it has of a stretch of blocks, one sum each; the source reads the same blocks, and answers
//! each with what the target needs to have the same. Either side reads a block once, and neither keeps more than one
//! block and the sums of one stretch, however large the file is.
use super::entry::{Digest, Time};
use super::read::{data_after, hash_zeros};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::LazyLock;

/// The length of a block; the last one of a file is shorter.
pub(crate) const BLOCK: u64 = super::frame::MAX_CONTENT as u64;
/// So many blocks are asked for at once, on one connection: a file of four such stretches uses four.
pub(crate) const STRETCH: u64 = 64;
/// Files from this size on go by blocks.
pub(crate) const BY_BLOCKS: u64 = 16 << 20;

/// What the target has in the place of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Sum {
    /// Nothing but a hole.
    Hole,
    /// Contents of this digest, holes read as zeros.
    Data(Digest),
}

/// What the target has to do with a block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Nothing.
    Same,
    /// It is a hole at the source.
    Hole,
    /// It is zeros at the source that take room there.
    Zeros,
    /// A frame of content follows: what lies in these extents, one after the other. Between them are holes.
    Data {
        /// The digest of the whole block, holes read as zeros.
        digest: Digest,
        extents: Vec<Extent>,
    },
}

/// Data between holes; counted from the beginning of its block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) start: u32,
    pub(crate) length: u32,
}

/// By what a file is told from the same file after a change, and from another one of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
}

impl Extent {
    pub(crate) fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.length as usize
    }
}

/// How many blocks a file has.
pub(crate) fn count(size: u64) -> u64 {
    size.div_ceil(BLOCK)
}

/// Where a block lies in a file of this size.
pub(crate) fn range(number: u64, size: u64) -> Range<u64> {
    let start = number.saturating_mul(BLOCK).min(size);
    start..start.saturating_add(BLOCK).min(size)
}

/// The length of a block.
pub(crate) fn length(range: &Range<u64>) -> usize {
    // At most a block.
    usize::try_from(range.end - range.start).unwrap_or(0)
}

/// The digest of a block that is nothing but zeros.
pub(crate) fn of_zeros(length: usize) -> Digest {
    static WHOLE: LazyLock<Digest> = LazyLock::new(|| made_of_zeros(BLOCK));
    if length as u64 == BLOCK {
        *WHOLE
    } else {
        made_of_zeros(length as u64)
    }
}

fn made_of_zeros(length: u64) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hash_zeros(&mut hasher, length);
    hasher.finalize().into()
}

/// What lies in the extents of a block, one after the other.
pub(crate) fn gather<'a>(
    bytes: &'a [u8],
    extents: &[Extent],
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    if let [only] = extents {
        return bytes.get(only.range()).unwrap_or_default();
    }
    scratch.clear();
    for extent in extents {
        scratch.extend_from_slice(bytes.get(extent.range()).unwrap_or_default());
    }
    scratch
}

/// Lays what came in extents out as the block that it was; none where the extents cannot be those of a block of this
/// length, or not of this content. What was in `content` may be in `block` then, and the other way round.
pub(crate) fn lay_out(
    content: &mut Vec<u8>,
    extents: &[Extent],
    length: usize,
    block: &mut Vec<u8>,
) -> Option<()> {
    if let [only] = extents
        && only.range() == (0..content.len())
        && content.len() == length
        && length > 0
    {
        std::mem::swap(content, block);
        return Some(());
    }
    block.clear();
    block.resize(length, 0);
    let (mut rest, mut end) = (&content[..], 0);
    for extent in extents {
        let range = extent.range();
        if range.is_empty() || range.start < end {
            return None;
        }
        end = range.end;
        let (bytes, after) = rest.split_at_checked(range.len())?;
        block.get_mut(range)?.copy_from_slice(bytes);
        rest = after;
    }
    (rest.is_empty() && end > 0).then_some(())
}

/// Where a block has holes, in a block of this length.
pub(crate) fn gaps(extents: &[Extent], length: usize) -> Vec<Range<usize>> {
    let mut gaps = Vec::new();
    let mut end = 0;
    for extent in extents {
        let range = extent.range();
        gaps.push(end..range.start);
        end = range.end;
    }
    gaps.push(end..length);
    gaps.retain(|gap| !gap.is_empty());
    gaps
}

/// A block as it was read.
pub(crate) enum Block<'reader> {
    Hole,
    /// Holes read as zeros; the extents say where there are none.
    Data {
        bytes: &'reader [u8],
        extents: &'reader [Extent],
    },
    /// The file ends before the block does.
    Ended,
}

/// Reads blocks of one file after the other, with the memory of one block.
#[derive(Default)]
pub(crate) struct BlockReader {
    buffer: Vec<u8>,
    extents: Vec<Extent>,
    /// The stretch of data that was found last.
    data: Range<u64>,
}

impl BlockReader {
    /// Forgets the file before.
    pub(crate) fn begin(&mut self) {
        self.data = 0..0;
    }

    /// Reads a block of a file that is taken to be of this size. Where `holes` is false it is known to have none.
    pub(crate) fn read(
        &mut self,
        file: BorrowedFd<'_>,
        number: u64,
        size: u64,
        holes: bool,
    ) -> Result<Block<'_>, (&'static str, Errno)> {
        let block = range(number, size);
        self.extents.clear();
        self.buffer.resize(length(&block), 0);
        let mut position = block.start;
        while position < block.end {
            let data = if holes {
                self.data_after(file, position, size)?
            } else {
                position..block.end
            };
            let data = data.start.min(block.end)..data.end.min(block.end);
            self.buffer[within(&block, position..data.start)].fill(0);
            if data.is_empty() {
                break;
            }
            let part = within(&block, data.clone());
            if !read_whole(file, data.start, &mut self.buffer[part.clone()])? {
                return Ok(Block::Ended);
            }
            // Within a block, whose length fits.
            let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            self.extents.push(Extent {
                start: number(part.start),
                length: number(part.len()),
            });
            position = data.end;
        }
        Ok(if self.extents.is_empty() {
            Block::Hole
        } else {
            Block::Data {
                bytes: &self.buffer,
                extents: &self.extents,
            }
        })
    }

    fn data_after(
        &mut self,
        file: BorrowedFd<'_>,
        position: u64,
        size: u64,
    ) -> Result<Range<u64>, (&'static str, Errno)> {
        if self.data.end <= position {
            let (start, end) = data_after(file, position, size)?;
            self.data = start..end;
        }
        Ok(self.data.start.max(position)..self.data.end)
    }
}

/// A part of a file as a part of one of its blocks.
fn within(block: &Range<u64>, part: Range<u64>) -> Range<usize> {
    length(&(block.start..part.start))..length(&(block.start..part.end))
}

/// Fills the buffer; false where the file ends before.
fn read_whole(
    file: BorrowedFd<'_>,
    mut offset: u64,
    mut into: &mut [u8],
) -> Result<bool, (&'static str, Errno)> {
    while !into.is_empty() {
        match rustix::io::pread(file, &mut *into, offset) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                into = &mut into[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(("read", errno)),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileExt as _;

    fn extent(start: u32, length: u32) -> Extent {
        Extent { start, length }
    }

    /// What a block reads as: none for a hole.
    fn read(file: &File, number: u64, size: u64) -> Option<(Vec<u8>, Vec<Extent>)> {
        let mut reader = BlockReader::default();
        match reader.read(file.as_fd(), number, size, true).unwrap() {
            Block::Hole => None,
            Block::Data { bytes, extents } => Some((bytes.to_vec(), extents.to_vec())),
            Block::Ended => panic!("the file ends"),
        }
    }

    #[test]
    fn blocks_are_read_with_their_holes_and_laid_out_again() {
        let file = tempfile::tempfile().unwrap();
        let size = 3 * BLOCK + 5000;
        file.set_len(size).unwrap();
        file.write_all_at(&[1; 4096], 8192).unwrap();
        file.write_all_at(&[2; 4096], BLOCK - 4096).unwrap();
        file.write_all_at(&[3; 10], size - 10).unwrap();
        let (bytes, extents) = read(&file, 0, size).unwrap();
        assert_eq!(
            extents,
            [extent(8192, 4096), extent((1 << 20) - 4096, 4096)]
        );
        assert_eq!(bytes.len() as u64, BLOCK);
        let mut scratch = Vec::new();
        let content = gather(&bytes, &extents, &mut scratch);
        assert_eq!(content.len(), 8192);
        let mut again = vec![9; 7];
        lay_out(&mut content.to_vec(), &extents, bytes.len(), &mut again).unwrap();
        assert!(again == bytes);
        assert_eq!(
            gaps(&extents, bytes.len()),
            [0..8192, 12288..(1 << 20) - 4096]
        );
        assert!(read(&file, 1, size).is_none() && read(&file, 2, size).is_none());
        let (bytes, extents) = read(&file, 3, size).unwrap();
        assert_eq!((bytes.len(), extents), (5000, vec![extent(4096, 904)]));
        assert_eq!(
            (&bytes[..4990], &bytes[4990..]),
            (&[0; 4990][..], &[3; 10][..])
        );
        assert_eq!(count(size), 4);
        assert_eq!(range(3, size), 3 * BLOCK..size);
    }

    #[test]
    fn a_file_that_ends_early_is_told_and_not_filled_up() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 5000], 0).unwrap();
        let mut reader = BlockReader::default();
        let block = reader.read(file.as_fd(), 0, 9000, false).unwrap();
        assert!(matches!(block, Block::Ended));
        // Behind its end is a hole, as far as the file system tells.
        let (bytes, extents) = read(&file, 0, 9000).unwrap();
        assert_eq!((bytes.len(), extents), (9000, vec![extent(0, 5000)]));
    }

    #[test]
    fn extents_that_cannot_be_are_refused() {
        let mut block = Vec::new();
        for extents in [
            &[][..],
            &[extent(0, 0)],
            &[extent(0, 3)],
            &[extent(0, 5)],
            &[extent(8, 4)],
            &[extent(u32::MAX, 4)],
            &[extent(2, 2), extent(0, 2)],
            &[extent(0, 3), extent(2, 1)],
        ] {
            assert_eq!(
                lay_out(&mut b"four".to_vec(), extents, 10, &mut block),
                None,
                "{extents:?}"
            );
        }
        let mut four = b"four".to_vec();
        lay_out(&mut four, &[extent(1, 1), extent(7, 3)], 10, &mut block).unwrap();
        assert_eq!(block, b"\0f\0\0\0\0\0our");
        lay_out(&mut four, &[extent(0, 4)], 4, &mut block).unwrap();
        assert_eq!(block, b"four");
    }

    #[test]
    fn zeros_have_one_digest_whether_they_are_kept_or_made() {
        for length in [0, 1, 5000, 1 << 20] {
            assert_eq!(of_zeros(length), blake3::hash(&vec![0; length]).into());
        }
    }
}
