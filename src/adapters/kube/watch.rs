//! A watch that does not end: it survives closing, 410 and a connection that went silent.
use std::time::Duration;

use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Api,
    api::{ListParams, WatchEvent, WatchParams},
};

use super::{
    KubeError,
    objects::{self, Object},
};

/// The server closes the watch after this time, so that we notice a proxy that keeps a dead one open.
const WATCH_SECONDS: u32 = 60;

/// Silence beyond the server's own end of the watch: the connection is dead.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

/// Between a watch that ended and the next: doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Which objects of a kind: all, unless narrowed by labels or fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Label selector, as `app=orders,tier!=cache`.
    pub labels: Option<String>,
    /// Field selector, as `metadata.name=orders-db-0`.
    pub fields: Option<String>,
}

impl Selector {
    /// All objects.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Objects with these labels.
    #[must_use]
    pub fn labels(labels: impl Into<String>) -> Self {
        Self {
            labels: Some(labels.into()),
            fields: None,
        }
    }

    /// Objects with these fields.
    #[must_use]
    pub fn fields(fields: impl Into<String>) -> Self {
        Self {
            labels: None,
            fields: Some(fields.into()),
        }
    }

    /// The one object of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::fields(format!("metadata.name={name}"))
    }

    pub(super) fn list_params(&self) -> ListParams {
        ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            ..ListParams::default()
        }
    }

    fn watch_params(&self) -> WatchParams {
        WatchParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            ..WatchParams::default().timeout(WATCH_SECONDS)
        }
    }
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<K> {
    /// Everything that matches now; whatever was known before and is not here is gone.
    Listed(Vec<K>),
    /// Made or changed.
    Applied(K),
    /// Deleted; the last state of it.
    Deleted(K),
}

/// Follows the objects for as long as the stream is read. Begins with `Listed`.
///
/// Passing failures are waited out. Anything else (a missing right, bad credentials) is the last item.
pub fn watch<K: Object>(
    api: Api<K>,
    selector: Selector,
) -> impl Stream<Item = Result<Change<K>, KubeError>> + Send {
    let follower = Follower {
        api,
        selector,
        state: State::List,
        pause: FIRST_PAUSE,
    };
    stream::unfold(follower, |follower| async move {
        let mut follower = follower;
        loop {
            if let State::Ended = follower.state {
                return None;
            }
            match follower.step().await {
                Ok(None) => {}
                Ok(Some(change)) => return Some((Ok(change), follower)),
                Err(error) => {
                    follower.state = State::Ended;
                    return Some((Err(error), follower));
                }
            }
        }
    })
}

struct Follower<K: Object> {
    api: Api<K>,
    selector: Selector,
    state: State<K>,
    pause: Duration,
}

enum State<K> {
    List,
    Open {
        version: String,
    },
    Follow {
        version: String,
        events: BoxStream<'static, kube::Result<WatchEvent<K>>>,
    },
    Ended,
}

impl<K: Object> Follower<K> {
    async fn step(&mut self) -> Result<Option<Change<K>>, KubeError> {
        match std::mem::replace(&mut self.state, State::List) {
            State::List => match objects::list_with_version(&self.api, &self.selector).await {
                Ok((objects, version)) => {
                    self.state = State::Open { version };
                    Ok(Some(Change::Listed(objects)))
                }
                Err(error) => self.rest(error, State::List).await,
            },
            State::Open { version } => match self
                .api
                .watch(&self.selector.watch_params(), &version)
                .await
            {
                Ok(events) => {
                    self.state = State::Follow {
                        version,
                        events: events.into_stream().boxed(),
                    };
                    Ok(None)
                }
                Err(error) => match KubeError::from(error) {
                    error @ KubeError::Expired { .. } => self.rest(error, State::List).await,
                    error => self.rest(error, State::Open { version }).await,
                },
            },
            State::Follow { version, events } => self.follow(version, events).await,
            State::Ended => Ok(None),
        }
    }

    async fn follow(
        &mut self,
        version: String,
        mut events: BoxStream<'static, kube::Result<WatchEvent<K>>>,
    ) -> Result<Option<Change<K>>, KubeError> {
        let Ok(Some(Ok(event))) = tokio::time::timeout(SILENCE, events.next()).await else {
            // Closed, broken or silent: go on from the last version that we know.
            self.sleep().await;
            self.state = State::Open { version };
            return Ok(None);
        };
        let (version, change) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (
                object.meta().resource_version.clone().unwrap_or(version),
                Some(Change::Applied(object)),
            ),
            WatchEvent::Deleted(object) => (
                object.meta().resource_version.clone().unwrap_or(version),
                Some(Change::Deleted(object)),
            ),
            WatchEvent::Bookmark(bookmark) => (bookmark.metadata.resource_version, None),
            // Mostly 410, the version is too old: list again.
            WatchEvent::Error(_) => {
                self.sleep().await;
                return Ok(None);
            }
        };
        self.pause = FIRST_PAUSE;
        self.state = State::Follow { version, events };
        Ok(change)
    }

    async fn rest(
        &mut self,
        error: KubeError,
        next: State<K>,
    ) -> Result<Option<Change<K>>, KubeError> {
        if !error.is_passing() {
            return Err(error);
        }
        self.sleep().await;
        self.state = next;
        Ok(None)
    }

    async fn sleep(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
