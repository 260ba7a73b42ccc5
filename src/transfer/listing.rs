//! Lists a volume in the background, batch by batch in canonical order, with digests made by a few threads at once.
use super::activity::Doing;
use super::blocks::BY_BLOCKS;
use super::cancel::Cancel;
use super::counters::{Counters, add};
use super::entry::{Entry, Kind};
use super::fault::Fault;
use super::path::TreePath;
use super::read::{AHEAD, How, ToDigest};
use super::recollection::{Look, Reading, Recollection};
use super::report::EXAMPLES;
use super::volume::Volume;
use super::walk::Walker;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::Duration;

/// A batch has no more entries,
const BATCH_ENTRIES: usize = 256;
/// no more bytes of names and extended attributes than these and one entry's,
const BATCH_BYTES: usize = 128 << 10;
/// and, with digests, no more to read than this and one file: large files are digested side by side.
const BATCH_READ: u64 = 4 << 20;
/// So many batches are made ahead of the one that is taken: about 16,000 entries, a few MiB.
const BATCHES: usize = 64;

/// Which files are digested.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Digests {
    /// None.
    #[default]
    No,
    /// Those that do not go by blocks.
    Small,
    /// All of them.
    All,
}

impl Digests {
    fn include(self, size: u64) -> bool {
        match self {
            Self::No => false,
            Self::Small => size < BY_BLOCKS,
            Self::All => true,
        }
    }
}

/// How to list.
#[derive(Clone, Default)]
pub(crate) struct Options<'a> {
    /// A name in the root to pass over.
    pub(crate) passed_over: Vec<u8>,
    /// Which files to digest.
    pub(crate) digests: Digests,
    /// Read from the disk, not from what is in memory.
    pub(crate) from_disk: bool,
    /// Leave sockets out and count them.
    pub(crate) without_sockets: bool,
    /// What was read before.
    pub(crate) memory: Option<&'a Recollection>,
    /// What to do with it.
    pub(crate) reading: Reading,
}

/// Sockets that were left out.
#[derive(Clone, Default)]
pub(crate) struct Sockets {
    pub(crate) count: u64,
    pub(crate) examples: Vec<TreePath>,
}

type Batch = Result<Vec<Entry>, Fault>;

/// Entries to digest.
struct Job<'a> {
    entries: Vec<Entry>,
    result: SyncSender<Batch>,
    look: Option<Look<'a>>,
}

/// What comes next.
pub(crate) enum Next {
    Batch(Vec<Entry>),
    /// Nothing yet, within the time that was given.
    Waiting,
    End,
}

/// A listing that is being made. Dropping it ends its threads.
pub(crate) struct Listing {
    order: Receiver<Receiver<Batch>>,
    current: Option<Receiver<Batch>>,
    sockets: Arc<Mutex<Sockets>>,
    abandoned: Arc<Cancel>,
}

impl Listing {
    /// Begins to list, in threads of this scope.
    pub(crate) fn begin<'scope>(
        scope: &'scope Scope<'scope, '_>,
        volume: &'scope Volume,
        options: Options<'scope>,
        counters: &'scope Counters,
    ) -> Self {
        let (order_sender, order) = sync_channel(BATCHES);
        let (job_sender, jobs) = sync_channel::<Job<'scope>>(BATCHES);
        let jobs = Arc::new(Mutex::new(jobs));
        let abandoned = Arc::new(Cancel::default());
        let sockets = Arc::new(Mutex::new(Sockets::default()));
        if options.digests != Digests::No {
            for _ in 0..threads() {
                let (jobs, options, abandoned) = (jobs.clone(), options.clone(), abandoned.clone());
                scope.spawn(move || digest_batches(volume, &options, &jobs, &abandoned, counters));
            }
        }
        let made_sockets = sockets.clone();
        scope.spawn(move || {
            let station = counters.board.station();
            station.set(Doing::Reading);
            let look = options.digests != Digests::No;
            let look = options.memory.filter(|_| look).map_or(Ok(None), |memory| {
                memory
                    .look(volume, options.reading)
                    .map_err(|errno| volume.fault(&TreePath::root(), "syncfs", errno))
            });
            let remembered = look.as_ref().ok().copied().flatten();
            let emit = |batch: Batch| -> bool {
                // Whoever takes the batches may be slower.
                let _at = station.at(Doing::Idle);
                let (result_sender, result) = sync_channel(1);
                if order_sender.send(result).is_err() {
                    return false;
                }
                match batch {
                    Ok(entries) if options.digests != Digests::No => {
                        let job = Job {
                            entries,
                            result: result_sender,
                            look: remembered,
                        };
                        job_sender.send(job).is_ok()
                    }
                    done => result_sender.send(done).is_ok(),
                }
            };
            let listed = look.and_then(|_| walk(volume, &options, &made_sockets, &emit));
            if let Err(fault) = listed {
                emit(Err(fault));
            }
        });
        Self {
            order,
            current: None,
            sockets,
            abandoned,
        }
    }

    /// The next batch.
    pub(crate) fn next(&mut self, wait: Duration) -> Result<Next, Fault> {
        let current = match self.current.take() {
            Some(current) => current,
            None => match self.order.recv_timeout(wait) {
                Ok(current) => current,
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Waiting),
                Err(RecvTimeoutError::Disconnected) => return Ok(Next::End),
            },
        };
        match current.recv_timeout(wait) {
            Ok(batch) => batch.map(Next::Batch),
            Err(RecvTimeoutError::Timeout) => {
                self.current = Some(current);
                Ok(Next::Waiting)
            }
            Err(RecvTimeoutError::Disconnected) => Err(Fault::Stopped),
        }
    }

    /// Sockets that were left out so far.
    pub(crate) fn sockets(&self) -> Sockets {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.abandoned.stop(Fault::Stopped);
    }
}

