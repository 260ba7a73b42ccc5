//! A tar becomes the parts of an object: compressed by several threads, sent by several others, in bounded memory.
use super::budget::{Budget, Taken};
use super::store::Upload;
use super::{FRAME, LEAST_PART, MOST_PARTS, Md5, Part, frames_in};
use crate::transfer::cancel::Cancel;
use crate::transfer::counters::{Counters, add};
use crate::transfer::fault::Fault;
use crate::transfer::listing::threads;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use zstd::zstd_safe::CParameter;

/// Fast: a level more takes half as much time again for a few hundredths of the size.
const LEVEL: i32 = 1;
/// So many parts are sent at once,
const AT_ONCE: usize = 4;
/// of no more bytes together than these, or one, with the one that is put together meanwhile.
const BYTES_AT_ONCE: u64 = 128 << 20;
/// A skippable frame begins with its magic number and its length.
const SKIPPABLE: usize = 8;
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;

/// A frame's bytes of tar, and who takes what becomes of them.
type Job = (Vec<u8>, SyncSender<Vec<u8>>);

/// What is sent: its number, how many bytes of tar are in it, and itself.
struct Ready<'a> {
    number: u32,
    tar: u64,
    bytes: Vec<u8>,
    _taken: Taken<'a>,
}

/// Where frames of a tar are put, in order.
pub(crate) struct Frames<'a> {
    order: SyncSender<(u64, Receiver<Vec<u8>>)>,
    jobs: SyncSender<Job>,
    cancel: &'a Cancel,
}

impl Frames<'_> {
    /// Takes the next frame's bytes of tar.
    pub(crate) fn put(&self, tar: Vec<u8>) -> Result<(), Fault> {
        let (done, compressed) = sync_channel(1);
        let length = tar.len() as u64;
        let taken = self.order.send((length, compressed)).is_ok();
        if taken && self.jobs.send((tar, done)).is_ok() {
            Ok(())
        } else {
            Err(self.cancel.reason())
        }
    }
}

