//! Bounded waits that say what they wait for and what they saw last.
use std::{future::Future, time::Duration};

use futures::StreamExt;
use kube::Api;
use tokio::time::{Instant, timeout_at};

use super::{KubeError, Selector, get_opt, list_all, objects::Object, watch};

/// However dead the watch is, the object is read at least this often.
const POLL: Duration = Duration::from_secs(10);

/// What a look at the object says about the wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is as wanted.
    Done,
    /// Not yet; what is seen now, in a few words.
    NotYet(String),
    /// It can no longer become as wanted; why.
    Never(String),
}

/// A wait: its name, its bound, and who hears that it still goes on.
#[derive(Clone, Copy)]
pub struct Wait<'a> {
    what: &'a str,
    bound: Duration,
    tell: &'a (dyn Fn(&str) + Send + Sync),
    /// How often it is read where nothing is watched.
    only_read: Option<Duration>,
}

impl<'a> Wait<'a> {
    /// `what` fits after "waiting for": `pod shop/orders-db-1 to be ready`.
    #[must_use]
    pub fn new(what: &'a str, bound: Duration) -> Self {
        Self {
            what,
            bound,
            tell: &|_| {},
            only_read: None,
        }
    }

    /// By reading alone, this often: for objects that nobody has to have the right to list and to watch.
    #[must_use]
    pub fn reading_each(self, interval: Duration) -> Self {
        Self {
            only_read: Some(interval),
            ..self
        }
    }

    /// Told whenever something new is seen, and at least every ten seconds.
    #[must_use]
    pub fn telling(self, tell: &'a (dyn Fn(&str) + Send + Sync)) -> Self {
        Self { tell, ..self }
    }
}

/// Waits until the named object is as wanted; `look` gets `None` while it does not exist.
pub async fn wait_for<K: Object>(
    api: &Api<K>,
    name: &str,
    wait: &Wait<'_>,
    mut look: impl FnMut(Option<&K>) -> Look + Send,
) -> Result<Option<K>, KubeError> {
    let selector = Selector::named(name);
    wait_until(
        api,
        &selector,
        wait,
        || get_opt(api, name),
        |object| look(object.as_ref()),
    )
    .await
}

/// Waits until the objects that match are as wanted.
pub async fn wait_for_all<K: Object>(
    api: &Api<K>,
    selector: &Selector,
    wait: &Wait<'_>,
    mut look: impl FnMut(&[K]) -> Look + Send,
) -> Result<Vec<K>, KubeError> {
    wait_until(
        api,
        selector,
        wait,
        || list_all(api, selector),
        |objects| look(objects),
    )
    .await
}

/// The watch only says when to read again; what counts is what is read.
async fn wait_until<K, T, R>(
    api: &Api<K>,
    selector: &Selector,
    wait: &Wait<'_>,
    read: impl Fn() -> R + Send,
    mut look: impl FnMut(&T) -> Look + Send,
) -> Result<T, KubeError>
where
    K: Object,
    T: Send,
    R: Future<Output = Result<T, KubeError>> + Send,
{
    let deadline = Instant::now() + wait.bound;
    let mut changes = std::pin::pin!(watch(api.clone(), selector.clone()));
    let mut watching = wait.only_read.is_none();
    let mut polled = false;
    let mut last_seen = "nothing yet".to_owned();
    loop {
        let seen = match timeout_at(deadline, read()).await {
            Err(_) => return Err(timed_out(wait, last_seen)),
            Ok(Ok(found)) => match look(&found) {
                Look::Done => return Ok(found),
                Look::Never(why) => {
                    return Err(KubeError::WillNotHappen {
                        what: wait.what.to_owned(),
                        why,
                    });
                }
                Look::NotYet(seen) => seen,
            },
            Ok(Err(error)) if error.is_passing() => error.to_string(),
            Ok(Err(error)) => return Err(error),
        };
        if polled || seen != last_seen {
            (wait.tell)(&format!(
                "still waiting for {}; last seen: {seen}",
                wait.what
            ));
        }
        last_seen = seen;
        let next_read = deadline.min(Instant::now() + wait.only_read.unwrap_or(POLL));
        let news = async {
            if !watching {
                return std::future::pending().await;
            }
            changes.next().await
        };
        let woken = timeout_at(next_read, news).await;
        polled = woken.is_err();
        if polled && Instant::now() >= deadline {
            return Err(timed_out(wait, last_seen));
        }
        // Without the right to watch, reading alone will do.
        if let Ok(None | Some(Err(_))) = woken {
            watching = false;
        }
    }
}

fn timed_out(wait: &Wait<'_>, last_seen: String) -> KubeError {
    KubeError::TimedOut {
        what: wait.what.to_owned(),
        after: wait.bound,
        last_seen,
    }
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
