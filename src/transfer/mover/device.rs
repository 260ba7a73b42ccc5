//! A round for a block device: one file that goes by blocks.
//!
//! A device has no time of change, so a warm round compares contents as well.
use super::large::{Fetching, Ground, Large};
use super::operation::Operation;
use super::queue::{Queue, Taken};
use super::round::summarize;
use super::stream::Stream;
use super::stretch::Hands;
use crate::transfer::activity::Doing;
use crate::transfer::channel::Channel;
use crate::transfer::counters::add;
use crate::transfer::entry::{Entry, Kind};
use crate::transfer::fault::Fault;
use crate::transfer::listing::Digests;
use crate::transfer::path::TreePath;
use crate::transfer::recollection::Reading;
use crate::transfer::report::{Inspection, Ownership, RoundKind, RoundSummary};
use crate::transfer::volume::Device;
use crate::transfer::write::write_at;
use rustix::fd::AsFd;
use std::time::Instant;

/// The parts at the front and the end where file systems, partition tables and volume managers leave their marks.
const EDGE: u64 = 1 << 20;

/// Whether the device has anything at its edges. There is no room for a mark of ours on it: whether what is there is
/// ours, the client's journal knows.
pub(crate) fn inspect(device: &Device) -> Result<Inspection, Fault> {
    let file = device
        .reopen(false)
        .map_err(|errno| device.fault("open", errno))?;
    let mut buffer = vec![0; usize::try_from(EDGE.min(device.bytes)).unwrap_or(0)];
    let mut empty = true;
    for offset in [0, device.bytes.saturating_sub(EDGE)] {
        let length = rustix::io::pread(&file, &mut buffer[..], offset)
            .map_err(|errno| device.fault("read", errno))?;
        empty &= buffer[..length].iter().all(|byte| *byte == 0);
    }
    let ownership = if empty {
        Ownership::Empty
    } else {
        Ownership::Foreign
    };
    Ok(Inspection {
        ownership,
        entries: 1,
        bytes: device.bytes,
        examples: Vec::new(),
    })
}

/// Zeros the edges, so that nothing is found on the device any more.
pub(crate) fn wipe(device: &Device) -> Result<(), Fault> {
    let file = device
        .reopen(true)
        .map_err(|errno| device.fault("open", errno))?;
    let zeros = vec![0; usize::try_from(EDGE.min(device.bytes)).unwrap_or(0)];
    for offset in [0, device.bytes - zeros.len() as u64] {
        write_at(file.as_fd(), offset, &zeros).map_err(|errno| device.fault("write", errno))?;
    }
    rustix::fs::fsync(&file).map_err(|errno| device.fault("fsync", errno))
}

/// Copies what differs of the device. `began` says that what is on the target was written by this run.
pub(crate) fn round(
    operation: &Operation<'_>,
    device: &Device,
    kind: RoundKind,
    began: bool,
    peers: &mut [Channel],
) -> Result<RoundSummary, Fault> {
    let start = Instant::now();
    let channel = peers.first_mut().ok_or(Fault::NoPeer)?;
    if !began && inspect(device)?.ownership != Ownership::Empty {
        return Err(Fault::Foreign {
            entries: 1,
            examples: vec![TreePath::root()],
        });
    }
    let mut stream = Stream::begin(channel, Digests::No, Reading::Afresh)?;
    let first = stream.next()?;
    let Some(Entry {
        path,
        kind: Kind::File { size, .. },
        metadata,
    }) = first.filter(|entry| entry.path.is_root())
    else {
        return Err(Fault::ShapeDiffers {
            source_shape: "directory".into(),
            target_shape: "device".into(),
        });
    };
    while stream.next()?.is_some() {}
    if size > device.bytes {
        return Err(Fault::TooSmall {
            source_bytes: size,
            target_bytes: device.bytes,
        });
    }
    let counters = operation.counters;
    add(&counters.entries, 1);
    add(&counters.bytes, size);
    let queue = Queue::new(operation.cancel);
    let producer = queue.producer();
    producer.large(Large::new(path, size, Some(metadata)))?;
    drop(producer);
    let fetching = Fetching {
        operation,
        kind,
        queue: &queue,
    };
    std::thread::scope(|scope| {
        for channel in peers {
            let fetching = &fetching;
            scope.spawn(move || {
                let part = || fetch(fetching, device, channel);
                operation.cancel.guard(part)
            });
        }
    });
    operation.outcome()?;
    summarize(operation, kind, start)
}

fn fetch(fetching: &Fetching<'_>, device: &Device, channel: &mut Channel) -> Result<(), Fault> {
    let (mut ground, mut hands) = (Ground::Device(device), Hands::default());
    let station = channel.station().clone();
    let _at = station.at(Doing::Computing);
    loop {
        match station.during(Doing::Idle, || fetching.queue.take())? {
            Taken::Stretch(file, stretch) => {
                fetching.stretch(channel, &mut ground, &mut hands, &file, stretch)?;
            }
            // A device is one file, which goes by blocks.
            Taken::Files(_) | Taken::Nothing => {}
            Taken::Ended => return Ok(()),
        }
    }
}
