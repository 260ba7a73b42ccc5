//! Credentials that run out while a mover works with them: it asks its client for those of then, and goes on where it is.
use super::Access;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a client may take to read what he has now.
pub(crate) const LENT_WITHIN: Duration = Duration::from_secs(15);
/// How long it is waited for; less than an operation that is stopped may take to its end.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// What a client gives a mover whose credentials are no longer taken: those that there are now, which may be the same.
#[derive(Clone)]
pub struct Lender(Arc<dyn Fn() -> BoxFuture<'static, Option<Access>> + Send + Sync>);

impl Lender {
    /// One that looks each time anew; none where nothing is found.
    pub fn new(
        look: impl Fn() -> BoxFuture<'static, Option<Access>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(look))
    }

    /// What there is now.
    pub(crate) async fn access(&self) -> Option<Access> {
        tokio::time::timeout(LENT_WITHIN, (self.0)()).await.ok()?
    }
}

impl fmt::Debug for Lender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Lender")
    }
}

/// Where those who work with a bucket meet the session that talks to the client.
#[derive(Default)]
pub struct Renewal {
    inner: Mutex<Inner>,
    answered: Condvar,
}

#[derive(Default)]
struct Inner {
    asking: Asking,
    /// How many answers there were.
    answers: u64,
    last: Option<Access>,
}

#[derive(Default, PartialEq, Eq)]
enum Asking {
    #[default]
    Nothing,
    /// Somebody wants to know, and the client does not know yet.
    Wanted,
    /// The client was asked.
    Asked,
}

impl Renewal {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the client has now; none if he has nothing, or is gone. It blocks, and all who wait get one answer.
    #[must_use]
    pub fn ask(&self) -> Option<Access> {
        self.ask_within(ANSWERED_WITHIN)
    }

    fn ask_within(&self, bound: Duration) -> Option<Access> {
        let mut inner = self.lock();
        let before = inner.answers;
        if inner.asking == Asking::Nothing {
            inner.asking = Asking::Wanted;
        }
        let (mut inner, _) = self
            .answered
            .wait_timeout_while(inner, bound, |inner| inner.answers == before)
            .unwrap_or_else(PoisonError::into_inner);
        if inner.answers == before {
            // Nobody answers. Whoever asks next asks anew, perhaps another client.
            inner.asking = Asking::Nothing;
            return None;
        }
        inner.last.clone()
    }

    /// Whether the client is to be asked now; he is asked once for all who wait.
    pub(crate) fn is_wanted(&self) -> bool {
        let mut inner = self.lock();
        let wanted = inner.asking == Asking::Wanted;
        if wanted {
            inner.asking = Asking::Asked;
        }
        wanted
    }

    /// Takes the client's answer, or that there is none: whoever waits goes on.
    pub(crate) fn answer(&self, access: Option<Access>) {
        let mut inner = self.lock();
        inner.asking = Asking::Nothing;
        inner.answers += 1;
        inner.last = access;
        self.answered.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_went_without_an_answer_is_not_waited_for_by_the_next() {
        let renewal = Renewal::default();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| renewal.ask_within(Duration::from_millis(1)));
            // He hears of it, and says nothing any more.
            while !renewal.is_wanted() && !asked.is_finished() {
                std::thread::yield_now();
            }
            assert!(asked.join().is_ok_and(|access| access.is_none()));
        });
        assert!(!renewal.is_wanted());
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| renewal.ask_within(Duration::from_mins(1)));
            // Another client is asked anew.
            while !renewal.is_wanted() {
                std::thread::yield_now();
            }
            renewal.answer(None);
            assert!(asked.join().is_ok_and(|access| access.is_none()));
        });
    }
}
