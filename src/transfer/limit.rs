//! How fast a mover may send contents: a bucket that fills with bytes at that rate, and that sending empties.
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was not sent for so long may be sent later at once: a moment in which the disk was slow is caught up with, and
/// a pause does not become a burst.
const SAVED: Duration = Duration::from_millis(250);

/// The limit of everything that one mover sends, on all its connections together.
#[derive(Debug)]
pub(crate) struct Limiter {
    bucket: Mutex<Bucket>,
    changed: Condvar,
}

impl Limiter {
    /// Nothing is limited.
    pub(crate) fn new() -> Self {
        Self {
            bucket: Mutex::new(Bucket::new(Instant::now())),
            changed: Condvar::new(),
        }
    }

    /// Limits to so many bytes a second from now on, also those who wait already; none lifts it.
    pub(crate) fn set(&self, bytes_per_second: Option<u64>) {
        self.lock().set(bytes_per_second, Instant::now());
        self.changed.notify_all();
    }

    /// Takes the right to send so many bytes; false when there was none within this time.
    pub(crate) fn take(&self, bytes: u64, within: Duration) -> bool {
        let begun = Instant::now();
        let mut bucket = self.lock();
        loop {
            let now = Instant::now();
            let Some(wait) = bucket.take(bytes, now) else {
                return true;
            };
            let left = within.saturating_sub(now.saturating_duration_since(begun));
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(bucket, wait.min(left));
            (bucket, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bucket, with the time given to it.
#[derive(Debug)]
struct Bucket {
    rate: Option<u64>,
    /// Bytes in it. Whoever finds it not in debt takes all that he wants, so that a piece that is larger than the
    /// bucket goes out as well, and those after him wait until that is paid.
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self {
            rate: None,
            level: 0.0,
            filled: now,
        }
    }

    fn set(&mut self, rate: Option<u64>, now: Instant) {
        self.fill(now);
        if self.rate.is_none() || rate.is_none() {
            self.level = 0.0;
        }
        // None at all would wait for ever, and longer than any time that can be told.
        self.rate = rate.map(|rate| rate.max(1));
        self.fill(now);
    }

    /// Takes bytes out, or says how long to wait before it is tried again.
    fn take(&mut self, bytes: u64, now: Instant) -> Option<Duration> {
        let rate = self.rate?;
        self.fill(now);
        if self.level >= 0.0 {
            self.level -= bytes as f64;
            return None;
        }
        let wait = Duration::try_from_secs_f64(-self.level / rate as f64);
        // Rounded down to nothing it would be asked again without a pause.
        Some(wait.map_or(Duration::MAX, |wait| wait.max(Duration::from_micros(100))))
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        if let Some(rate) = self.rate {
            let rate = rate as f64;
            self.level = (self.level + rate * since).min(rate * SAVED.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    /// Sends pieces without a pause for this long, on a clock that jumps to the end of each wait; the bytes sent.
    fn send(bucket: &mut Bucket, now: &mut Instant, piece: u64, time: Duration) -> u64 {
        let end = *now + time;
        let mut sent = 0;
        while *now < end {
            match bucket.take(piece, *now) {
                None => sent += piece,
                Some(wait) => *now += wait,
            }
        }
        sent
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn no_more_is_sent_than_the_rate_and_no_less_whatever_the_pieces() {
        for piece in [1, 64, 1024].map(|kib| kib * KIB) {
            let mut now = Instant::now();
            let mut bucket = Bucket::new(now);
            bucket.set(Some(512 * KIB), now);
            let sent = send(&mut bucket, &mut now, piece, seconds(60));
            let fair = 60 * 512 * KIB;
            assert!(
                (fair - piece..=fair + 2 * piece).contains(&sent),
                "{sent} of {fair} in pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut now = Instant::now();
        let mut bucket = Bucket::new(now);
        bucket.set(Some(1000 * KIB), now);
        now += seconds(3600);
        let sent = send(&mut bucket, &mut now, KIB, seconds(1));
        assert!(
            (1000 * KIB..=1252 * KIB).contains(&sent),
            "{sent} in a second"
        );
    }

    #[test]
    fn a_change_holds_at_once_for_what_waits_as_well() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        bucket.set(Some(KIB), now);
        assert_eq!(bucket.take(1024 * KIB, now), None);
        let slow = bucket.take(KIB, now).expect("a debt");
        assert!(slow > seconds(1000), "{slow:?}");
        bucket.set(Some(1024 * KIB), now);
        let fast = bucket.take(KIB, now).expect("still a debt");
        assert!(fast <= seconds(1), "{fast:?}");
        bucket.set(None, now);
        assert_eq!(bucket.take(u64::MAX, now), None);
        assert_eq!(bucket.take(u64::MAX, now), None);
        // What was sent while nothing was limited is no debt.
        bucket.set(Some(KIB), now);
        assert_eq!(bucket.take(KIB, now), None);
    }

    #[test]
    fn whoever_waits_is_let_go_when_the_limit_is_lifted() {
        let limiter = Limiter::new();
        limiter.set(Some(1));
        assert!(limiter.take(1 << 30, Duration::ZERO));
        assert!(!limiter.take(1, Duration::ZERO));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| limiter.take(1, Duration::from_hours(1)));
            limiter.set(None);
            assert!(waits.join().expect("no panic"));
        });
    }
}
