//! A stretch of a large file, on one connection: the target tells what it has of it, the source what it needs.
use super::fetch::{lost, next};
use super::large::{Large, Target};
use super::operation::Operation;
use crate::transfer::activity::{Doing, Station};
use crate::transfer::blocks::{
    Answer, BLOCK, Block, BlockReader, Sum, gaps, lay_out, length, of_zeros, range,
};
use crate::transfer::channel::Channel;
use crate::transfer::counters::add;
use crate::transfer::entry::Digest;
use crate::transfer::fault::Fault;
use crate::transfer::protocol::{PeerReply, PeerRequest};
use crate::transfer::write::{punch, write_at, zero};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::ops::Range;

/// So many sums go to the source at a time: it reads the same blocks meanwhile.
const SUMS: usize = 8;

/// One thread's memory: a block that is read, and one that comes.
#[derive(Default)]
pub(crate) struct Hands {
    reader: BlockReader,
    sums: Vec<Sum>,
    content: Vec<u8>,
    block: Vec<u8>,
}

/// A stretch of a file in the hands of one thread.
pub(super) struct Stretch<'p> {
    pub(super) operation: &'p Operation<'p>,
    pub(super) file: &'p Large,
    pub(super) target: &'p Target,
    /// Whether holes can be told, and made.
    pub(super) holes: bool,
    pub(super) blocks: Range<u64>,
}

impl Stretch<'_> {
    /// Where it is in the file.
    pub(super) fn bytes(&self) -> Range<u64> {
        let at = |block: u64| block.saturating_mul(BLOCK).min(self.file.size());
        at(self.blocks.start)..at(self.blocks.end)
    }

    /// Asks for the stretch, and tells what is here of it.
    pub(super) fn tell(&self, channel: &mut Channel, hands: &mut Hands) -> Result<(), Fault> {
        let number = self.blocks.end - self.blocks.start;
        let request = PeerRequest::Blocks {
            path: self.file.path().clone(),
            size: self.file.size(),
            first: self.blocks.start,
            count: number,
        };
        channel.send_now(&request).map_err(lost)?;
        hands.sums.clear();
        hands.reader.begin();
        let mut told = 0;
        for number in self.blocks.clone() {
            self.operation.cancel.check()?;
            let sum = self.sum(channel.station(), &mut hands.reader, number)?;
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

    fn sum(&self, station: &Station, reader: &mut BlockReader, number: u64) -> Result<Sum, Fault> {
        if self.target.blank {
            return Ok(Sum::Hole);
        }
        station.set(Doing::Reading);
        let block = reader.read(
            self.target.file.as_fd(),
            number,
            self.file.size(),
            self.holes,
        );
        station.set(Doing::Computing);
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
    pub(super) fn receive(&self, channel: &mut Channel, hands: &mut Hands) -> Result<(), Fault> {
        match next(channel)? {
            PeerReply::Stretch { metadata, stamp } => self.file.saw(stamp, Some(metadata)),
            PeerReply::Gone => {
                self.file.broke_off();
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
                    self.file.broke_off();
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
        let block = range(number, self.file.size());
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
                channel.station().set(Doing::Writing);
                if sum != Sum::Hole {
                    self.clear(block.clone(), reads_as_zeros)?;
                }
                !reads_as_zeros
            }
            Answer::Zeros => {
                channel.station().set(Doing::Writing);
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
                lay_out(
                    &mut hands.content,
                    extents,
                    length(&block),
                    &mut hands.block,
                )
                .ok_or_else(|| Fault::protocol(format!("content of block {number}")))?;
                self.is_whole(&hands.block, *digest)?;
                channel.station().set(Doing::Writing);
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
        channel.station().set(Doing::Computing);
        self.count(&block, differs, *answer != Answer::Same);
        Ok(())
    }

    fn is_whole(&self, block: &[u8], sent: Digest) -> Result<(), Fault> {
        let received = Digest::from(blake3::hash(block));
        if received == sent {
            return Ok(());
        }
        Err(Fault::Corrupt {
            path: self.file.path().clone(),
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
            self.file.wrote(self.operation, differs);
        }
    }

    fn fault(&self, call: &str, errno: Errno) -> Fault {
        self.operation.volume.fault(self.file.path(), call, errno)
    }
}
