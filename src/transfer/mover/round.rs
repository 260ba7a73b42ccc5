//! A round: merges the source's listing with the target's tree, and makes the target what the source is.
use super::fetch;
use super::large::{Fetching, Large};
use super::operation::Operation;
use super::queue::{Producer, Queue};
use super::settle::{Later, settle};
use super::stream::Stream;
use crate::transfer::activity::{Doing, Station};
use crate::transfer::at::At;
use crate::transfer::blocks::BY_BLOCKS;
use crate::transfer::channel::Channel;
use crate::transfer::compare::same_metadata;
use crate::transfer::counters::{add, get};
use crate::transfer::entry::{Digest, Entry, Kind, Metadata};
use crate::transfer::fault::Fault;
use crate::transfer::listing::{Digests, threads};
use crate::transfer::metadata::{Before, Place, apply};
use crate::transfer::path::TreePath;
use crate::transfer::read::{AHEAD, How, ToDigest};
use crate::transfer::recollection::{Look, Reading};
use crate::transfer::remove;
use crate::transfer::report::{Phase, RoundKind, RoundSummary, SOCKET, What};
use crate::transfer::root::{Parents, Root};
use crate::transfer::volume::{Opener, Volume};
use crate::transfer::walk::Walker;
use crate::transfer::work::{self, Work};
use crate::transfer::write::Writer;
use rustix::fs::Mode;
use std::cmp::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// So many files wait to be compared before the listing waits for them.
const QUEUE: usize = 4096;

/// A file of the same length, whose contents decide.
struct Check {
    path: TreePath,
    size: u64,
    digest: Digest,
    /// What to set when the contents are the same; none if that is right already.
    metadata: Option<Metadata>,
    /// What is there under its name, of one that goes by blocks where it was not read before.
    by_blocks: Option<Metadata>,
}

/// Copies the source's tree. The first of the connections carries the listing, the others contents.
pub(crate) fn round(
    operation: &Operation<'_>,
    kind: RoundKind,
    peers: &mut [Channel],
) -> Result<RoundSummary, Fault> {
    let begun = Instant::now();
    let Volume::Directory(root) = operation.volume else {
        return Err(Fault::protocol("a directory"));
    };
    let work = Work::open_or_make(root, operation.run, operation.cancel)?;
    let Some((listing, carriers)) = peers.split_first_mut() else {
        return Err(Fault::NoPeer);
    };
    if carriers.is_empty() {
        return Err(Fault::NoPeer);
    }
    let queue = Queue::new(operation.cancel);
    // Before anybody takes: a queue that nobody puts into has ended.
    let producer = queue.producer();
    let (check_sender, checks) = sync_channel::<Check>(QUEUE);
    let checks = Arc::new(Mutex::new(checks));
    let fetching = Fetching {
        operation,
        kind,
        queue: &queue,
    };
    let mut writers = Vec::new();
    for number in 0..=carriers.len() {
        writers.push(Writer::new(
            root,
            &work,
            number,
            operation.counters,
            &operation.findings,
        )?);
    }
    let own_writer = writers.pop();
    let look = operation
        .recollection
        .look(operation.volume, Reading::Recall)
        .map_err(|errno| root.fault(&TreePath::root(), "syncfs", errno))?;
    let later = std::thread::scope(|scope| {
        for (channel, writer) in carriers.iter_mut().zip(writers) {
            let fetching = &fetching;
            scope.spawn(move || {
                operation
                    .cancel
                    .guard(|| fetch::fetch(fetching, channel, writer))
            });
        }
        if kind == RoundKind::Final {
            for _ in 0..threads() {
                let (checks, producer) = (checks.clone(), queue.producer());
                scope.spawn(move || {
                    operation
                        .cancel
                        .guard(|| check(operation, root, look, &checks, &producer))
                });
            }
        }
        // Only the threads hold the other end now: when all of them failed, nobody waits for room.
        drop(checks);
        let mut merge = Merge {
            operation,
            root,
            kind,
            queue: producer,
            checks: check_sender,
            writer: own_writer?,
            parents: Parents::new(root),
            later: Later::default(),
            station: listing.station().clone(),
        };
        operation.cancel.guard(|| merge.run(listing))?;
        operation.counters.set_phase(Phase::Draining);
        Some((merge.later, merge.writer))
    });
    operation.outcome()?;
    let Some((later, mut writer)) = later else {
        return Err(operation.cancel.reason());
    };
    operation.counters.set_phase(Phase::Settling);
    let station = operation.counters.board.station();
    station.during(Doing::Writing, || {
        settle(operation, root, &later, &mut writer)
    })?;
    summarize(operation, kind, begun)
}

