//! A Lease as the lock of one migration, with a fencing number.
//!
//! Two runners never compare wall clocks: a dead process is recognised on its own machine, and from
//! another machine a Lease is taken only after watching, on the own clock, that nobody renews it.
mod clock;
mod held;
mod holder;
mod limit;
mod record;

pub use clock::Clock;
pub use held::{Held, Lost};
pub use holder::HolderIdentity;
pub use limit::{limit_of, set_limit};
pub use record::OtherHolder;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::PostParams};
use tokio::sync::watch;

use self::record::Occupant;
use super::{Cluster, KubeError, get_opt};

/// A holder that is silent for this long has lost the lock. Three renewals fit in, so that one lost
/// answer costs nothing; a takeover after a crash does not take longer than a coffee.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(15);

/// The annotation that carries the holder's progress (JSON).
pub const PROGRESS_ANNOTATION: &str = "kubectl-migrate/progress";

/// The annotation that says how fast the holder may copy. It is written by others, while it is held and while it is
/// not, and stays from one holder to the next.
pub const LIMIT_ANNOTATION: &str = "kubectl-migrate/limit";

/// So many others in our way between a read and a write mean that something is wrong.
const ROUNDS: u32 = 10;

/// Which lock to take, and how.
#[derive(Clone)]
pub struct Lock {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// The migration, for the Lease's label.
    pub migration: String,
    /// The fencing number becomes greater than this, also where the Lease knows no number that high: the
    /// greatest that is known to have been used, for a Lease may be deleted.
    pub used: i32,
    /// After this much silence the lock is lost.
    pub duration: Duration,
    /// Take it from a holder elsewhere, once it is seen to be silent for the whole duration.
    pub take_over: bool,
    /// The clock that silence is measured by.
    pub clock: Clock,
}

impl Lock {
    /// The lock of a migration, with the usual duration and clock.
    #[must_use]
    pub fn new(namespace: &str, name: &str, migration: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            migration: migration.to_owned(),
            used: 0,
            duration: DEFAULT_DURATION,
            take_over: false,
            clock: Clock::since_boot(),
        }
    }
}

/// The end of an acquisition.
#[derive(Debug)]
pub enum Acquired {
    /// We hold it.
    Held(Held),
    /// Somebody else does.
    ByOther(OtherHolder),
}

/// Takes the lock, or says who has it. `progress` is published on the Lease while it is held.
pub async fn acquire(
    cluster: &Cluster,
    lock: &Lock,
    holder: &HolderIdentity,
    progress: watch::Receiver<String>,
) -> Result<Acquired, KubeError> {
    let api: Api<Lease> = cluster.namespaced(&lock.namespace);
    let held = |lease: Lease, since: Duration| {
        Held::start(cluster, lock, lease, since, progress.clone()).map(Acquired::Held)
    };
    for _ in 0..ROUNDS {
        let since = lock.clock.now();
        let Some(mut found) = get_opt(&api, &lock.name).await? else {
            match api
                .create(&PostParams::default(), &record::first(lock, holder))
                .await
                .map_err(KubeError::from)
            {
                Ok(lease) => return held(lease, since),
                // Look again: if it was us after all, the random part of the holder says so.
                Err(KubeError::AlreadyExists { .. } | KubeError::Ambiguous { .. }) => continue,
                Err(error) => return Err(error),
            }
        };
        match record::occupant(&found, holder) {
            // Us: an earlier try of ours whose answer was lost, at a time that we do not know. Taken anew.
            Occupant::Us | Occupant::Nobody | Occupant::DeadHere => {}
            Occupant::Other if !lock.take_over => {
                return Ok(Acquired::ByOther(OtherHolder::of(&found)));
            }
            Occupant::Other => match observe(&api, lock, found).await? {
                Observed::Silent(lease) => found = lease,
                Observed::Renewed(lease) => return Ok(Acquired::ByOther(OtherHolder::of(&lease))),
                Observed::Freed => continue,
            },
        }
        let since = lock.clock.now();
        let taken = record::taken(&found, lock, holder);
        match api
            .replace(&lock.name, &PostParams::default(), &taken)
            .await
            .map_err(KubeError::from)
        {
            Ok(lease) => return held(lease, since),
            Err(KubeError::Conflict { .. } | KubeError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(KubeError::Other {
        what: format!("cannot take lease {}/{}", lock.namespace, lock.name),
        cause: "others keep changing it; see who does with kubectl get lease -o yaml".to_owned(),
    })
}

enum Observed {
    Silent(Lease),
    Renewed(Lease),
    Freed,
}

/// Watches, for the holder's own duration and on our own clock, whether the Lease is renewed.
async fn observe(api: &Api<Lease>, lock: &Lock, first: Lease) -> Result<Observed, KubeError> {
    let duration = record::duration(&first).max(lock.duration);
    let pause = duration / 5;
    let mut looked = lock.clock.now();
    let mut end = looked + duration;
    let signs_of_life = record::signs_of_life(&first);
    loop {
        tokio::time::sleep(pause).await;
        let Some(lease) = get_opt(api, &lock.name).await? else {
            return Ok(Observed::Freed);
        };
        if record::signs_of_life(&lease) != signs_of_life {
            let freed = lease
                .spec
                .as_ref()
                .is_none_or(|spec| spec.holder_identity.is_none());
            return Ok(if freed {
                Observed::Freed
            } else {
                Observed::Renewed(lease)
            });
        }
        let now = lock.clock.now();
        // What we slept through says nothing of the other: its machine may be ours, and may have slept as long.
        end += now.saturating_sub(looked).saturating_sub(2 * pause);
        looked = now;
        if now >= end {
            return Ok(Observed::Silent(lease));
        }
    }
}

#[cfg(test)]
mod tests;
