//! What is to be fetched, and who fetches it: whole files by the batch, large ones by the stretch, so that all
//! connections work on one of them together.
use super::large::Large;
use crate::transfer::cancel::Cancel;
use crate::transfer::fault::Fault;
use crate::transfer::path::TreePath;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many files wait to be fetched before the listing waits for them.
const LENGTH: usize = 4096;
/// One request asks for at most so many files
const REQUEST_FILES: usize = 256;
/// or so many bytes, and one file more.
const REQUEST_BYTES: u64 = 4 << 20;
/// With nothing to fetch for so long, what is ready is put in place.
const IDLE: Duration = Duration::from_millis(500);
/// How often whoever waits for room looks whether the operation was stopped.
const LOOK: Duration = Duration::from_millis(100);

/// A file to fetch whole.
pub(crate) struct Job {
    pub(crate) path: TreePath,
    pub(crate) size: u64,
}

/// What to do next.
pub(crate) enum Taken {
    /// These files, with one request.
    Files(Vec<Job>),
    /// This stretch of a large file.
    Stretch(Arc<Large>, u64),
    /// Nothing has come for a while.
    Nothing,
    /// Nothing comes any more.
    Ended,
}

enum Waiting {
    File(Job),
    Large { file: Arc<Large>, next: u64 },
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    producers: usize,
    /// Large files that were put in and are not done with: any of them may come again.
    unfinished: usize,
}

/// See the module.
pub(crate) struct Queue<'a> {
    cancel: &'a Cancel,
    inner: Mutex<Inner>,
    more: Condvar,
    room: Condvar,
}

impl<'a> Queue<'a> {
    pub(crate) fn new(cancel: &'a Cancel) -> Self {
        Self {
            cancel,
            inner: Mutex::default(),
            more: Condvar::new(),
            room: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An end to put files in by. The queue ends when all of them are dropped and nothing is left.
    pub(crate) fn producer(&self) -> Producer<'_> {
        self.lock().producers += 1;
        Producer(self)
    }

    fn put(&self, waiting: Waiting) -> Result<(), Fault> {
        let mut inner = self.lock();
        while inner.waiting.len() >= LENGTH {
            let waited = self.room.wait_timeout(inner, LOOK);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.cancel.check()?;
        }
        if matches!(waiting, Waiting::Large { .. }) {
            inner.unfinished += 1;
        }
        inner.waiting.push_back(waiting);
        self.more.notify_one();
        Ok(())
    }

    /// A large file is done with.
    pub(crate) fn finished(&self) {
        self.lock().unfinished -= 1;
        self.more.notify_all();
    }

    /// A large file has to be looked at once more, before all others.
    pub(crate) fn again(&self, file: Arc<Large>) {
        let waiting = Waiting::Large { file, next: 0 };
        self.lock().waiting.push_front(waiting);
        self.more.notify_all();
    }

    /// Waits for something to do.
    pub(crate) fn take(&self) -> Result<Taken, Fault> {
        let mut inner = self.lock();
        loop {
            self.cancel.check()?;
            if let Some(Waiting::Large { file, next }) = inner.waiting.front_mut() {
                let taken = Taken::Stretch(file.clone(), *next);
                *next += 1;
                if *next < file.stretches() {
                    self.more.notify_one();
                } else {
                    inner.waiting.pop_front();
                    self.room.notify_one();
                }
                return Ok(taken);
            }
            if !inner.waiting.is_empty() {
                let batch = inner.batch();
                self.room.notify_all();
                return Ok(Taken::Files(batch));
            }
            if inner.producers == 0 && inner.unfinished == 0 {
                return Ok(Taken::Ended);
            }
            let waited = self.more.wait_timeout(inner, IDLE);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return Ok(Taken::Nothing);
            }
            inner = again;
        }
    }
}

impl Inner {
    fn batch(&mut self) -> Vec<Job> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < REQUEST_FILES && bytes < REQUEST_BYTES {
            match self.waiting.pop_front() {
                Some(Waiting::File(job)) => {
                    bytes += job.size;
                    batch.push(job);
                }
                Some(large) => {
                    self.waiting.push_front(large);
                    break;
                }
                None => break,
            }
        }
        batch
    }
}

/// See [`Queue::producer`].
pub(crate) struct Producer<'queue>(&'queue Queue<'queue>);

impl Producer<'_> {
    /// Puts a file in that is fetched whole.
    pub(crate) fn file(&self, path: TreePath, size: u64) -> Result<(), Fault> {
        self.0.put(Waiting::File(Job { path, size }))
    }

    /// Puts a file in that goes by blocks.
    pub(crate) fn large(&self, file: Large) -> Result<(), Fault> {
        let file = Arc::new(file);
        self.0.put(Waiting::Large { file, next: 0 })
    }
}

impl Drop for Producer<'_> {
    fn drop(&mut self) {
        self.0.lock().producers -= 1;
        self.0.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::transfer::blocks::{BLOCK, STRETCH};

    fn path(name: &str) -> TreePath {
        TreePath::new(name.as_bytes()).unwrap()
    }

    fn told(taken: Taken) -> String {
        match taken {
            Taken::Files(jobs) => format!("{} files", jobs.len()),
            Taken::Stretch(file, number) => format!("{} {number}", file.path()),
            Taken::Nothing => "nothing".to_owned(),
            Taken::Ended => "ended".to_owned(),
        }
    }

    #[test]
    fn small_files_come_by_the_batch_and_large_ones_by_the_stretch_until_all_is_done() {
        let cancel = Cancel::default();
        let queue = Queue::new(&cancel);
        let producer = queue.producer();
        for _ in 0..300 {
            producer.file(path("small"), 1000).unwrap();
        }
        let size = (STRETCH + 1) * BLOCK;
        producer
            .large(Large::new(path("large"), size, None))
            .unwrap();
        producer.file(path("small"), 5 << 20).unwrap();
        producer.file(path("small"), 1).unwrap();
        let next = || told(queue.take().unwrap());
        assert_eq!([next(), next()], ["256 files", "44 files"]);
        assert_eq!([next(), next()], ["large 0", "large 1"]);
        assert_eq!([next(), next(), next()], ["1 files", "1 files", "nothing"]);
        drop(producer);
        // It may come again until it is done with, and does before all others.
        assert_eq!(next(), "nothing");
        queue.again(Arc::new(Large::new(path("again"), 0, None)));
        assert_eq!(next(), "again 0");
        queue.finished();
        assert_eq!([next(), next()], ["ended", "ended"]);
    }

    #[test]
    fn whoever_waits_for_room_or_work_hears_of_the_end() {
        let cancel = Cancel::default();
        let queue = Queue::new(&cancel);
        let producer = queue.producer();
        for _ in 0..LENGTH {
            producer.file(path("small"), 1).unwrap();
        }
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| producer.file(path("one more"), 1));
            cancel.stop(Fault::Stopped);
            assert_eq!(waits.join().unwrap(), Err(Fault::Stopped));
        });
        assert_eq!(queue.take().err(), Some(Fault::Stopped));
    }
}