/// Sends what is produced; what it became, and what the producer says. Nothing is finished.
pub(crate) fn pack<T>(
    upload: &dyn Upload,
    cancel: &Cancel,
    counters: &Counters,
    produce: impl FnOnce(&Frames<'_>) -> Result<T, Fault>,
) -> Result<(T, Vec<Part>), Fault> {
    let compressors = threads().min(4);
    let (order, ordered) = sync_channel(compressors);
    let (job_sender, jobs) = sync_channel::<Job>(1);
    let (ready_sender, ready) = sync_channel::<Ready<'_>>(0);
    let (jobs, ready) = (Arc::new(Mutex::new(jobs)), Arc::new(Mutex::new(ready)));
    let budget = Budget::new(BYTES_AT_ONCE);
    let sent = Mutex::new(BTreeMap::new());
    let produced = std::thread::scope(|scope| {
        let (sent, budget) = (&sent, &budget);
        for _ in 0..compressors {
            let jobs = jobs.clone();
            scope.spawn(move || cancel.guard(|| compress(&jobs, cancel)));
        }
        for _ in 0..AT_ONCE {
            let ready = ready.clone();
            scope.spawn(move || cancel.guard(|| send(upload, &ready, sent, counters, cancel)));
        }
        // The threads alone have the other ends: when those have failed, nobody waits for them.
        drop((jobs, ready));
        scope.spawn(move || cancel.guard(|| assemble(&ordered, &ready_sender, budget, cancel)));
        let frames = Frames {
            order,
            jobs: job_sender,
            cancel,
        };
        cancel.guard(|| produce(&frames))
    });
    cancel.check()?;
    let sent = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
    let produced = produced.ok_or_else(|| cancel.reason())?;
    Ok((produced, sent.into_values().collect()))
}

fn compress(jobs: &Mutex<Receiver<Job>>, cancel: &Cancel) -> Result<(), Fault> {
    let broken = |error: std::io::Error| Fault::Damaged {
        object: "a frame".to_owned(),
        what: format!("it cannot be compressed: {error}"),
    };
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(broken)?;
    compressor
        .set_parameter(CParameter::ChecksumFlag(true))
        .map_err(broken)?;
    loop {
        let job = next(jobs);
        cancel.check()?;
        let Some((tar, done)) = job else {
            return Ok(());
        };
        // Why is said before whoever waits for it sees that it does not come.
        let compressed = cancel.guard(|| compressor.compress(&tar).map_err(broken));
        let Some(compressed) = compressed else {
            return Ok(());
        };
        // Whoever assembles may have stopped.
        let _ = done.send(compressed);
    }
}

/// The next thing from a channel that several threads take from.
fn next<T>(channel: &Mutex<Receiver<T>>) -> Option<T> {
    channel
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}

/// Puts frames together to parts.
fn assemble<'a>(
    ordered: &Receiver<(u64, Receiver<Vec<u8>>)>,
    ready: &SyncSender<Ready<'a>>,
    budget: &'a Budget,
    cancel: &Cancel,
) -> Result<(), Fault> {
    let mut number = 1;
    let (mut bytes, mut tar, mut frames) = (Vec::new(), 0, 0);
    // As much as a part can be, from before its first frame is taken: its real length is known when it is whole.
    let mut taken = None;
    let give = |number: u32, tar: u64, bytes: Vec<u8>, taken: Option<Taken<'a>>| {
        cancel.check()?;
        let mut taken = taken.unwrap_or_else(|| budget.take(bytes.len() as u64));
        taken.shrink(bytes.len() as u64);
        let ready = ready.send(Ready {
            number,
            tar,
            bytes,
            _taken: taken,
        });
        ready.map_err(|_| cancel.reason())
    };
    while let Ok((length, frame)) = ordered.recv() {
        let frame = frame.recv().map_err(|_| cancel.reason())?;
        if frames == frames_in(number) {
            let mut full = std::mem::take(&mut bytes);
            fill(&mut full);
            give(number, std::mem::take(&mut tar), full, taken.take())?;
            (number, frames) = (number + 1, 0);
            if number > MOST_PARTS {
                return Err(Fault::TooLarge { parts: MOST_PARTS });
            }
        }
        let most = frames_in(number) * FRAME;
        if frames == 0 {
            taken = Some(budget.take(most as u64));
            cancel.check()?;
            bytes = frame;
            if frames_in(number) > 1 {
                // One that grew by itself would take twice as much, and as much again while it does.
                bytes.reserve_exact(most.saturating_sub(bytes.len()));
            }
        } else {
            bytes.extend_from_slice(&frame);
        }
        tar += length;
        frames += 1;
    }
    // Where it was stopped in the middle, this is not the last part.
    cancel.check()?;
    if frames > 0 {
        give(number, tar, bytes, taken.take())?;
    }
    Ok(())
}

/// Makes a part long enough for S3, by a frame that zstd passes over.
fn fill(part: &mut Vec<u8>) {
    if part.len() >= LEAST_PART {
        return;
    }
    let length = LEAST_PART.saturating_sub(part.len() + SKIPPABLE);
    part.extend(SKIPPABLE_MAGIC.to_le_bytes());
    part.extend(u32::try_from(length).unwrap_or(0).to_le_bytes());
    part.resize(part.len() + length, 0);
}

/// Sends parts, but for those that are there.
fn send(
    upload: &dyn Upload,
    ready: &Mutex<Receiver<Ready<'_>>>,
    sent: &Mutex<BTreeMap<u32, Part>>,
    counters: &Counters,
    cancel: &Cancel,
) -> Result<(), Fault> {
    while let Some(part) = next(ready) {
        cancel.check()?;
        let size = part.bytes.len() as u64;
        let made = Part {
            size,
            tar: part.tar,
            blake3: blake3::hash(&part.bytes).into(),
            md5: Md5::of(&part.bytes),
        };
        if !upload.has(part.number, size, made.md5) {
            upload.put(part.number, part.bytes, made.md5)?;
            add(&counters.bytes_sent, size);
        }
        sent.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(part.number, made);
    }
    Ok(())
}
