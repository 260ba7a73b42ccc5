//! Fetches files from the source: each thread owns one connection, and asks for many small files at once.
use super::operation::Operation;
use crate::transfer::channel::{Channel, ChannelError};
use crate::transfer::counters::add;
use crate::transfer::entry::Digest;
use crate::transfer::fault::Fault;
use crate::transfer::path::TreePath;
use crate::transfer::protocol::{PeerReply, PeerRequest};
use crate::transfer::read::hash_zeros;
use crate::transfer::write::Writer;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One request asks for at most so many files
const REQUEST_FILES: usize = 256;
/// or so many bytes, and one file more.
const REQUEST_BYTES: u64 = 4 << 20;
/// A file that changes while it is read is asked for again so often within a round.
const RETRIES: usize = 2;
/// With nothing to fetch for so long, what is ready is put in place.
const IDLE: Duration = Duration::from_millis(500);

/// A file to fetch.
pub(crate) struct Job {
    pub(crate) path: TreePath,
    pub(crate) size: u64,
}

enum Outcome {
    Written,
    Again,
}

/// Fetches until there are no more jobs, and puts all in place.
pub(crate) fn fetch(
    operation: &Operation<'_>,
    jobs: &Mutex<Receiver<Job>>,
    channel: &mut Channel,
    mut writer: Writer<'_>,
) -> Result<(), Fault> {
    let fetched = fetch_all(operation, jobs, channel, &mut writer);
    if fetched.is_err() {
        // What arrived whole is not sent again; why the rest did not come is what to tell.
        let _ = writer.commit();
    }
    fetched
}

fn fetch_all(
    operation: &Operation<'_>,
    jobs: &Mutex<Receiver<Job>>,
    channel: &mut Channel,
    writer: &mut Writer<'_>,
) -> Result<(), Fault> {
    let mut buffer = Vec::new();
    loop {
        operation.cancel.check()?;
        let batch = match take(jobs) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => {
                writer.commit()?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return writer.commit(),
        };
        let mut wanted = batch;
        for attempt in 0..=RETRIES {
            wanted = ask(operation, channel, writer, &mut buffer, wanted)?;
            if wanted.is_empty() {
                break;
            }
            if attempt == RETRIES {
                for job in &wanted {
                    operation.note_changed(&job.path);
                }
            }
        }
    }
}

fn take(jobs: &Mutex<Receiver<Job>>) -> Result<Vec<Job>, RecvTimeoutError> {
    let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let first = jobs.recv_timeout(IDLE)?;
    let mut bytes = first.size;
    let mut batch = vec![first];
    while batch.len() < REQUEST_FILES && bytes < REQUEST_BYTES {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.size;
        batch.push(job);
    }
    Ok(batch)
}

/// Asks for these files; gives back those that changed while they were read.
fn ask(
    operation: &Operation<'_>,
    channel: &mut Channel,
    writer: &mut Writer<'_>,
    buffer: &mut Vec<u8>,
    jobs: Vec<Job>,
) -> Result<Vec<Job>, Fault> {
    let paths = jobs.iter().map(|job| job.path.clone()).collect();
    channel
        .send_now(&PeerRequest::Fetch { paths })
        .map_err(Fault::peer_lost)?;
    let mut again = Vec::new();
    for job in jobs {
        operation.counters.set_path(&job.path);
        match receive(operation, channel, writer, buffer, &job.path)? {
            Outcome::Written => {}
            Outcome::Again => again.push(job),
        }
    }
    Ok(again)
}

fn receive(
    operation: &Operation<'_>,
    channel: &mut Channel,
    writer: &mut Writer<'_>,
    buffer: &mut Vec<u8>,
    path: &TreePath,
) -> Result<Outcome, Fault> {
    let (metadata, size) = match next(channel)? {
        PeerReply::File { metadata, size } => (metadata, size),
        PeerReply::Gone => return Ok(Outcome::Again),
        other => return Err(Fault::protocol(format!("a file, not {other:?}"))),
    };
    let draft = writer.begin(path)?;
    let fault = |call: &str, errno| operation.volume.fault(path, call, errno);
    let mut contents = Contents::default();
    loop {
        match next(channel)? {
            PeerReply::Content { offset } => {
                channel.receive_content(buffer).map_err(lost)?;
                contents.take(operation, offset, buffer)?;
                draft
                    .write(offset, buffer)
                    .map_err(|errno| fault("write", errno))?;
                add(&operation.counters.bytes_sent, buffer.len() as u64);
            }
            PeerReply::End { length, digest } => {
                let received = contents.finish(operation, length)?;
                if received != digest || length != size {
                    return Err(Fault::Corrupt {
                        path: path.clone(),
                        sent: digest,
                        received,
                    });
                }
                writer.end(&draft, path.clone(), length, &metadata)?;
                return Ok(Outcome::Written);
            }
            PeerReply::Changed => {
                writer.discard(&draft);
                return Ok(Outcome::Again);
            }
            other => return Err(Fault::protocol(format!("content, not {other:?}"))),
        }
    }
}

/// The next reply; a refusal of the source is our failure.
pub(crate) fn next(channel: &mut Channel) -> Result<PeerReply, Fault> {
    loop {
        match channel.receive().map_err(lost)? {
            PeerReply::Alive => {}
            PeerReply::Refused(fault) => return Err(fault),
            reply => return Ok(reply),
        }
    }
}

pub(crate) fn lost(error: ChannelError) -> Fault {
    match error {
        ChannelError::Frame(error) => Fault::protocol(error.to_string()),
        error => Fault::peer_lost(error),
    }
}

/// Follows what arrives: its digest, and that it comes in order.
#[derive(Default)]
pub(crate) struct Contents {
    hasher: blake3::Hasher,
    position: u64,
}

impl Contents {
    pub(crate) fn take(
        &mut self,
        operation: &Operation<'_>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        self.skip_to(operation, offset)?;
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Passes over a hole, which may be a terabyte, in steps that can be stopped.
    fn skip_to(&mut self, operation: &Operation<'_>, offset: u64) -> Result<(), Fault> {
        if offset < self.position {
            return Err(Fault::protocol("content in order of offsets"));
        }
        while self.position < offset {
            operation.cancel.check()?;
            let step = (offset - self.position).min(64 << 20);
            hash_zeros(&mut self.hasher, step);
            self.position += step;
        }
        Ok(())
    }

    pub(crate) fn finish(
        &mut self,
        operation: &Operation<'_>,
        length: u64,
    ) -> Result<Digest, Fault> {
        self.skip_to(operation, length)?;
        Ok(self.hasher.finalize().into())
    }
}
