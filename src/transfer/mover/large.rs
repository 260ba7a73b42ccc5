//! A large file, or a device, at the target: compared and written by blocks, in its place.
//!
//! In its place, not beside it: twice the room is what a volume of one database does not have. What is half written
//! keeps another time of change than the source's file, so that the next round looks at it again; what is there is
//! not sent again.
use super::fetch::{RETRIES, lost, next};
use super::operation::Operation;
use super::queue::Queue;
use crate::transfer::blocks::{
    Answer, Block, BlockReader, STRETCH, Stamp, Sum, count, gaps, lay_out, length, of_zeros, range,
};
use crate::transfer::channel::Channel;
use crate::transfer::compare::same_metadata;
use crate::transfer::counters::add;
use crate::transfer::entry::{Digest, Kind, Metadata};
use crate::transfer::fault::Fault;
use crate::transfer::metadata::Before;
use crate::transfer::path::TreePath;
use crate::transfer::protocol::{PeerReply, PeerRequest};
use crate::transfer::report::{Phase, RoundKind};
use crate::transfer::volume::Device;
use crate::transfer::walk;
use crate::transfer::write::{Writer, punch, write_at, zero};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Advice, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many sums go to the source at a time: it reads the same blocks meanwhile.
const SUMS: usize = 8;

/// See the module. Its threads each have a stretch of it.
pub(crate) struct Large {
    path: TreePath,
    size: u64,
    /// What is there under its name; none where nothing is that could be written into.
    old: Option<Metadata>,
    /// How often it was looked at before in this round.
    attempt: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    target: Option<Target>,
    /// What the source said of it first.
    metadata: Option<Metadata>,
    stamp: Option<Stamp>,
    /// The source said different things of it, or could not read all of it.
    changed: bool,
    stretches_done: u64,
    moved: bool,
    written: bool,
}

#[derive(Clone)]
struct Target {
    file: Arc<OwnedFd>,
    /// In this round.
    made: bool,
    /// Nothing is in it yet.
    blank: bool,
}

/// Where large files are written.
pub(crate) enum Ground<'g, 'w> {
    Tree(&'g mut Writer<'w>),
    Device(&'g Device),
}

/// One thread's memory: a block that is read, and one that comes.
#[derive(Default)]
pub(crate) struct Hands {
    reader: BlockReader,
    sums: Vec<Sum>,
    content: Vec<u8>,
    block: Vec<u8>,
}

impl Large {
    pub(crate) fn new(path: TreePath, size: u64, old: Option<Metadata>) -> Self {
        let inner = Inner {
            moved: old.is_none(),
            ..Inner::default()
        };
        Self {
            path,
            size,
            old,
            attempt: 0,
            inner: Mutex::new(inner),
        }
    }

    #[cfg(test)]
    pub(crate) fn path(&self) -> &TreePath {
        &self.path
    }

    /// In how many parts it is worked on; an empty one has a part, too.
    pub(crate) fn stretches(&self) -> u64 {
        count(self.size).div_ceil(STRETCH).max(1)
    }

