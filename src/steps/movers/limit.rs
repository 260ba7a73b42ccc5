use tokio::sync::watch;

use crate::plan::Rate;

/// How many bytes of contents a migration may send a second, and how many of its volumes are copied now.
///
/// All steps of a run share it. It may change at any time, and each volume that is copied has an equal share of it:
/// who has little to send does not leave his share to the others, which would take a mover that knows of all of them.
#[derive(Clone, Debug)]
pub struct Limit(watch::Sender<Shared>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shared {
    whole: Option<u64>,
    copying: u64,
}

impl Limit {
    /// A limit, or none, to begin with.
    #[must_use]
    pub fn new(whole: Option<u64>) -> Self {
        Self(watch::Sender::new(Shared { whole, copying: 0 }))
    }

    /// The limit of the whole migration.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        self.0.borrow().whole
    }

    /// Another limit from now on; whether it is another.
    #[must_use]
    pub fn set(&self, whole: Option<u64>) -> bool {
        self.0.send_if_modified(|shared| {
            let new = shared.whole != whole;
            shared.whole = whole;
            new
        })
    }

    /// What each of so many volumes would have of it.
    #[must_use]
    pub fn of_each(&self, volumes: usize) -> Option<u64> {
        let volumes = u64::try_from(volumes).unwrap_or(u64::MAX);
        share(self.whole(), volumes)
    }

    /// The share of a volume that is copied for as long as it is kept.
    pub(super) fn join(&self) -> Share {
        self.0.send_modify(|shared| shared.copying += 1);
        Share {
            seen: self.0.subscribe(),
            limit: self.clone(),
            least: None,
        }
    }
}

/// Never less than what a mover can be limited to: a connection on which less passes looks like one that is dead.
fn share(whole: Option<u64>, volumes: u64) -> Option<u64> {
    whole.map(|whole| (whole / volumes.max(1)).max(Rate::LEAST))
}

/// What one volume has of a [`Limit`].
#[derive(Debug)]
pub(super) struct Share {
    limit: Limit,
    seen: watch::Receiver<Shared>,
    least: Option<u64>,
}

impl Share {
    /// How much it is now.
    pub(super) fn now(&mut self) -> Option<u64> {
        let Shared { whole, copying } = *self.seen.borrow_and_update();
        let now = share(whole, copying);
        self.least = self.least.into_iter().chain(now).min();
        now
    }

    /// The least that it was; none where there never was a limit.
    pub(super) fn least(&self) -> Option<u64> {
        self.least
    }

    /// Resolves when it may have changed since [`Share::now`].
    pub(super) async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // Its sender is kept beside it.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.limit.0.send_modify(|shared| shared.copying -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn volumes_that_are_copied_have_equal_shares_and_hear_of_each_change() {
        let limit = Limit::new(Some(12 << 20));
        let mut first = limit.join();
        assert_eq!(first.now(), Some(12 << 20));
        assert!(first.changed().now_or_never().is_none());
        let mut second = limit.join();
        assert!(first.changed().now_or_never().is_some());
        assert_eq!((first.now(), second.now()), (Some(6 << 20), Some(6 << 20)));
        assert!(limit.set(None));
        assert!(!limit.set(None));
        assert!(second.changed().now_or_never().is_some());
        assert_eq!((first.now(), second.now()), (None, None));
        assert!(limit.set(Some(8 << 20)));
        drop(second);
        assert!(first.changed().now_or_never().is_some());
        assert_eq!(first.now(), Some(8 << 20));
        assert_eq!(first.least(), Some(6 << 20));
    }

    #[test]
    fn no_share_is_less_than_a_mover_can_be_limited_to() {
        let limit = Limit::new(Some(Rate::LEAST));
        assert_eq!(limit.of_each(10), Some(Rate::LEAST));
        assert_eq!(limit.of_each(0), Some(Rate::LEAST));
        assert_eq!(Limit::new(None).of_each(3), None);
    }
}
