//! A large file, or a device, at the target: compared and written by blocks, in its place.
//!
//! In its place, not beside it: twice the room is what a volume of one database does not have. What is half written
//! keeps another time of change than the source's file, so that the next round looks at it again; what is there is
//! not sent again.
use super::fetch::RETRIES;
use super::operation::Operation;
use super::queue::Queue;
use super::stretch::{Hands, Stretch};
use crate::transfer::activity::Doing;
use crate::transfer::blocks::{STRETCH, Stamp, count};
use crate::transfer::channel::Channel;
use crate::transfer::compare::same_metadata;
use crate::transfer::counters::add;
use crate::transfer::entry::{Kind, Metadata};
use crate::transfer::fault::Fault;
use crate::transfer::metadata::Before;
use crate::transfer::path::TreePath;
use crate::transfer::report::{Phase, RoundKind};
use crate::transfer::volume::Device;
use crate::transfer::walk;
use crate::transfer::write::{Writer, begin_writeback};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Advice, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// The file that is written into.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) file: Arc<OwnedFd>,
    /// In this round.
    made: bool,
    /// Nothing is in it yet.
    pub(super) blank: bool,
}

/// Where large files are written.
pub(crate) enum Ground<'g, 'w> {
    Tree(&'g mut Writer<'w>),
    Device(&'g Device),
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

    pub(crate) fn path(&self) -> &TreePath {
        &self.path
    }

    pub(super) fn size(&self) -> u64 {
        self.size
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
            Ground::Tree(writer) => {
                if let Some(file) = self.in_place(writer)? {
                    let stat = rustix::fs::fstat(&file).map_err(|errno| fault("fstat", errno))?;
                    if stat.st_size.cast_unsigned() != self.size {
                        inner.differs(operation);
                        inner.written = true;
                        rustix::fs::ftruncate(&file, self.size)
                            .map_err(|errno| fault("ftruncate", errno))?;
                    }
                    Target::of(file, false)
                } else {
                    if self.old.is_some() {
                        inner.differs(operation);
                        add(&operation.counters.bytes_to_move, self.size);
                    }
                    Target::of(writer.make_in_place(&self.path, self.size)?, true)
                }
            }
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
    pub(super) fn saw(&self, stamp: Stamp, metadata: Option<Metadata>) {
        let mut inner = self.lock();
        inner.changed |= stamp.size != self.size || inner.stamp.is_some_and(|seen| seen != stamp);
        inner.stamp = Some(stamp);
        if inner.metadata.is_none() {
            inner.metadata = metadata;
        }
    }

    /// The source could not read all of it: it went, or became shorter.
    pub(super) fn broke_off(&self) {
        self.lock().changed = true;
    }

    /// Something was written into it; whether it read otherwise before.
    pub(super) fn wrote(&self, operation: &Operation<'_>, differs: bool) {
        let mut inner = self.lock();
        inner.written = true;
        if differs {
            inner.differs(operation);
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
        let station = channel.station();
        let target = station.during(Doing::Writing, || file.target(self.operation, ground))?;
        let part = Stretch {
            operation: self.operation,
            file,
            target: &target,
            holes: matches!(ground, Ground::Tree(_)),
            blocks: file.blocks(stretch),
        };
        part.tell(channel, hands)?;
        part.receive(channel, hands)?;
        if file.lock().written {
            let station = channel.station();
            station.during(Doing::Writing, || {
                begin_writeback(target.file.as_fd(), part.bytes());
            });
        }
        let mut inner = file.lock();
        inner.stretches_done += 1;
        let last = inner.stretches_done == file.stretches();
        drop(inner);
        if last {
            let station = channel.station();
            station.during(Doing::Writing, || self.finish(ground, file, &target))?;
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