    fn blocks(&self, stretch: u64) -> Range<u64> {
        let first = stretch * STRETCH;
        first..(first + STRETCH).min(count(self.size))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file to write into; whoever comes first opens or makes it.
    fn target(
        &self,
        operation: &Operation<'_>,
        ground: &mut Ground<'_, '_>,
    ) -> Result<Target, Fault> {
        let mut inner = self.lock();
        if let Some(target) = &inner.target {
            return Ok(target.clone());
        }
        let fault = |call: &str, errno| operation.volume.fault(&self.path, call, errno);
        let target = match ground {
            Ground::Device(device) => {
                let file = device.reopen(true).map_err(|errno| fault("open", errno))?;
                Target::of(file, false)
            }
            Ground::Tree(writer) => match self.in_place(writer)? {
                Some(file) => {
                    let stat = rustix::fs::fstat(&file).map_err(|errno| fault("fstat", errno))?;
                    if stat.st_size.cast_unsigned() != self.size {
                        inner.differs(operation);
                        inner.written = true;
                        rustix::fs::ftruncate(&file, self.size)
                            .map_err(|errno| fault("ftruncate", errno))?;
                    }
                    Target::of(file, false)
                }
                None => {
                    if self.old.is_some() {
                        inner.differs(operation);
                        add(&operation.counters.bytes_to_move, self.size);
                    }
                    Target::of(writer.make_in_place(&self.path, self.size)?, true)
                }
            },
        };
        inner.target = Some(target.clone());
        Ok(target)
    }

    fn in_place(&self, writer: &mut Writer<'_>) -> Result<Option<OwnedFd>, Fault> {
        match self.old {
            Some(_) => writer.open_in_place(&self.path),
            None => Ok(None),
        }
    }

    /// Takes in what the source says of the file now.
    fn saw(&self, stamp: Stamp, metadata: Option<Metadata>) {
        let mut inner = self.lock();
        inner.changed |= stamp.size != self.size || inner.stamp.is_some_and(|seen| seen != stamp);
        inner.stamp = Some(stamp);
        if inner.metadata.is_none() {
            inner.metadata = metadata;
        }
    }

    /// The same file for another look, as it is at the source by now.
    fn once_more(&self, operation: &Operation<'_>, device: bool) -> Result<Self, Fault> {
        let inner = self.lock();
        let size = match inner.stamp {
            Some(stamp) if !device => stamp.size,
            _ => self.size,
        };
        let mut target = inner.target.clone();
        if let Some(target) = &mut target {
            target.blank = false;
            if size != self.size {
                rustix::fs::ftruncate(&target.file, size)
                    .map_err(|errno| operation.volume.fault(&self.path, "ftruncate", errno))?;
            }
        }
        let inner = Inner {
            target,
            moved: inner.moved,
            written: inner.written || size != self.size,
            ..Inner::default()
        };
        Ok(Self {
            path: self.path.clone(),
            size,
            old: self.old.clone(),
            attempt: self.attempt + 1,
            inner: Mutex::new(inner),
        })
    }
}

impl Target {
    fn of(file: OwnedFd, made: bool) -> Self {
        Self {
            file: Arc::new(file),
            made,
            blank: made,
        }
    }
}

impl Inner {
    /// It is not what the source has.
    fn differs(&mut self, operation: &Operation<'_>) {
        if !self.moved {
            self.moved = true;
            add(&operation.counters.files_to_move, 1);
        }
    }
}

/// What the threads that fetch share, and what each has.
pub(crate) struct Fetching<'f> {
    pub(crate) operation: &'f Operation<'f>,
    pub(crate) kind: RoundKind,
    pub(crate) queue: &'f Queue<'f>,
}

impl Fetching<'_> {
    /// Makes a stretch of a file what it is at the source; with the last one, all of the file.
    pub(crate) fn stretch(
        &self,
        channel: &mut Channel,
        ground: &mut Ground<'_, '_>,
        hands: &mut Hands,
        file: &Arc<Large>,
        stretch: u64,
    ) -> Result<(), Fault> {
        self.operation.counters.set_path(&file.path);
        let target = file.target(self.operation, ground)?;
        let part = Part {
            operation: self.operation,
            file,
            target: &target,
            holes: matches!(ground, Ground::Tree(_)),
            blocks: file.blocks(stretch),
        };
        part.tell(channel, hands)?;
        part.receive(channel, hands)?;
        let mut inner = file.lock();
        inner.stretches_done += 1;
        let last = inner.stretches_done == file.stretches();
        drop(inner);
        if last {
            self.finish(ground, file, &target)?;
        }
        Ok(())
    }

