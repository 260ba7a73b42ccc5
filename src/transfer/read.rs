//! Reads the contents of a file, piece by piece, hole by hole.
use super::activity::{Doing, Station};
use super::blocks::Stamp;
use super::entry::{Digest, Time};
use super::fault::Fault;
use super::path::TreePath;
use super::recollection::Look;
use super::volume::{Opener, Volume};
use super::walk::time;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Advice, FileType, SeekFrom, Stat};
use rustix::io::Errno;
use std::num::NonZeroU64;

/// Read and sent at a time.
pub(crate) const PIECE: usize = super::frame::MAX_CONTENT;
/// Holes are passed over in such steps, so that a terabyte of nothing can be stopped.
const HOLE: u64 = 64 << 20;
/// Files from this size on are announced to the kernel as read from front to back.
const LARGE: u64 = 4 << 20;
/// So many files are open before they are read, with their beginnings on the way: a disk that is asked for one small
/// file after the other mostly waits for us.
pub(crate) const AHEAD: usize = 32;
/// What is asked for of each of them.
const BEGINNING: u64 = 128 << 10;

/// A part of a file.
pub(crate) enum Piece<'buffer> {
    Data { offset: u64, bytes: &'buffer [u8] },
    Hole { length: u64 },
}

/// A file that is open for reading.
pub(crate) struct OpenFile {
    file: OwnedFd,
    pub(crate) stat: Stat,
    pub(crate) size: u64,
}

/// What became of a file that was to be read.
pub(crate) enum Opened {
    File(OpenFile),
    /// It is not there any more, or is no file any more.
    Gone,
}

