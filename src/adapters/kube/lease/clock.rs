//! The clock of a lock: it never jumps, and it goes on while the process is stopped or the machine sleeps.
use std::{sync::Arc, time::Duration};

/// A monotonic clock; a value, so that a test can move its own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The machine's clock since boot, suspend included. `Instant` does not count suspend on Linux.
    #[must_use]
    pub fn since_boot() -> Self {
        Self::new(|| {
            // On macOS the plain monotonic clock counts suspend already.
            #[cfg(target_os = "linux")]
            let clock = rustix::time::ClockId::Boottime;
            #[cfg(not(target_os = "linux"))]
            let clock = rustix::time::ClockId::Monotonic;
            let time = rustix::time::clock_gettime(clock);
            let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
            let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
            Duration::new(seconds, nanoseconds)
        })
    }

    /// Any clock that never goes back.
    #[must_use]
    pub fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Time since some fixed moment.
    #[must_use]
    pub fn now(&self) -> Duration {
        (self.0)()
    }
}
