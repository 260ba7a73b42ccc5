//! A lock that is held: renewed in the background, checked before each change.
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::PostParams};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    super::{Cluster, KubeError, RetryPolicy, WriteGuard, get_opt},
    Clock, Lock, OtherHolder, limit_of, record,
};

/// Progress is published at most this often: the Lease is no message queue.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);

/// Somebody who changes our Lease without taking it (a label) may do so this often during one renewal.
const RENEWAL_ROUNDS: u32 = 3;

/// The lock. Dropping it stops the renewal and leaves the Lease to run out; `release` frees it at once.
pub struct Held {
    shared: Arc<Shared>,
    renewal: JoinHandle<()>,
}

struct Shared {
    api: Api<Lease>,
    name: String,
    fence: i32,
    duration: Duration,
    clock: Clock,
    /// The Lease as we last wrote it; locked while it is being written.
    lease: tokio::sync::Mutex<Lease>,
    /// When the last renewal that worked was sent, by our clock.
    renewed: Mutex<Duration>,
    lost: watch::Sender<Option<Lost>>,
    /// Why the last renewal that did not work got no answer.
    unanswered: Mutex<String>,
    progress: Mutex<watch::Receiver<String>>,
    /// What others wrote on the Lease about our speed.
    limit: watch::Sender<Option<String>>,
}

/// Why a lock is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Another runner has it, or its Lease was deleted.
    Taken(String),
    /// The server did not answer for so long that another runner may have it.
    Silence(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(why) | Self::Silence(why) => f.write_str(why),
        }
    }
}

/// The end of one renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Done,
    /// The server did not answer: until the duration is over, the lock may still be ours.
    NoAnswer,
    Lost,
}

impl Held {
    pub(super) fn start(
        cluster: &Cluster,
        lock: &Lock,
        lease: Lease,
        since: Duration,
        progress: watch::Receiver<String>,
    ) -> Result<Self, KubeError> {
        let fence = record::transitions(&lease);
        if fence < 1 {
            return Err(KubeError::Other {
                what: format!("cannot use lease {}/{}", lock.namespace, lock.name),
                cause: "it has no fencing number; delete it if no run is at work".to_owned(),
            });
        }
        // A renewal that takes longer than until the next one is of no use.
        let bound = lock.duration / 3;
        let policy = RetryPolicy {
            total: bound,
            single_try: bound,
            first_contact: bound,
            ..cluster.retry()
        };
        let shared = Arc::new(Shared {
            api: cluster.with_retry(policy).namespaced(&lock.namespace),
            name: lock.name.clone(),
            fence,
            duration: lock.duration,
            clock: lock.clock.clone(),
            limit: watch::Sender::new(limit_of(&lease)),
            lease: tokio::sync::Mutex::new(lease),
            renewed: Mutex::new(since),
            lost: watch::Sender::new(None),
            unanswered: Mutex::new(String::new()),
            progress: Mutex::new(progress.clone()),
        });
        let renewal = tokio::spawn(keep(Arc::clone(&shared), progress));
        Ok(Self { shared, renewal })
    }

    /// The fencing number: greater than that of every holder before us.
    #[must_use]
    pub fn fence(&self) -> i32 {
        self.shared.fence
    }

    /// What stands on the Lease about the limit, as of the last renewal.
    #[must_use]
    pub fn limit(&self) -> watch::Receiver<Option<String>> {
        self.shared.limit.subscribe()
    }

    /// `Err` with the reason once the lock is lost. Cheap after a recent renewal; else renews now.
    pub async fn check(&self) -> Result<(), String> {
        self.shared.check().await
    }

    /// The check as a write guard for a `Cluster`.
    #[must_use]
    pub fn guard(&self) -> WriteGuard {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || {
            let shared = Arc::clone(&shared);
            Box::pin(async move { shared.check().await })
        })
    }

    /// Resolves with the reason when the lock is lost.
    pub async fn lost(&self) -> Lost {
        let mut lost = self.shared.lost.subscribe();
        let why = lost.wait_for(Option::is_some).await;
        why.ok()
            .and_then(|why| why.clone())
            .unwrap_or_else(|| Lost::Taken("the renewal ended".to_owned()))
    }

    /// The reason, if the lock is lost now. After silence the server is asked once more: a runner that was
    /// asleep for long learns who has taken over.
    pub async fn why_lost(&self) -> Option<Lost> {
        let why = self.shared.why_lost()?;
        if let Lost::Silence(_) = why
            && let Ok(Some(found)) = get_opt(&self.shared.api, &self.shared.name).await
            && record::transitions(&found) != self.shared.fence
        {
            let holder = OtherHolder::of(&found);
            let taken = if holder.identity.is_empty() {
                format!("another run has had it since, fence {}", holder.fence)
            } else {
                format!("now held by {holder}")
            };
            return Some(Lost::Taken(taken));
        }
        Some(why)
    }

    /// Frees the Lease for the next runner. A lock that is lost already is left alone.
    pub async fn release(self) -> Result<(), KubeError> {
        self.renewal.abort();
        if self.shared.why_lost().is_some() {
            return Ok(());
        }
        let mut lease = self.shared.lease.lock().await;
        for _ in 0..RENEWAL_ROUNDS {
            let freed = record::released(&lease);
            match self
                .shared
                .api
                .replace(&self.shared.name, &PostParams::default(), &freed)
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) => match KubeError::from(error) {
                    error if error.is_not_found() => return Ok(()),
                    KubeError::Conflict { .. } => {}
                    error => return Err(error),
                },
            }
            match get_opt(&self.shared.api, &self.shared.name).await? {
                Some(found) if self.shared.is_ours(&found, &lease) => *lease = found,
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Held {{ lease: {}, fence: {} }}",
            self.shared.name, self.shared.fence
        )
    }
}