impl OpenFile {
    pub(crate) fn open(
        volume: &Volume,
        opener: &mut Opener<'_>,
        path: &TreePath,
    ) -> Result<Opened, Fault> {
        let file = match opener.open(path) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => {
                return Ok(Opened::Gone);
            }
            Err(errno) => return Err(volume.fault(path, "open", errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| volume.fault(path, "fstat", errno))?;
        let size = match (volume, FileType::from_raw_mode(stat.st_mode)) {
            (Volume::Device(device), _) => device.bytes,
            (_, FileType::RegularFile) => stat.st_size.cast_unsigned(),
            _ => return Ok(Opened::Gone),
        };
        if size >= LARGE {
            // Advice only.
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        }
        Ok(Opened::File(Self { file, stat, size }))
    }

    /// Lets the next reading come from the disk, as far as what is in memory was written.
    pub(crate) fn drop_cache(&self) {
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// Lets the kernel read the beginning, while we do something else. Advice only.
    pub(crate) fn fetch_ahead(&self) {
        if let Some(length) = NonZeroU64::new(self.size.min(BEGINNING)) {
            let _ = rustix::fs::fadvise(&self.file, 0, Some(length), Advice::WillNeed);
        }
    }

    /// Gives all pieces in turn. Ends early when the file became shorter; the length that was read comes back.
    pub(crate) fn read(
        &self,
        buffer: &mut Vec<u8>,
        fault: impl Fn(&str, Errno) -> Fault,
        mut each: impl FnMut(Piece<'_>) -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let sparse = FileType::from_raw_mode(self.stat.st_mode) == FileType::RegularFile
            && self.stat.st_blocks.cast_unsigned().saturating_mul(512) < self.size;
        let wanted = usize::try_from(self.size).unwrap_or(PIECE).clamp(1, PIECE);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let mut position = 0;
        while position < self.size {
            let (start, end) = if sparse {
                data_after(self.file.as_fd(), position, self.size)
                    .map_err(|(call, errno)| fault(call, errno))?
            } else {
                (position, self.size)
            };
            while position < start {
                let length = (start - position).min(HOLE);
                each(Piece::Hole { length })?;
                position += length;
            }
            while position < end {
                let length = usize::try_from(end - position).unwrap_or(PIECE).min(PIECE);
                match rustix::io::pread(&self.file, &mut buffer[..length], position) {
                    Ok(0) => return Ok(position),
                    Ok(count) => {
                        each(Piece::Data {
                            offset: position,
                            bytes: &buffer[..count],
                        })?;
                        position += count as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(fault("read", errno)),
                }
            }
        }
        Ok(position)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether it may have holes: a device has none that could be told.
    pub(crate) fn may_have_holes(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::RegularFile
    }

    /// What it was when it was opened.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp_of(&self.stat)
    }

    /// What it is now.
    pub(crate) fn stamp_now(&self) -> Result<Stamp, Errno> {
        Ok(self.stamp_of(&rustix::fs::fstat(&self.file)?))
    }

    fn stamp_of(&self, stat: &Stat) -> Stamp {
        if !self.may_have_holes() {
            // A device's times are those of its node.
            return Stamp {
                inode: 0,
                size: self.size,
                modified: Time::default(),
                changed: Time::default(),
            };
        }
        Stamp {
            inode: stat.st_ino,
            size: stat.st_size.cast_unsigned(),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether the file is as it was when it was opened.
    pub(crate) fn is_unchanged(&self) -> Result<bool, Errno> {
        Ok(self.stamp_now()? == self.stamp())
    }
}

/// The next stretch of data from here on; empty at the end of the file when only a hole is left.
pub(crate) fn data_after(
    file: BorrowedFd<'_>,
    position: u64,
    size: u64,
) -> Result<(u64, u64), (&'static str, Errno)> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(position)) {
        Ok(start) => start.min(size),
        Err(Errno::NXIO) => return Ok((size, size)),
        // This file system cannot tell holes.
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok((position, size)),
        Err(errno) => return Err(("lseek(SEEK_DATA)", errno)),
    };
    match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) => Ok((start, end.min(size))),
        Err(Errno::NXIO) => Ok((start, size)),
        Err(errno) => Err(("lseek(SEEK_HOLE)", errno)),
    }
}

/// Takes so many zeros into a digest: a hole's contents.
pub(crate) fn hash_zeros(hasher: &mut blake3::Hasher, mut length: u64) {
    static ZEROS: [u8; 128 << 10] = [0; 128 << 10];
    while length > 0 {
        let count = usize::try_from(length)
            .unwrap_or(ZEROS.len())
            .min(ZEROS.len());
        hasher.update(&ZEROS[..count]);
        length -= count as u64;
    }
}

/// What became known of a file.
pub(crate) struct Digested {
    pub(crate) length: u64,
    pub(crate) digest: Digest,
    /// It was not read now, but before.
    pub(crate) recalled: bool,
}

/// How a file is digested.
#[derive(Clone, Copy, Default)]
pub(crate) struct How<'a> {
    /// Read from the disk, not from what is in memory.
    pub(crate) from_disk: bool,
    /// What was read before.
    pub(crate) look: Option<Look<'a>>,
    /// It is not worth reading if it was not read before.
    pub(crate) recall_only: bool,
}

/// A file that is about to be digested.
pub(crate) enum ToDigest {
    /// It went.
    Gone,
    /// It was read before, or is not to be read.
    Known(Option<Digested>),
    /// It is open, and its beginning on the way.
    Open(OpenFile),
}

impl ToDigest {
    pub(crate) fn open(
        volume: &Volume,
        opener: &mut Opener<'_>,
        path: &TreePath,
        how: How<'_>,
    ) -> Result<Self, Fault> {
        let Opened::File(file) = OpenFile::open(volume, opener, path)? else {
            return Ok(Self::Gone);
        };
        if let Some(digest) = how.look.and_then(|look| look.recall(path, &file.stamp())) {
            return Ok(Self::Known(Some(Digested {
                length: file.size,
                digest,
                recalled: true,
            })));
        }
        if how.recall_only {
            return Ok(Self::Known(None));
        }
        if how.from_disk {
            file.drop_cache();
        }
        file.fetch_ahead();
        Ok(Self::Open(file))
    }

    /// Digests it; none when it changed or went meanwhile. `each` hears of every piece's length and may stop it.
    pub(crate) fn digest(
        self,
        station: &Station,
        volume: &Volume,
        path: &TreePath,
        how: How<'_>,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(u64) -> Result<(), Fault>,
    ) -> Result<Option<Digested>, Fault> {
        let _at = station.at(Doing::Reading);
        let file = match self {
            Self::Gone => return Ok(None),
            Self::Known(known) => {
                if let Some(known) = &known {
                    each(known.length)?;
                }
                return Ok(known);
            }
            Self::Open(file) => file,
        };
        let mut hasher = blake3::Hasher::new();
        let fault = |call: &str, errno| volume.fault(path, call, errno);
        let length = file.read(buffer, fault, |piece| {
            let length = station.during(Doing::Computing, || match piece {
                Piece::Data { bytes, .. } => {
                    hasher.update(bytes);
                    bytes.len() as u64
                }
                Piece::Hole { length } => {
                    hash_zeros(&mut hasher, length);
                    length
                }
            });
            each(length)
        })?;
        let unchanged = file.is_unchanged().map_err(|errno| fault("fstat", errno))?;
        if !unchanged || length != file.size {
            return Ok(None);
        }
        let digest = hasher.finalize().into();
        if let Some(look) = how.look.filter(|look| look.is_of(file.stat.st_dev)) {
            look.remember(path, &file.stamp(), digest);
        }
        Ok(Some(Digested {
            length,
            digest,
            recalled: false,
        }))
    }
}
