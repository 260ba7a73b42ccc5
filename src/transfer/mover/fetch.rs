//! Fetches files from the source: each thread owns one connection, and asks for many small files at once.
use super::large::{Fetching, Ground};
use super::operation::Operation;
use super::queue::{Job, Taken};
use super::stretch::Hands;
use crate::transfer::activity::Doing;
use crate::transfer::channel::{Channel, ChannelError};
use crate::transfer::counters::add;
use crate::transfer::entry::Digest;
use crate::transfer::fault::Fault;
use crate::transfer::path::TreePath;
use crate::transfer::protocol::{PeerReply, PeerRequest};
use crate::transfer::read::hash_zeros;
use crate::transfer::write::Writer;

/// A file that changes while it is read is asked for again so often within a round.
pub(super) const RETRIES: usize = 2;
enum Outcome {
    Written,
    Again,
}

/// Fetches until there is nothing more to fetch, and puts all in place.
pub(crate) fn fetch(
    fetching: &Fetching<'_>,
    channel: &mut Channel,
    mut writer: Writer<'_>,
) -> Result<(), Fault> {
    let fetched = fetch_all(fetching, channel, &mut writer);
    if fetched.is_err() {
        // What arrived whole is not sent again; why the rest did not come is what to tell.
        let _ = writer.commit();
    }
    fetched
}

fn fetch_all(
    fetching: &Fetching<'_>,
    channel: &mut Channel,
    writer: &mut Writer<'_>,
) -> Result<(), Fault> {
    let (mut buffer, mut hands) = (Vec::new(), Hands::default());
    let station = channel.station().clone();
    let _at = station.at(Doing::Computing);
    loop {
        match station.during(Doing::Idle, || fetching.queue.take())? {
            Taken::Files(batch) => {
                fetch_files(fetching.operation, channel, writer, &mut buffer, batch)?;
            }
            Taken::Stretch(file, stretch) => {
                let mut ground = Ground::Tree(writer);
                fetching.stretch(channel, &mut ground, &mut hands, &file, stretch)?;
            }
            Taken::Nothing => station.during(Doing::Writing, || writer.commit())?,
            Taken::Ended => return station.during(Doing::Writing, || writer.commit()),
        }
    }
}

fn fetch_files(
    operation: &Operation<'_>,
    channel: &mut Channel,
    writer: &mut Writer<'_>,
    buffer: &mut Vec<u8>,
    mut wanted: Vec<Job>,
) -> Result<(), Fault> {
    for _ in 0..=RETRIES {
        wanted = ask(operation, channel, writer, buffer, wanted)?;
        if wanted.is_empty() {
            return Ok(());
        }
    }
    for job in &wanted {
        operation.note_changed(&job.path);
    }
    Ok(())
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
    let station = channel.station().clone();
    let draft = station.during(Doing::Writing, || writer.begin(path))?;
    let fault = |call: &str, errno| operation.volume.fault(path, call, errno);
    let mut contents = Contents::default();
    loop {
        match next(channel)? {
            PeerReply::Content { offset } => {
                channel.receive_content(buffer).map_err(lost)?;
                contents.take(operation, offset, buffer)?;
                station
                    .during(Doing::Writing, || draft.write(offset, buffer))
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
                station.during(Doing::Writing, || {
                    writer.end(draft, path.clone(), length, &metadata)
                })?;
                return Ok(Outcome::Written);
            }
            PeerReply::Changed => {
                writer.discard(draft);
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
struct Contents {
    hasher: blake3::Hasher,
    position: u64,
}

impl Contents {
    fn take(&mut self, operation: &Operation<'_>, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
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

    fn finish(&mut self, operation: &Operation<'_>, length: u64) -> Result<Digest, Fault> {
        self.skip_to(operation, length)?;
        Ok(self.hasher.finalize().into())
    }
}
