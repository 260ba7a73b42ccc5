//! What the source's mover answers to a request for blocks: what the target needs to have the same.
use super::source::{Failure, Reader, pass, throttle};
use crate::transfer::activity::Doing;
use crate::transfer::blocks::{
    Answer, Block, Extent, STRETCH, Sum, count, gather, length, of_zeros, range,
};
use crate::transfer::channel::{Channel, ChannelError};
use crate::transfer::entry::Digest;
use crate::transfer::frame::FrameError;
use crate::transfer::path::TreePath;
use crate::transfer::protocol::{PeerReply, PeerRequest};
use crate::transfer::read::{OpenFile, Opened};
use crate::transfer::volume::Volume;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Blocks that are the same are told of this often: the target must hear that we are alive.
const TELL: Duration = Duration::from_secs(1);

/// Blocks of a file.
pub(super) struct Wanted {
    path: TreePath,
    size: u64,
    blocks: Range<u64>,
}

impl Wanted {
    /// None of a file that cannot be.
    pub(super) fn new(path: TreePath, size: u64, first: u64, number: u64) -> Option<Self> {
        let end = first.checked_add(number)?;
        (number <= STRETCH && end <= count(size)).then_some(Self {
            path,
            size,
            blocks: first..end,
        })
    }
}

/// What the target has, as it comes.
struct Sums {
    left: u64,
    ready: VecDeque<Sum>,
}

impl Sums {
    fn next(&mut self, channel: &mut Channel) -> Result<Sum, ChannelError> {
        loop {
            if let Some(sum) = self.ready.pop_front() {
                return Ok(sum);
            }
            let PeerRequest::Sums(sums) = channel.receive()? else {
                return Err(FrameError::Sort.into());
            };
            let more = sums.len() as u64;
            if more == 0 || more > self.left {
                return Err(FrameError::Sort.into());
            }
            self.left -= more;
            self.ready = sums.into();
        }
    }

    /// Takes what still comes: the next message is a request again.
    fn drain(&mut self, channel: &mut Channel) -> Result<(), ChannelError> {
        self.ready.clear();
        while self.left > 0 {
            self.next(channel)?;
        }
        Ok(())
    }
}

/// Answers for each of these blocks.
pub(super) fn answer(
    volume: &Volume,
    reader: &mut Reader<'_>,
    wanted: &Wanted,
    channel: &mut Channel,
) -> Result<(), ChannelError> {
    let mut sums = Sums {
        left: wanted.blocks.end - wanted.blocks.start,
        ready: VecDeque::new(),
    };
    let end = match pass(send(volume, reader, wanted, &mut sums, channel))? {
        Ok(end) => end,
        Err(fault) => PeerReply::Refused(fault),
    };
    sums.drain(channel)?;
    channel.send_now(&end)
}

/// Sends all but the last message, which it gives back.
fn send(
    volume: &Volume,
    reader: &mut Reader<'_>,
    wanted: &Wanted,
    sums: &mut Sums,
    channel: &mut Channel,
) -> Result<PeerReply, Failure> {
    let path = &wanted.path;
    reader.station.set(Doing::Reading);
    let Opened::File(file) = OpenFile::open(volume, &mut reader.opener, path)? else {
        return Ok(PeerReply::Gone);
    };
    let Some(metadata) = reader.metadata(volume, path, &file)? else {
        return Ok(PeerReply::Gone);
    };
    channel.send(&PeerReply::Stretch {
        metadata,
        stamp: file.stamp(),
    })?;
    reader.station.set(Doing::Computing);
    let (holes, mut told) = (file.may_have_holes(), Instant::now());
    reader.blocks.begin();
    for number in wanted.blocks.clone() {
        let sum = sums.next(channel)?;
        reader.station.set(Doing::Reading);
        let block = reader.blocks.read(file.fd(), number, wanted.size, holes);
        reader.station.set(Doing::Computing);
        let (answer, content) =
            match block.map_err(|(call, errno)| volume.fault(path, call, errno))? {
                // It was cut short meanwhile: what it is now is for the next look to say.
                Block::Ended => return Ok(PeerReply::Changed),
                Block::Hole => (
                    of_hole(volume, sum, length(&range(number, wanted.size))),
                    None,
                ),
                Block::Data { bytes, extents } => match of_data(sum, bytes, extents) {
                    answer @ Answer::Data { .. } => {
                        (answer, Some(gather(bytes, extents, &mut reader.scratch)))
                    }
                    answer => (answer, None),
                },
            };
        if let Some(content) = content {
            throttle(reader.limiter, channel, content.len() as u64)?;
        }
        channel.send(&PeerReply::Block { number, answer })?;
        if let Some(content) = content {
            channel.send_content(content)?;
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            channel.flush()?;
        }
    }
    let stamp = file.stamp_now();
    let stamp = stamp.map_err(|errno| volume.fault(path, "fstat", errno))?;
    Ok(PeerReply::StretchEnd { stamp })
}

fn of_hole(volume: &Volume, target: Sum, length: usize) -> Answer {
    match (target, volume) {
        (Sum::Hole, _) => Answer::Same,
        // A device has no holes to make of zeros.
        (Sum::Data(has), Volume::Device(_)) if has == of_zeros(length) => Answer::Same,
        (Sum::Data(_), _) => Answer::Hole,
    }
}

fn of_data(target: Sum, bytes: &[u8], extents: &[Extent]) -> Answer {
    let digest = Digest::from(blake3::hash(bytes));
    let zeros = digest == of_zeros(bytes.len());
    let whole = matches!(extents, [only] if only.range().len() == bytes.len());
    match target {
        Sum::Data(has) if has == digest => Answer::Same,
        // Where not all of it takes room, the target's hole is as good.
        Sum::Hole if zeros && !whole => Answer::Same,
        _ if zeros && whole => Answer::Zeros,
        _ => Answer::Data {
            digest,
            extents: extents.to_vec(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::blocks::BLOCK;

    #[test]
    fn blocks_that_cannot_be_are_not_asked_for() {
        let wanted = |size, first, number| Wanted::new(TreePath::root(), size, first, number);
        let blocks = wanted(2 * BLOCK + 1, 1, 2).map(|wanted| wanted.blocks);
        assert_eq!(blocks, Some(1..3));
        assert!(wanted(0, 0, 0).is_some());
        assert!(wanted(2 * BLOCK, 1, 2).is_none());
        assert!(wanted(u64::MAX, u64::MAX, 2).is_none());
        assert!(wanted(u64::MAX, 0, STRETCH).is_some());
        assert!(wanted(u64::MAX, 0, STRETCH + 1).is_none());
    }
}