/// As many threads as there are processors, but never a crowd: disks and links are full before.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .clamp(1, 8)
}

fn walk(
    volume: &Volume,
    options: &Options<'_>,
    sockets: &Mutex<Sockets>,
    emit: &impl Fn(Batch) -> bool,
) -> Result<(), Fault> {
    let root = match volume {
        Volume::Directory(root) => root,
        Volume::Device(device) => {
            emit(Ok(vec![device.entry()]));
            return Ok(());
        }
    };
    let mut walker = Walker::new(root, &options.passed_over);
    let (mut batch, mut bytes, mut to_read) = (Vec::new(), 0, 0);
    while let Some(entry) = walker.next()? {
        if entry.kind == Kind::Socket && options.without_sockets {
            let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            sockets.count += 1;
            if sockets.examples.len() < EXAMPLES {
                sockets.examples.push(entry.path);
            }
            continue;
        }
        bytes += weight(&entry);
        if let Kind::File { size, .. } = entry.kind
            && options.digests.include(size)
        {
            to_read += size;
        }
        batch.push(entry);
        if batch.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES || to_read >= BATCH_READ {
            if !emit(Ok(std::mem::take(&mut batch))) {
                return Ok(());
            }
            (bytes, to_read) = (0, 0);
        }
    }
    if !batch.is_empty() {
        emit(Ok(batch));
    }
    Ok(())
}

fn weight(entry: &Entry) -> usize {
    let xattrs = entry
        .metadata
        .xattrs
        .iter()
        .map(|xattr| xattr.name.len() + xattr.value.len());
    entry.path.as_bytes().len() + xattrs.sum::<usize>()
}

fn digest_batches(
    volume: &Volume,
    options: &Options<'_>,
    jobs: &Mutex<Receiver<Job<'_>>>,
    abandoned: &Cancel,
    counters: &Counters,
) {
    let (mut opener, mut buffer) = (volume.opener(), Vec::new());
    let station = counters.board.station();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job {
            mut entries,
            result,
            look,
        }) = job
        else {
            return;
        };
        let each = |length| {
            add(&counters.bytes_checked, length);
            abandoned.check()
        };
        let mut ahead = VecDeque::with_capacity(AHEAD);
        let mut next = 0;
        let digested = (0..entries.len()).try_for_each(|index| {
            while next < entries.len() && ahead.len() < AHEAD {
                if let Some(how) = how(&entries[next].kind, options, look) {
                    let path = &entries[next].path;
                    let open = station.during(Doing::Reading, || {
                        ToDigest::open(volume, &mut opener, path, how)
                    });
                    ahead.push_back((next, how, open?));
                }
                next += 1;
            }
            let Some((_, how, file)) = ahead.pop_front_if(|(of, ..)| *of == index) else {
                return Ok(());
            };
            let entry = &mut entries[index];
            let read = file.digest(&station, volume, &entry.path, how, &mut buffer, each)?;
            let Kind::File { size, digest } = &mut entry.kind else {
                return Ok(());
            };
            // A length other than the listed one: it changed in between, and its digest would not belong to the entry.
            let read = read.filter(|read| read.length == *size);
            *digest = read.as_ref().map(|read| read.digest);
            if read.is_some() || !how.recall_only {
                add(&counters.files_checked, 1);
            }
            if read.is_some_and(|read| read.recalled) {
                add(&counters.files_recalled, 1);
                add(&counters.bytes_recalled, *size);
            }
            Ok(())
        });
        // Whoever listed may have gone.
        let _ = result.send(digested.map(|()| entries));
    }
}

/// How an entry is digested; none where it is not.
fn how<'a>(kind: &Kind, options: &Options<'_>, look: Option<Look<'a>>) -> Option<How<'a>> {
    let Kind::File { size, .. } = kind else {
        return None;
    };
    // What goes by blocks is not read for its digest, but taken for the same by it.
    let recall_only = !options.digests.include(*size);
    (!recall_only || look.is_some()).then_some(How {
        from_disk: options.from_disk,
        look,
        recall_only,
    })
}