impl Shared {
    async fn check(&self) -> Result<(), String> {
        loop {
            self.expire();
            if let Some(why) = self.why_lost() {
                return Err(why.to_string());
            }
            if self.age() < self.duration / 2 {
                return Ok(());
            }
            if self.renew().await == Renewal::NoAnswer {
                tokio::time::sleep(self.duration / 20).await;
            }
        }
    }

    async fn renew(&self) -> Renewal {
        let mut lease = self.lease.lock().await;
        for _ in 0..RENEWAL_ROUNDS {
            let sent = self.clock.now();
            let progress = self
                .progress
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .borrow()
                .clone();
            let wanted = record::renewed(&lease, &progress);
            match self
                .api
                .replace(&self.name, &PostParams::default(), &wanted)
                .await
                .map_err(KubeError::from)
            {
                Ok(stored) => {
                    self.read_limit(&stored);
                    *lease = stored;
                    *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = sent;
                    self.unanswered
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .clear();
                    return Renewal::Done;
                }
                Err(KubeError::Conflict { .. }) => {}
                Err(error) if error.is_not_found() => {
                    return self.lose(Lost::Taken("its Lease was deleted".to_owned()));
                }
                Err(error) => return self.unanswered(&error),
            }
            match get_opt(&self.api, &self.name).await {
                Ok(Some(found)) if self.is_ours(&found, &lease) => *lease = found,
                Ok(Some(found)) => {
                    let why = format!("now held by {}", OtherHolder::of(&found));
                    return self.lose(Lost::Taken(why));
                }
                Ok(None) => return self.lose(Lost::Taken("its Lease was deleted".to_owned())),
                Err(error) => return self.unanswered(&error),
            }
        }
        Renewal::NoAnswer
    }

    fn read_limit(&self, lease: &Lease) {
        let found = limit_of(lease);
        self.limit.send_if_modified(|limit| {
            let new = *limit != found;
            *limit = found;
            new
        });
    }

    fn unanswered(&self, error: &KubeError) -> Renewal {
        tracing::debug!(%error, "the lock could not be renewed");
        let mut unanswered = self
            .unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *unanswered = error.to_string();
        Renewal::NoAnswer
    }

    fn is_ours(&self, found: &Lease, held: &Lease) -> bool {
        let holder = |lease: &Lease| {
            lease
                .spec
                .as_ref()
                .and_then(|spec| spec.holder_identity.clone())
        };
        record::transitions(found) == self.fence && holder(found) == holder(held)
    }

    fn age(&self) -> Duration {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        self.clock.now().saturating_sub(renewed)
    }

    /// Silence for the whole duration loses the lock, whether or not anybody took it.
    fn expire(&self) {
        let age = self.age();
        if age >= self.duration {
            let unanswered = self
                .unanswered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let mut why = format!("not renewed for {}s", age.as_secs());
            if !unanswered.is_empty() {
                why = format!("{why}: {unanswered}");
            }
            self.lose(Lost::Silence(why));
        }
    }

    fn why_lost(&self) -> Option<Lost> {
        self.lost.borrow().clone()
    }

    /// The first reason stays.
    fn lose(&self, why: Lost) -> Renewal {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert(why);
            first
        });
        Renewal::Lost
    }
}

/// Renews every third of the duration, and earlier when there is progress to tell.
async fn keep(shared: Arc<Shared>, mut progress: watch::Receiver<String>) {
    let pause = shared.duration / 3;
    if !progress.borrow().is_empty() {
        progress.mark_changed();
    }
    loop {
        let told = tokio::time::Instant::now() + PROGRESS_PAUSE.min(pause);
        let news = async {
            if progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until(told).await;
        };
        // Either end means the same: renew now.
        let _ = tokio::time::timeout(pause, news).await;
        while shared.renew().await != Renewal::Done {
            shared.expire();
            if shared.why_lost().is_some() {
                return;
            }
            tokio::time::sleep(shared.duration / 20).await;
        }
    }
}
