//! What the source's mover answers to the target's: listings and the contents of files.
use super::send_blocks::{self, Wanted};
use super::state::State;
use crate::transfer::activity::{Doing, Station};
use crate::transfer::at::At;
use crate::transfer::blocks::BlockReader;
use crate::transfer::channel::{Channel, ChannelError};
use crate::transfer::counters::Counters;
use crate::transfer::entry::{Digest, Metadata};
use crate::transfer::fault::Fault;
use crate::transfer::frame::FrameError;
use crate::transfer::limit::Limiter;
use crate::transfer::listing::{Digests, Listing, Next, Options};
use crate::transfer::path::TreePath;
use crate::transfer::protocol::{PeerReply, PeerRequest};
use crate::transfer::read::{AHEAD, OpenFile, Opened, Piece, hash_zeros};
use crate::transfer::recollection::Reading;
use crate::transfer::root::Root;
use crate::transfer::volume::{Opener, Volume};
use crate::transfer::walk;
use crate::transfer::work;
use crate::transfer::write::LARGE;
use crate::transfer::xattr::XattrReader;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A digest of a large file takes its time; the target hears this often that we are alive.
const ALIVE: Duration = Duration::from_secs(1);

/// Answers requests on one connection until it ends.
pub(crate) fn answer(state: &State, channel: &mut Channel) -> Result<(), ChannelError> {
    let volume = &state.volume;
    let mut reader = Reader {
        opener: volume.opener(),
        limiter: &state.limiter,
        buffer: Vec::new(),
        blocks: BlockReader::default(),
        scratch: Vec::new(),
        xattrs: XattrReader::default(),
        station: channel.station().clone(),
    };
    let station = channel.station().clone();
    loop {
        let request = channel.receive()?;
        let _busy = state.busy();
        let _at = station.at(Doing::Computing);
        match request {
            PeerRequest::List { digests, reading } => {
                // What the listing's own threads are at counts.
                let _at = station.at(Doing::Idle);
                list(state, digests, reading, channel)?;
            }
            PeerRequest::Fetch { paths } => {
                if let Err(fault) = pass(reader.send_all(volume, &paths, channel))? {
                    channel.send(&PeerReply::Refused(fault))?;
                }
                channel.flush()?;
            }
            PeerRequest::Blocks {
                path,
                size,
                first,
                count,
            } => {
                let wanted = Wanted::new(path, size, first, count).ok_or(FrameError::Sort)?;
                send_blocks::answer(volume, &mut reader, &wanted, channel)?;
            }
            PeerRequest::Sums(_) => return Err(FrameError::Sort.into()),
        }
    }
}

/// A file failed, or the connection did.
pub(super) enum Failure {
    Fault(Fault),
    Channel(ChannelError),
}

impl From<ChannelError> for Failure {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

pub(super) fn pass<T>(result: Result<T, Failure>) -> Result<Result<T, Fault>, ChannelError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Failure::Fault(fault)) => Ok(Err(fault)),
        Err(Failure::Channel(error)) => Err(error),
    }
}

fn list(
    state: &State,
    digests: Digests,
    reading: Reading,
    channel: &mut Channel,
) -> Result<(), ChannelError> {
    let (volume, run) = (&state.volume, &state.run);
    if let Volume::Directory(root) = volume
        && let Err(fault) = name_is_free(root, run)
    {
        return channel.send_now(&PeerReply::Refused(fault));
    }
    let counters = Counters::on(&state.board);
    let options = Options {
        digests,
        without_sockets: true,
        memory: Some(&state.recollection),
        reading,
        ..Options::default()
    };
    std::thread::scope(|scope| {
        let mut listing = Listing::begin(scope, volume, options, &counters);
        loop {
            match listing.next(ALIVE) {
                Ok(Next::Batch(entries)) => channel.send_now(&PeerReply::Entries(entries))?,
                Ok(Next::Waiting) => channel.send_now(&PeerReply::Alive)?,
                Ok(Next::End) => break,
                Err(fault) => return channel.send_now(&PeerReply::Refused(fault)),
            }
        }
        let sockets = listing.sockets();
        channel.send_now(&PeerReply::Listed {
            sockets: sockets.examples,
            socket_count: sockets.count,
            recalled: counters.recalled(&state.recollection),
        })
    })
}

/// The target keeps its working directory under this name, so the source must not hold an entry of it.
pub(super) fn name_is_free(root: &Root, run: &str) -> Result<(), Fault> {
    let name = work::name(run);
    match rustix::fs::statat(root.fd(), &name[..], AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Fault::NameTaken {
            path: TreePath::root().join(&name),
        }),
        Err(_) => Ok(()),
    }
}