    fn finish(
        &self,
        ground: &mut Ground<'_, '_>,
        file: &Large,
        target: &Target,
    ) -> Result<(), Fault> {
        let (operation, counters) = (self.operation, self.operation.counters);
        let inner = file.lock();
        let wanted = inner.metadata.clone().filter(|_| !inner.changed);
        let (moved, written) = (inner.moved, inner.written);
        drop(inner);
        let Some(wanted) = wanted else {
            let device = matches!(ground, Ground::Device(_));
            // While its writers work it will only have changed again: what is new comes with the next round.
            if self.kind == RoundKind::Final && file.attempt < RETRIES {
                self.queue
                    .again(Arc::new(file.once_more(operation, device)?));
            } else {
                if let Ground::Tree(_) = ground {
                    leave_unfinished(&target.file)
                        .map_err(|errno| operation.volume.fault(&file.path, "utimensat", errno))?;
                }
                operation.note_changed(&file.path);
                self.queue.finished();
            }
            return Ok(());
        };
        if !target.made {
            add(&counters.files_checked, 1);
        }
        let fault = |call: &str, errno| operation.volume.fault(&file.path, call, errno);
        // Also what is the same by now: an earlier try may have written it and ended before it was synced.
        if matches!(ground, Ground::Device(_)) {
            counters.set_phase(Phase::Settling);
        }
        rustix::fs::fsync(&target.file).map_err(|errno| fault("fsync", errno))?;
        if written || target.made {
            // What verifies it is to read the disk. Advice only.
            let _ = rustix::fs::fadvise(&target.file, 0, None, Advice::DontNeed);
        }
        let mut described = false;
        if let Ground::Tree(writer) = ground {
            let now = rustix::fs::fstat(&target.file).map_err(|errno| fault("fstat", errno))?;
            let xattrs = file.old.as_ref().map_or(&[][..], |old| &old.xattrs);
            let now = walk::metadata(&now, xattrs.to_vec());
            let kind = Kind::File {
                size: file.size,
                digest: None,
            };
            let before = match (target.made, written || now.xattrs != wanted.xattrs) {
                (true, _) => Before::None,
                (false, true) => Before::Any,
                (false, false) => Before::Same,
            };
            if target.made || written || !same_metadata(&kind, &wanted, &now) {
                described = true;
                writer.describe(&target.file, &file.path, &wanted, before)?;
            }
        }
        if moved {
            add(&counters.files_moved, 1);
        } else {
            add(&counters.files_same, 1);
            add(&counters.metadata_fixed, u64::from(described));
        }
        self.queue.finished();
        Ok(())
    }
}

/// Gives a file that is not whole a time that its source does not have. On one node both were written last in the same
/// tick of the clock, perhaps.
fn leave_unfinished(file: &OwnedFd) -> Result<(), Errno> {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps {
        last_access: time(UTIME_OMIT),
        last_modification: time(1),
    };
    match rustix::fs::futimens(file, &times) {
        // Its times cannot be set at all, which is a finding when it is whole.
        Err(Errno::PERM | Errno::NOTSUP) => Ok(()),
        result => result,
    }
}

/// A stretch of a file in the hands of one thread.
struct Part<'p> {
    operation: &'p Operation<'p>,
    file: &'p Large,
    target: &'p Target,
    /// Whether holes can be told, and made.
    holes: bool,
    blocks: Range<u64>,
}

