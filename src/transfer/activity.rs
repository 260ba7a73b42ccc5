//! What the workers of a mover are at: each says so where that changes, and one thread looks at all of them.
//!
//! To say it is one store to memory and asks no clock, so that a file of a few bytes is copied no slower for it. The
//! looks, fifty a second, add up to how many workers were at what; [`super::bottleneck`] makes a verdict of them.
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How often the workers are looked at: often enough for a second to tell something, seldom enough to cost nothing.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// What a worker is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Doing {
    /// Nothing: there is no work for it.
    Idle,
    /// It reads the volume.
    Reading,
    /// It digests, encrypts or decrypts.
    Computing,
    /// It waits until the limit lets it send.
    Limited,
    /// It waits for the socket to take bytes.
    Sending,
    /// It waits for the socket to give bytes: on the target those of a file, on the source the next request.
    Receiving,
    /// It writes to the volume, or waits for that to be synced.
    Writing,
}

/// How many sorts of [`Doing`] there are.
const SORTS: usize = 7;

/// How often workers were seen at what, since the mover or the operation began. Every number only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Activity {
    looks: u64,
    seen: [u64; SORTS],
}

/// How many workers were at what, on the average of some time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Load([f64; SORTS]);

impl Activity {
    /// What was seen since an earlier time; none when it was another mover, or another operation, then.
    #[must_use]
    pub fn since(&self, before: &Self) -> Option<Self> {
        let mut since = Self {
            looks: self.looks.checked_sub(before.looks)?,
            seen: [0; SORTS],
        };
        for (at, sort) in since.seen.iter_mut().enumerate() {
            *sort = self.seen[at].checked_sub(before.seen[at])?;
        }
        Some(since)
    }

    /// The average of all looks; nothing where there was none.
    #[must_use]
    pub fn load(&self) -> Load {
        let looks = self.looks.max(1) as f64;
        Load(self.seen.map(|sort| sort as f64 / looks))
    }
}

impl Load {
    pub(crate) fn of(&self, doing: Doing) -> f64 {
        self.0[usize::from(doing as u8)]
    }

    #[cfg(test)]
    pub(crate) fn with(mut self, doing: Doing, workers: f64) -> Self {
        self.0[usize::from(doing as u8)] = workers;
        self
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, more: Self) {
        for (sum, more) in self.0.iter_mut().zip(more.0) {
            *sum += more;
        }
    }
}

/// Where one worker says what it is at. Clones are the same place.
#[derive(Clone, Default)]
pub(crate) struct Station(Arc<AtomicU8>);

impl Station {
    /// It is at this from now on.
    pub(crate) fn set(&self, doing: Doing) {
        self.0.store(doing as u8, Relaxed);
    }

    /// It is at this for as long as the work takes, and then again at what it was at before.
    pub(crate) fn during<T>(&self, doing: Doing, work: impl FnOnce() -> T) -> T {
        let _at = self.at(doing);
        work()
    }

    /// The same for as long as the answer is kept.
    pub(crate) fn at(&self, doing: Doing) -> At<'_> {
        // Only the worker itself writes here.
        let before = self.0.load(Relaxed);
        self.set(doing);
        At {
            station: self,
            before,
        }
    }
}

/// See [`Station::at`].
pub(crate) struct At<'station> {
    station: &'station Station,
    before: u8,
}

impl Drop for At<'_> {
    fn drop(&mut self) {
        self.station.0.store(self.before, Relaxed);
    }
}

/// All stations of a mover, and what was seen at them.
#[derive(Default)]
pub(crate) struct Board(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    stations: Vec<Weak<AtomicU8>>,
    activity: Activity,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A station for one more worker, which goes when all its clones do.
    pub(crate) fn station(&self) -> Station {
        let station = Station::default();
        self.lock().stations.push(Arc::downgrade(&station.0));
        station
    }

    /// Looks at all workers.
    pub(crate) fn look(&self) {
        let mut inner = self.lock();
        let Inner { stations, activity } = &mut *inner;
        activity.looks += 1;
        stations.retain(|station| {
            let Some(station) = station.upgrade() else {
                return false;
            };
            if let Some(sort) = activity.seen.get_mut(usize::from(station.load(Relaxed))) {
                *sort += 1;
            }
            true
        });
    }

    /// What was seen so far.
    pub(crate) fn activity(&self) -> Activity {
        self.lock().activity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_seen_at_what_they_say_and_not_after_they_went() {
        let board = Board::default();
        let (one, two) = (board.station(), board.station());
        one.set(Doing::Reading);
        board.look();
        let before = board.activity();
        let at = two.at(Doing::Writing);
        two.during(Doing::Sending, || board.look());
        board.look();
        drop(at);
        drop(one);
        board.look();
        board.look();
        let since = board.activity().since(&before).expect("the same board");
        let load = since.load();
        for (doing, workers) in [
            (Doing::Reading, 0.5),
            (Doing::Sending, 0.25),
            (Doing::Writing, 0.25),
            (Doing::Idle, 0.5),
            (Doing::Limited, 0.0),
        ] {
            let found = load.of(doing);
            assert!((found - workers).abs() < 1e-9, "{doing:?}: {found}");
        }
        assert_eq!(before.since(&board.activity()), None);
        assert_eq!(Activity::default().load(), Load::default());
    }
}
