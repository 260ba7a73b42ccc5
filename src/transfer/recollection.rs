//! What was read of a volume while its workload ran: of what did not change since, nothing has to be read again while
//! writes are stopped.
//!
//! A file is unchanged when its inode, its length and both its times are what they were before it was read. The
//! second of the times, that of the last change (ctime), cannot be set by any program: the kernel takes the clock with every
//! write, truncation, and change of metadata. Where that is not enough, nothing is remembered:
//!
//! - A file system may be another machine's, with its clock and its other writers, or not tell of stores through a memory
//!   mapping (tmpfs). Known are ext2 to ext4, XFS and Btrfs; what is mounted below the volume's root is read again.
//! - A store through a mapping changes the time only where it makes a clean page dirty, and not when it follows another one.
//!   So the file system is synced before it is read, which makes all pages clean, and only files are remembered whose last
//!   change lies before that sync: the next store to them is seen.
//! - A write has its time before it has its data. So the last change has to lie well before the sync: longer than any write
//!   is under way.
//! - The clock may be set back. Then all is forgotten.
//!
//! It lives in the mover alone: whoever comes after a mover that was lost reads everything.
use super::blocks::Stamp;
use super::entry::{Digest, Time};
use super::path::TreePath;
use super::side::Side;
use super::volume::Volume;
use rustix::fs::FsWord;
use rustix::io::Errno;
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

/// A file of the source is remembered when it was left alone for so long before it was read.
const SOURCE_QUIET: Duration = Duration::from_secs(10);
/// A target has no writer but us, and what we write has ended before: this is for the steps of the kernel's clock.
const TARGET_QUIET: Duration = Duration::from_millis(100);
/// A clock that moved by more against the one that nobody can set was set.
const SET: Duration = Duration::from_secs(1);
/// So many files are remembered, 48 bytes each; the rest is read again.
const MOST: usize = 2 << 20;

/// Their magic numbers, as statfs(2) has them: ext2 to ext4, XFS, Btrfs.
const TRUSTED: [FsWord; 3] = [0xEF53, 0x5846_5342, 0x9123_683E];

/// Whether what was read before is read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// Everything is read.
    #[default]
    Afresh,
    /// What is not remembered is read, and remembered from then on.
    Remember,
    /// What is not remembered is read.
    Recall,
}

/// What a mover read of its volume.
pub(crate) struct Recollection {
    /// How long a file has to have been left alone; none where its file system is not to be trusted.
    quiet: Option<Duration>,
    inner: RwLock<Inner>,
    /// What is being read, in no order yet.
    fresh: Mutex<Vec<Remembered>>,
}

struct Inner {
    /// Sorted.
    known: Vec<Remembered>,
    /// What the clock was ahead of the machine's own time.
    ahead: i128,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Remembered {
    /// Stands for a path and all that the file was: half of a digest, which nobody meets by chance.
    key: [u8; 16],
    digest: [u8; 32],
}

/// One listing's look at it.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    recollection: &'a Recollection,
    /// The root's: what is mounted below it may be anything.
    device: u64,
    /// Files that were changed last before this are remembered.
    before: Option<Time>,
}

impl Recollection {
    pub(crate) fn of(volume: &Volume, side: Side) -> Self {
        let trusted = match volume {
            Volume::Directory(root) => {
                rustix::fs::fstatfs(root.fd()).is_ok_and(|told| TRUSTED.contains(&told.f_type))
            }
            // The times of a device are those of its node.
            Volume::Device(_) => false,
        };
        let quiet = match side {
            Side::Source => SOURCE_QUIET,
            Side::Target => TARGET_QUIET,
        };
        Self::new(trusted.then_some(quiet))
    }

    pub(crate) fn new(quiet: Option<Duration>) -> Self {
        let inner = Inner {
            known: Vec::new(),
            ahead: ahead(),
        };
        Self {
            quiet,
            inner: RwLock::new(inner),
            fresh: Mutex::default(),
        }
    }

    /// Whether the volume's file system tells of every change.
    pub(crate) fn is_possible(&self) -> bool {
        self.quiet.is_some()
    }