pub(crate) fn summarize(
    operation: &Operation<'_>,
    kind: RoundKind,
    begun: Instant,
) -> Result<RoundSummary, Fault> {
    let (changed, changed_examples) = operation.changed();
    if kind == RoundKind::Final && changed > 0 {
        return Err(Fault::Changed {
            count: changed,
            examples: changed_examples,
        });
    }
    let counters = operation.counters;
    Ok(RoundSummary {
        kind,
        entries: get(&counters.entries),
        bytes: get(&counters.bytes),
        files_same: get(&counters.files_same),
        files_moved: get(&counters.files_moved),
        bytes_moved: get(&counters.bytes_moved),
        bytes_sent: get(&counters.bytes_sent),
        others_made: get(&counters.others_made),
        metadata_fixed: get(&counters.metadata_fixed),
        deleted: get(&counters.deleted),
        changed,
        changed_examples,
        findings: operation.findings.list(),
        milliseconds: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Compares contents until there is nothing more to compare.
fn check(
    operation: &Operation<'_>,
    root: &Root,
    look: Option<Look<'_>>,
    checks: &Mutex<Receiver<Check>>,
    queue: &Producer<'_>,
) -> Result<(), Fault> {
    let mut opener = Opener::Directory(Parents::new(root));
    let (mut parents, mut buffer) = (Parents::new(root), Vec::new());
    let station = operation.counters.board.station();
    let each = |length| {
        add(&operation.counters.bytes_checked, length);
        operation.cancel.check()
    };
    loop {
        operation.cancel.check()?;
        // More than one where more wait already: the disk is asked for all of them.
        let waiting = checks.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(first) = waiting.recv() else {
            return Ok(());
        };
        let batch: Vec<_> = std::iter::once(first)
            .chain(waiting.try_iter().take(AHEAD - 1))
            .collect();
        drop(waiting);
        let how = |check: &Check| How {
            look,
            recall_only: check.by_blocks.is_some(),
            ..How::default()
        };
        let mut open = Vec::with_capacity(batch.len());
        for check in &batch {
            let opened = station.during(Doing::Reading, || {
                ToDigest::open(operation.volume, &mut opener, &check.path, how(check))
            });
            open.push(opened?);
        }
        for (check, file) in batch.into_iter().zip(open) {
            let (volume, how) = (operation.volume, how(&check));
            let read = file.digest(&station, volume, &check.path, how, &mut buffer, each)?;
            let Check {
                path,
                size,
                digest,
                metadata,
                by_blocks,
            } = check;
            let same = read.is_some_and(|read| (read.length, read.digest) == (size, digest));
            if !same && let Some(old) = by_blocks {
                queue.large(Large::new(path, size, Some(old)))?;
                continue;
            }
            add(&operation.counters.files_checked, 1);
            if !same {
                add(&operation.counters.files_to_move, 1);
                add(&operation.counters.bytes_to_move, size);
                queue.file(path, size)?;
                continue;
            }
            add(&operation.counters.files_same, 1);
            if let Some(metadata) = metadata {
                station.during(Doing::Writing, || {
                    fix(operation, root, &mut parents, &path, &metadata, Before::Any)
                })?;
            }
        }
    }
}

/// Sets metadata in place.
pub(crate) fn fix(
    operation: &Operation<'_>,
    root: &Root,
    parents: &mut Parents<'_>,
    path: &TreePath,
    metadata: &Metadata,
    before: Before,
) -> Result<(), Fault> {
    let directory = parents
        .of(path)
        .map_err(|errno| root.fault(path, "open", errno))?;
    let at = At::Name(directory, path.split().1);
    let place = Place { path, at };
    apply(&place, metadata, before, &operation.findings)
        .map_err(|(call, errno)| root.fault(path, call, errno))?;
    add(&operation.counters.metadata_fixed, 1);
    Ok(())
}

struct Merge<'a> {
    operation: &'a Operation<'a>,
    root: &'a Root,
    kind: RoundKind,
    queue: Producer<'a>,
    checks: SyncSender<Check>,
    writer: Writer<'a>,
    parents: Parents<'a>,
    later: Later,
    station: Station,
}

impl Merge<'_> {
    fn run(&mut self, channel: &mut Channel) -> Result<(), Fault> {
        // What it does besides waiting for the listing is to walk the target and to make directories there.
        let station = self.station.clone();
        let _at = station.at(Doing::Writing);
        // Large files are compared by their blocks.
        let digests = match self.kind {
            RoundKind::Warm => Digests::No,
            RoundKind::Final => Digests::Small,
        };
        let mut stream = Stream::begin(channel, digests, Reading::Recall)?;
        let mut walker = Walker::new(self.root, &work::name(self.operation.run));
        let (mut source, mut target) = (stream.next()?, walker.next()?);
        if !source
            .as_ref()
            .is_some_and(|entry| entry.path.is_root() && entry.kind == Kind::Directory)
        {
            return Err(Fault::ShapeDiffers {
                source_shape: "device".into(),
                target_shape: "directory".into(),
            });
        }
        loop {
            self.operation.cancel.check()?;
            let order = match (&source, &target) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(source), Some(target)) => source.path.cmp(&target.path),
            };
            if order != Ordering::Greater {
                add(&self.operation.counters.entries, 1);
            }
            match (order, source.take(), target.take()) {
                (Ordering::Less, Some(entry), kept) => {
                    self.make(entry)?;
                    target = kept;
                    source = stream.next()?;
                }
                (Ordering::Greater, kept, Some(extra)) => {
                    walker.skip();
                    self.delete(&extra.path)?;
                    source = kept;
                    target = walker.next()?;
                }
                (_, Some(entry), Some(old)) => {
                    if old.kind == Kind::Directory && entry.kind != Kind::Directory {
                        walker.skip();
                    }
                    self.compare(entry, &old)?;
                    source = stream.next()?;
                    target = walker.next()?;
                }
                _ => break,
            }
        }
        for path in &stream.sockets.examples {
            self.operation.findings.add(path, What::Socket, SOCKET);
        }
        self.operation
            .findings
            .more(&What::Socket, SOCKET, stream.sockets.count);
        Ok(())
    }

    fn delete(&mut self, path: &TreePath) -> Result<(), Fault> {
        let parent = self
            .parents
            .of(path)
            .map_err(|errno| self.root.fault(path, "open", errno))?;
        remove::remove(
            self.root,
            path,
            parent,
            path.split().1,
            self.operation.counters,
            self.operation.cancel,
        )?;
        // What is made in its place later is another directory.
        self.parents.forget();
        Ok(())
    }

    /// The target lacks it.
    fn make(&mut self, entry: Entry) -> Result<(), Fault> {
        match &entry.kind {
            Kind::Directory => {
                let parent = self.parents.of(&entry.path);
                let parent = parent.map_err(|errno| self.root.fault(&entry.path, "open", errno))?;
                rustix::fs::mkdirat(parent, entry.path.split().1, Mode::RWXU)
                    .map_err(|errno| self.root.fault(&entry.path, "mkdir", errno))?;
                add(&self.operation.counters.others_made, 1);
                self.later.directory(&entry.path, &entry.metadata, true)
            }
            Kind::File { size, .. } => {
                add(&self.operation.counters.bytes, *size);
                self.fetch(entry.path, *size)
            }
            Kind::HardLink { to } => self.later.link(&entry.path, to),
            _ => self
                .writer
                .make_special(&entry.path, &entry.kind, &entry.metadata),
        }
    }

    fn fetch(&mut self, path: TreePath, size: u64) -> Result<(), Fault> {
        add(&self.operation.counters.files_to_move, 1);
        add(&self.operation.counters.bytes_to_move, size);
        let _at = self.station.at(Doing::Idle);
        if size >= BY_BLOCKS {
            return self.queue.large(Large::new(path, size, None));
        }
        self.queue.file(path, size)
    }

    /// Both have it.
    fn compare(&mut self, entry: Entry, old: &Entry) -> Result<(), Fault> {
        let same_metadata = same_metadata(&entry.kind, &entry.metadata, &old.metadata);
        match (&entry.kind, &old.kind) {
            (Kind::Directory, Kind::Directory) => {
                if !rustix::process::geteuid().is_root()
                    && old.metadata.mode & 0o700 != 0o700
                    && !entry.path.is_root()
                {
                    self.open_up(&entry.path)?;
                }
                let same_xattrs = entry.metadata.xattrs == old.metadata.xattrs;
                self.later
                    .directory(&entry.path, &entry.metadata, !same_xattrs)
            }
            (Kind::File { size, digest }, Kind::File { size: old_size, .. }) => {
                add(&self.operation.counters.bytes, *size);
                let moved = size != old_size
                    || (self.kind == RoundKind::Warm
                        && entry.metadata.modified != old.metadata.modified);
                let known = !moved && digest.is_some();
                if *size >= BY_BLOCKS && (moved || self.kind == RoundKind::Final) && !known {
                    let large = Large::new(entry.path, *size, Some(old.metadata.clone()));
                    return self.station.during(Doing::Idle, || self.queue.large(large));
                }
                match (moved, self.kind, digest) {
                    (false, RoundKind::Final, Some(digest)) => {
                        let metadata = (!same_metadata).then_some(entry.metadata);
                        let check = Check {
                            path: entry.path,
                            size: *size,
                            digest: *digest,
                            metadata,
                            by_blocks: (*size >= BY_BLOCKS).then(|| old.metadata.clone()),
                        };
                        // Whoever compares may be slower.
                        let _at = self.station.at(Doing::Idle);
                        self.checks
                            .send(check)
                            .map_err(|_| self.operation.cancel.reason())
                    }
                    (false, RoundKind::Warm, _) => {
                        add(&self.operation.counters.files_same, 1);
                        if same_metadata {
                            return Ok(());
                        }
                        let before = before(&entry.metadata, &old.metadata);
                        fix(
                            self.operation,
                            self.root,
                            &mut self.parents,
                            &entry.path,
                            &entry.metadata,
                            before,
                        )
                    }
                    _ => self.fetch(entry.path, *size),
                }
            }
            (Kind::File { size, .. }, Kind::HardLink { .. }) => {
                // It shares its contents with another name; put in place, it stands alone.
                add(&self.operation.counters.bytes, *size);
                self.fetch(entry.path, *size)
            }
            (Kind::HardLink { to }, Kind::File { .. } | Kind::HardLink { .. }) => {
                self.later.link(&entry.path, to)
            }
            (kind, old_kind) if kind == old_kind && same_metadata => Ok(()),
            (_, Kind::Directory) | (Kind::Directory, _) => {
                self.delete(&entry.path)?;
                self.make(entry)
            }
            // What is put in place takes the old one's.
            _ => self.make(entry),
        }
    }

    /// Lets us work in a directory whose owner may not.
    fn open_up(&mut self, path: &TreePath) -> Result<(), Fault> {
        let parent = self
            .parents
            .of(path)
            .map_err(|errno| self.root.fault(path, "open", errno))?;
        At::Name(parent, path.split().1)
            .chmod(Mode::RWXU)
            .map_err(|errno| self.root.fault(path, "chmod", errno))
    }
}

fn before(wanted: &Metadata, old: &Metadata) -> Before {
    if wanted.xattrs == old.xattrs {
        Before::Same
    } else {
        Before::Any
    }
}
