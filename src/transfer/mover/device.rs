//! A round for a block device: one file, written in place.
//!
//! A device has no time of change, so a warm round compares contents as well.
use super::fetch::{Contents, lost, next};
use super::operation::Operation;
use super::round::summarize;
use super::stream::Stream;
use crate::transfer::channel::Channel;
use crate::transfer::counters::add;
use crate::transfer::entry::{Entry, Kind};
use crate::transfer::fault::Fault;
use crate::transfer::path::TreePath;
use crate::transfer::protocol::{PeerReply, PeerRequest};
use crate::transfer::read::digest_file;
use crate::transfer::report::{Inspection, Ownership, Phase, RoundKind, RoundSummary};
use crate::transfer::volume::{Device, Volume};
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

/// Copies the device, if its contents differ. `began` says that what is on the target was written by this run.
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
    let mut stream = Stream::begin(channel, true)?;
    let first = stream.next()?;
    let Some(Entry {
        path,
        kind: Kind::File { size, digest },
        ..
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
    let own = digest_front(operation, size)?;
    if digest.is_some() && own == digest {
        add(&counters.files_same, 1);
    } else {
        add(&counters.files_to_move, 1);
        add(&counters.bytes_to_move, size);
        if fetch(operation, device, channel, &path, size)? {
            add(&counters.files_moved, 1);
        } else {
            operation.note_changed(&path);
        }
    }
    summarize(operation, kind, start)
}

/// The digest of as much of the target as the source has.
fn digest_front(
    operation: &Operation<'_>,
    size: u64,
) -> Result<Option<crate::transfer::entry::Digest>, Fault> {
    let Volume::Device(device) = operation.volume else {
        return Ok(None);
    };
    let front = Volume::Device(device.front(size));
    let mut buffer = Vec::new();
    let read = digest_file(
        &front,
        &mut front.opener(),
        &TreePath::root(),
        false,
        &mut buffer,
        |length| {
            add(&operation.counters.bytes_checked, length);
            operation.cancel.check()
        },
    )?;
    Ok(read.map(|(_, digest)| digest))
}

fn fetch(
    operation: &Operation<'_>,
    device: &Device,
    channel: &mut Channel,
    path: &TreePath,
    size: u64,
) -> Result<bool, Fault> {
    let file = device
        .reopen(true)
        .map_err(|errno| device.fault("open", errno))?;
    channel
        .send_now(&PeerRequest::Fetch {
            paths: vec![path.clone()],
        })
        .map_err(lost)?;
    let PeerReply::File { .. } = next(channel)? else {
        return Ok(false);
    };
    let (mut contents, mut buffer, mut position) = (Contents::default(), Vec::new(), 0);
    loop {
        operation.cancel.check()?;
        match next(channel)? {
            PeerReply::Content { offset } => {
                channel.receive_content(&mut buffer).map_err(lost)?;
                contents.take(operation, offset, &buffer)?;
                zero(device, &file, position, offset)?;
                if offset.saturating_add(buffer.len() as u64) > device.bytes {
                    return Err(Fault::TooSmall {
                        source_bytes: size,
                        target_bytes: device.bytes,
                    });
                }
                write_at(file.as_fd(), offset, &buffer)
                    .map_err(|errno| device.fault("write", errno))?;
                position = offset + buffer.len() as u64;
                add(&operation.counters.bytes_sent, buffer.len() as u64);
                add(&operation.counters.bytes_moved, buffer.len() as u64);
            }
            PeerReply::End { length, digest } => {
                zero(device, &file, position, length)?;
                let received = contents.finish(operation, length)?;
                if received != digest {
                    return Err(Fault::Corrupt {
                        path: path.clone(),
                        sent: digest,
                        received,
                    });
                }
                operation.counters.set_phase(Phase::Settling);
                rustix::fs::fsync(&file).map_err(|errno| device.fault("fsync", errno))?;
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
                return Ok(true);
            }
            PeerReply::Changed => return Ok(false),
            other => return Err(Fault::protocol(format!("content, not {other:?}"))),
        }
    }
}

/// A hole in the source (an image has them) reads as zeros; on the target something else may lie there.
fn zero(device: &Device, file: &rustix::fd::OwnedFd, mut from: u64, to: u64) -> Result<(), Fault> {
    static ZEROS: [u8; 128 << 10] = [0; 128 << 10];
    while from < to {
        let length = usize::try_from(to - from)
            .unwrap_or(ZEROS.len())
            .min(ZEROS.len());
        write_at(file.as_fd(), from, &ZEROS[..length])
            .map_err(|errno| device.fault("write", errno))?;
        from += length as u64;
    }
    Ok(())
}