    /// Begins to list a volume. None where everything is to be read.
    pub(crate) fn look(
        &self,
        volume: &Volume,
        reading: Reading,
    ) -> Result<Option<Look<'_>>, Errno> {
        let (Some(quiet), Volume::Directory(root)) = (self.quiet, volume) else {
            return Ok(None);
        };
        if reading == Reading::Afresh {
            return Ok(None);
        }
        self.take_in(ahead());
        if reading == Reading::Recall && self.is_empty() {
            return Ok(None);
        }
        let device = rustix::fs::fstat(root.fd())?.st_dev;
        let before = if reading == Reading::Remember {
            let before = before(clock_gettime(ClockId::Realtime), quiet);
            rustix::fs::syncfs(root.fd())?;
            Some(before)
        } else {
            None
        };
        Ok(Some(Look {
            recollection: self,
            device,
            before,
        }))
    }

    /// Whether there is nothing to recall: then no file has to be looked at for it.
    fn is_empty(&self) -> bool {
        let inner = self.inner.read();
        let inner = inner.unwrap_or_else(PoisonError::into_inner);
        inner.known.is_empty()
    }

    /// Sorts in what was read, and forgets all of it when the clock was set.
    fn take_in(&self, ahead: i128) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.ahead.abs_diff(ahead) > SET.as_nanos() {
            inner.known.clear();
            fresh.clear();
            inner.ahead = ahead;
        }
        if fresh.is_empty() {
            return;
        }
        inner.known.append(&mut fresh);
        *fresh = Vec::new();
        drop(fresh);
        inner.known.sort_unstable();
        inner.known.dedup();
    }
}

impl Look<'_> {
    /// Whether what was said of the root's file system is said of a file on this device.
    pub(crate) fn is_of(&self, device: u64) -> bool {
        self.device == device
    }

    /// The digest of a file that is so now, if it was read when it was so.
    pub(crate) fn recall(&self, path: &TreePath, stamp: &Stamp) -> Option<Digest> {
        let key = key(path, stamp);
        let inner = self.recollection.inner.read();
        let known = &inner.unwrap_or_else(PoisonError::into_inner).known;
        let at = known.binary_search_by_key(&key, |remembered| remembered.key);
        Some(Digest(known[at.ok()?].digest))
    }

    /// Remembers what a file read, which was so before and after.
    pub(crate) fn remember(&self, path: &TreePath, stamp: &Stamp, digest: Digest) {
        if self.before.is_none_or(|before| stamp.changed >= before) {
            return;
        }
        let key = key(path, stamp);
        let known = self.recollection.inner.read();
        let known = known.unwrap_or_else(PoisonError::into_inner).known.len();
        let fresh = self.recollection.fresh.lock();
        let mut fresh = fresh.unwrap_or_else(PoisonError::into_inner);
        if known + fresh.len() < MOST {
            let digest = digest.0;
            fresh.push(Remembered { key, digest });
        }
    }
}

fn key(path: &TreePath, stamp: &Stamp) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for number in [stamp.inode, stamp.size] {
        hasher.update(&number.to_le_bytes());
    }
    for time in [stamp.modified, stamp.changed] {
        hasher.update(&time.seconds.to_le_bytes());
        hasher.update(&time.nanoseconds.to_le_bytes());
    }
    // Last, as it is the only one of any length.
    hasher.update(path.as_bytes());
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    key
}

/// So long before a moment.
fn before(now: Timespec, quiet: Duration) -> Time {
    let nanoseconds = nanoseconds(now) - i128::try_from(quiet.as_nanos()).unwrap_or(i128::MAX);
    let (seconds, rest) = (
        nanoseconds.div_euclid(1_000_000_000),
        nanoseconds.rem_euclid(1_000_000_000),
    );
    Time {
        seconds: i64::try_from(seconds).unwrap_or(i64::MIN),
        nanoseconds: u32::try_from(rest).unwrap_or(0),
    }
}