impl Part<'_> {
    /// Asks for the stretch, and tells what is here of it.
    fn tell(&self, channel: &mut Channel, hands: &mut Hands) -> Result<(), Fault> {
        let number = self.blocks.end - self.blocks.start;
        let request = PeerRequest::Blocks {
            path: self.file.path.clone(),
            size: self.file.size,
            first: self.blocks.start,
            count: number,
        };
        channel.send_now(&request).map_err(lost)?;
        hands.sums.clear();
        hands.reader.begin();
        let mut told = 0;
        for number in self.blocks.clone() {
            self.operation.cancel.check()?;
            let sum = self.sum(&mut hands.reader, number)?;
            hands.sums.push(sum);
            if !self.target.blank && hands.sums.len() - told == SUMS {
                let sums = hands.sums[told..].to_vec();
                channel.send_now(&PeerRequest::Sums(sums)).map_err(lost)?;
                told = hands.sums.len();
            }
        }
        if told < hands.sums.len() {
            let sums = hands.sums[told..].to_vec();
            channel.send_now(&PeerRequest::Sums(sums)).map_err(lost)?;
        }
        Ok(())
    }

    fn sum(&self, reader: &mut BlockReader, number: u64) -> Result<Sum, Fault> {
        if self.target.blank {
            return Ok(Sum::Hole);
        }
        let block = reader.read(self.target.file.as_fd(), number, self.file.size, self.holes);
        let block = block.map_err(|(call, errno)| self.fault(call, errno))?;
        Ok(match block {
            // Whoever cut it short here has no business with it: what is missing is sent.
            Block::Hole | Block::Ended => Sum::Hole,
            Block::Data { bytes, .. } => {
                add(&self.operation.counters.bytes_checked, bytes.len() as u64);
                Sum::Data(blake3::hash(bytes).into())
            }
        })
    }

    /// Takes what the source answers.
    fn receive(&self, channel: &mut Channel, hands: &mut Hands) -> Result<(), Fault> {
        match next(channel)? {
            PeerReply::Stretch { metadata, stamp } => self.file.saw(stamp, Some(metadata)),
            PeerReply::Gone => {
                self.file.lock().changed = true;
                return Ok(());
            }
            other => return Err(Fault::protocol(format!("a stretch, not {other:?}"))),
        }
        for expected in self.blocks.clone() {
            self.operation.cancel.check()?;
            match next(channel)? {
                PeerReply::Block { number, answer } if number == expected => {
                    self.take(channel, hands, number, &answer)?;
                }
                PeerReply::Changed => {
                    self.file.lock().changed = true;
                    return Ok(());
                }
                other => {
                    return Err(Fault::protocol(format!("block {expected}, not {other:?}")));
                }
            }
        }
        match next(channel)? {
            PeerReply::StretchEnd { stamp } => self.file.saw(stamp, None),
            other => return Err(Fault::protocol(format!("a stretch's end, not {other:?}"))),
        }
        Ok(())
    }

    fn take(
        &self,
        channel: &mut Channel,
        hands: &mut Hands,
        number: u64,
        answer: &Answer,
    ) -> Result<(), Fault> {
        let block = range(number, self.file.size);
        let sum = usize::try_from(number - self.blocks.start)
            .ok()
            .and_then(|at| hands.sums.get(at).copied())
            .unwrap_or(Sum::Hole);
        let reads_as_zeros = match sum {
            Sum::Hole => true,
            Sum::Data(digest) => digest == of_zeros(length(&block)),
        };
        let differs = match answer {
            Answer::Same => false,
            Answer::Hole => {
                if sum != Sum::Hole {
                    self.clear(block.clone(), reads_as_zeros)?;
                }
                !reads_as_zeros
            }
            Answer::Zeros => {
                zero(self.target.file.as_fd(), block.clone())
                    .map_err(|errno| self.fault("write", errno))?;
                !reads_as_zeros
            }
            Answer::Data { digest, extents } => {
                channel.receive_content(&mut hands.content).map_err(lost)?;
                add(
                    &self.operation.counters.bytes_sent,
                    hands.content.len() as u64,
                );
                lay_out(&hands.content, extents, length(&block), &mut hands.block)
                    .ok_or_else(|| Fault::protocol(format!("content of block {number}")))?;
                self.is_whole(&hands.block, *digest)?;
                if sum != Sum::Hole {
                    for gap in gaps(extents, hands.block.len()) {
                        let at = |within: usize| block.start + within as u64;
                        self.clear(at(gap.start)..at(gap.end), false)?;
                    }
                }
                for extent in extents {
                    let bytes = &hands.block[extent.range()];
                    let offset = block.start + u64::from(extent.start);
                    write_at(self.target.file.as_fd(), offset, bytes)
                        .map_err(|errno| self.fault("write", errno))?;
                }
                true
            }
        };
        self.count(&block, differs, *answer != Answer::Same);
        Ok(())
    }

    fn is_whole(&self, block: &[u8], sent: Digest) -> Result<(), Fault> {
        let received = Digest::from(blake3::hash(block));
        if received == sent {
            return Ok(());
        }
        Err(Fault::Corrupt {
            path: self.file.path.clone(),
            sent,
            received,
        })
    }

    /// Makes a hole; zeros, where there can be none and something else is there.
    fn clear(&self, part: Range<u64>, reads_as_zeros: bool) -> Result<(), Fault> {
        let file = self.target.file.as_fd();
        let punched = punch(file, part.clone()).map_err(|errno| self.fault("fallocate", errno))?;
        if !punched && !reads_as_zeros {
            zero(file, part).map_err(|errno| self.fault("write", errno))?;
        }
        Ok(())
    }

    fn count(&self, block: &Range<u64>, differs: bool, written: bool) {
        let counters = self.operation.counters;
        if differs && !self.target.blank {
            add(&counters.bytes_to_move, block.end - block.start);
        }
        if differs || self.target.blank {
            add(&counters.bytes_moved, block.end - block.start);
        }
        if written {
            let mut inner = self.file.lock();
            inner.written = true;
            if differs {
                inner.differs(self.operation);
            }
        }
    }

    fn fault(&self, call: &str, errno: Errno) -> Fault {
        self.operation.volume.fault(&self.file.path, call, errno)
    }
}