/// Waits until so many bytes may be sent. The target has what was sent so far meanwhile, and hears that we are alive.
pub(super) fn throttle(
    limiter: &Limiter,
    channel: &mut Channel,
    bytes: u64,
) -> Result<(), ChannelError> {
    let take = |channel: &Channel| {
        let station = channel.station();
        station.during(Doing::Limited, || limiter.take(bytes, ALIVE))
    };
    while !take(channel) {
        channel.send_now(&PeerReply::Alive)?;
    }
    Ok(())
}

pub(super) struct Reader<'volume> {
    pub(super) opener: Opener<'volume>,
    pub(super) limiter: &'volume Limiter,
    buffer: Vec<u8>,
    pub(super) blocks: BlockReader,
    /// Content that is put together to be sent.
    pub(super) scratch: Vec<u8>,
    xattrs: XattrReader,
    pub(super) station: Station,
}

impl Reader<'_> {
    /// Sends these files, in this order.
    fn send_all(
        &mut self,
        volume: &Volume,
        paths: &[TreePath],
        channel: &mut Channel,
    ) -> Result<(), Failure> {
        let (mut ahead, mut upcoming) = (VecDeque::with_capacity(AHEAD), paths.iter());
        for path in paths {
            self.station.set(Doing::Reading);
            while ahead.len() < AHEAD
                && let Some(next) = upcoming.next()
            {
                ahead.push_back(self.open(volume, next)?);
            }
            match ahead.pop_front().flatten() {
                Some(open) => self.send(volume, path, open, channel)?,
                None => channel.send(&PeerReply::Gone)?,
            }
        }
        Ok(())
    }

    /// Opens a file that is sent soon; none when it went.
    fn open(
        &mut self,
        volume: &Volume,
        path: &TreePath,
    ) -> Result<Option<(OpenFile, Metadata)>, Fault> {
        let Opened::File(file) = OpenFile::open(volume, &mut self.opener, path)? else {
            return Ok(None);
        };
        file.fetch_ahead();
        let metadata = self.metadata(volume, path, &file)?;
        Ok(metadata.map(|metadata| (file, metadata)))
    }

    /// Sends one file: what it is, its pieces, and the digest of them.
    fn send(
        &mut self,
        volume: &Volume,
        path: &TreePath,
        (file, metadata): (OpenFile, Metadata),
        channel: &mut Channel,
    ) -> Result<(), Failure> {
        channel.send(&PeerReply::File {
            metadata,
            size: file.size,
        })?;
        let mut hasher = blake3::Hasher::new();
        let mut broken = None;
        let mut told = Instant::now();
        let fault = |call: &str, errno| volume.fault(path, call, errno);
        let station = &self.station;
        let read = file.read(&mut self.buffer, fault, |piece| {
            let _at = station.at(Doing::Computing);
            match piece {
                Piece::Data { offset, bytes } => {
                    hasher.update(bytes);
                    let sent = throttle(self.limiter, channel, bytes.len() as u64)
                        .and_then(|()| channel.send(&PeerReply::Content { offset }))
                        .and_then(|()| channel.send_content(bytes));
                    if let Err(error) = sent {
                        broken = Some(error);
                        return Err(Fault::Stopped);
                    }
                }
                Piece::Hole { length } => {
                    hash_zeros(&mut hasher, length);
                    if told.elapsed() >= ALIVE {
                        told = Instant::now();
                        if let Err(error) = channel.send_now(&PeerReply::Alive) {
                            broken = Some(error);
                            return Err(Fault::Stopped);
                        }
                    }
                }
            }
            Ok(())
        });
        if let Some(error) = broken {
            return Err(error.into());
        }
        let length = read?;
        self.station.set(Doing::Computing);
        let unchanged = file.is_unchanged().map_err(|errno| fault("fstat", errno))?;
        let end = if unchanged && length == file.size {
            PeerReply::End {
                length,
                digest: Digest::from(hasher.finalize()),
            }
        } else {
            PeerReply::Changed
        };
        // The target puts a large file in place as soon as it knows that this is all of it.
        if length >= LARGE {
            channel.send_now(&end)?;
        } else {
            channel.send(&end)?;
        }
        Ok(())
    }

    /// What belongs to the file that is open, whatever its name leads to by now; none when it went, as NFS tells.
    pub(super) fn metadata(
        &mut self,
        volume: &Volume,
        path: &TreePath,
        file: &OpenFile,
    ) -> Result<Option<Metadata>, Fault> {
        if let Volume::Device(device) = volume {
            return Ok(Some(device.entry().metadata));
        }
        match self.xattrs.read(At::File(file.fd())) {
            Ok(xattrs) => Ok(Some(walk::metadata(&file.stat, xattrs))),
            Err(Errno::STALE) => Ok(None),
            Err(errno) => Err(volume.fault(path, "listxattr", errno)),
        }
    }
}