fn ahead() -> i128 {
    nanoseconds(clock_gettime(ClockId::Realtime)) - nanoseconds(clock_gettime(ClockId::Boottime))
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(10);

    fn time(seconds: i64) -> Time {
        Time {
            seconds,
            nanoseconds: 5,
        }
    }

    fn stamp() -> Stamp {
        Stamp {
            inode: 7,
            size: 100,
            modified: time(1000),
            changed: time(2000),
        }
    }

    fn path(name: &str) -> TreePath {
        TreePath::root().join(name.as_bytes())
    }

    const DIGEST: Digest = Digest([9; 32]);

    /// A look that began to sync at this second.
    fn look(recollection: &Recollection, second: i64) -> Look<'_> {
        let now = Timespec {
            tv_sec: second,
            tv_nsec: 0,
        };
        Look {
            recollection,
            device: 1,
            before: Some(before(now, QUIET)),
        }
    }

    fn recall(recollection: &Recollection, name: &str, stamp: &Stamp) -> Option<Digest> {
        let look = Look {
            recollection,
            device: 1,
            before: None,
        };
        look.recall(&path(name), stamp)
    }

    /// One that remembers a file `a`, which was left alone for long.
    fn knows() -> Recollection {
        let recollection = Recollection::new(Some(QUIET));
        look(&recollection, 3000).remember(&path("a"), &stamp(), DIGEST);
        recollection.take_in(ahead());
        recollection
    }

    #[test]
    fn a_file_is_recalled_as_long_as_nothing_of_it_changed() {
        let knows = knows();
        assert_eq!(recall(&knows, "a", &stamp()), Some(DIGEST));
        assert_eq!(recall(&knows, "b", &stamp()), None);
        let inode = |stamp: &mut Stamp| stamp.inode += 1;
        let size = |stamp: &mut Stamp| stamp.size += 1;
        let modified = |stamp: &mut Stamp| stamp.modified.nanoseconds += 1;
        let changed = |stamp: &mut Stamp| stamp.changed.nanoseconds += 1;
        let swapped = |stamp: &mut Stamp| std::mem::swap(&mut stamp.modified, &mut stamp.changed);
        let changes: [fn(&mut Stamp); 5] = [inode, size, modified, changed, swapped];
        for (number, change) in changes.iter().enumerate() {
            let mut other = stamp();
            change(&mut other);
            assert_eq!(recall(&knows, "a", &other), None, "change {number}");
        }
    }

    #[test]
    fn a_file_that_was_changed_shortly_before_the_sync_is_not_remembered() {
        let remembers = |second| {
            let recollection = Recollection::new(Some(QUIET));
            look(&recollection, second).remember(&path("a"), &stamp(), DIGEST);
            recollection.take_in(ahead());
            recall(&recollection, "a", &stamp()).is_some()
        };
        assert!(remembers(2011));
        // Five nanoseconds too late.
        assert!(!remembers(2010));
        // The clock was set back meanwhile.
        assert!(!remembers(1000));
    }

    #[test]
    fn whoever_only_recalls_remembers_nothing() {
        let recollection = Recollection::new(Some(QUIET));
        let look = Look {
            recollection: &recollection,
            device: 1,
            before: None,
        };
        look.remember(&path("a"), &stamp(), DIGEST);
        recollection.take_in(ahead());
        assert_eq!(recall(&recollection, "a", &stamp()), None);
    }

    #[test]
    fn all_is_forgotten_when_the_clock_was_set() {
        for set in [-2_000_000_000, 2_000_000_000] {
            let knows = knows();
            // It was made well within a second.
            knows.take_in(ahead());
            assert!(recall(&knows, "a", &stamp()).is_some());
            look(&knows, 3000).remember(&path("b"), &stamp(), DIGEST);
            knows.take_in(ahead() + set);
            assert_eq!(recall(&knows, "a", &stamp()), None);
            assert_eq!(recall(&knows, "b", &stamp()), None, "what came last, too");
            look(&knows, 3000).remember(&path("a"), &stamp(), DIGEST);
            knows.take_in(ahead() + set);
            assert!(recall(&knows, "a", &stamp()).is_some(), "anew");
        }
    }

    #[test]
    fn many_are_found_and_the_same_one_is_kept_once() {
        let recollection = Recollection::new(Some(QUIET));
        for _ in 0..2 {
            for number in 0..1000_u16 {
                let mut digest = [0; 32];
                digest[..2].copy_from_slice(&number.to_le_bytes());
                let look = look(&recollection, 3000);
                look.remember(&path(&number.to_string()), &stamp(), Digest(digest));
            }
            recollection.take_in(ahead());
        }
        for number in 0..1000_u16 {
            let found = recall(&recollection, &number.to_string(), &stamp());
            let found = found.map(|digest| u16::from_le_bytes([digest.0[0], digest.0[1]]));
            assert_eq!(found, Some(number));
        }
        let inner = recollection.inner.read().expect("no panic");
        assert_eq!(inner.known.len(), 1000);
    }

    #[test]
    fn a_moment_before_the_epoch_is_one_too() {
        let now = Timespec {
            tv_sec: 1,
            tv_nsec: 1,
        };
        let expected = Time {
            seconds: -2,
            nanoseconds: 500_000_001,
        };
        assert_eq!(before(now, Duration::from_millis(2500)), expected);
    }
}
