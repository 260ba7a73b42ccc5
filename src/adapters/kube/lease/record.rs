//! What stands in the Lease, and who that is to us.
use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

use super::{
    super::{FIELD_MANAGER, MANAGED_BY_LABEL, MIGRATION_LABEL},
    DEFAULT_DURATION, HolderIdentity, Lock, PROGRESS_ANNOTATION,
};

/// Who holds a Lease, from our point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    Us,
    Nobody,
    DeadHere,
    Other,
}

pub(super) fn occupant(lease: &Lease, us: &HolderIdentity) -> Occupant {
    let holder = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default();
    if holder.is_empty() {
        return Occupant::Nobody;
    }
    if holder == us.to_string() {
        return Occupant::Us;
    }
    match holder.parse::<HolderIdentity>() {
        Ok(other) if us.sees_dead(&other) => Occupant::DeadHere,
        _ => Occupant::Other,
    }
}

/// The Lease of a migration that had none.
pub(super) fn first(lock: &Lock, holder: &HolderIdentity) -> Lease {
    let empty = Lease {
        metadata: ObjectMeta {
            name: Some(lock.name.clone()),
            ..ObjectMeta::default()
        },
        spec: None,
    };
    taken(&empty, lock, holder)
}

/// The same Lease, taken: the fencing number goes up with every acquisition.
pub(super) fn taken(found: &Lease, lock: &Lock, holder: &HolderIdentity) -> Lease {
    let now = MicroTime(Timestamp::now());
    let mut lease = found.clone();
    let labels = lease.metadata.labels.get_or_insert_default();
    labels.insert(MANAGED_BY_LABEL.to_owned(), FIELD_MANAGER.to_owned());
    labels.insert(MIGRATION_LABEL.to_owned(), lock.migration.clone());
    // What the last holder told is not what this one does.
    if let Some(annotations) = &mut lease.metadata.annotations {
        annotations.remove(PROGRESS_ANNOTATION);
    }
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(holder.to_string()),
        lease_duration_seconds: Some(
            i32::try_from(lock.duration.as_secs().max(1)).unwrap_or(i32::MAX),
        ),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        lease_transitions: Some(transitions(found).max(lock.used).saturating_add(1)),
        ..found.spec.clone().unwrap_or_default()
    });
    lease
}

/// The same Lease, renewed now, with the newest progress.
pub(super) fn renewed(held: &Lease, progress: &str) -> Lease {
    let mut lease = held.clone();
    if let Some(spec) = &mut lease.spec {
        spec.renew_time = Some(MicroTime(Timestamp::now()));
    }
    if !progress.is_empty() {
        let annotations: &mut BTreeMap<_, _> = lease.metadata.annotations.get_or_insert_default();
        annotations.insert(PROGRESS_ANNOTATION.to_owned(), progress.to_owned());
    }
    lease
}

/// The same Lease without a holder. Its fencing number stays, or the next would be used twice.
pub(super) fn released(held: &Lease) -> Lease {
    let mut lease = held.clone();
    if let Some(spec) = &mut lease.spec {
        spec.holder_identity = None;
    }
    lease
}

pub(super) fn transitions(lease: &Lease) -> i32 {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_transitions)
        .unwrap_or_default()
}

/// The holder's own duration.
pub(super) fn duration(lease: &Lease) -> Duration {
    let seconds = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_duration_seconds);
    seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DEFAULT_DURATION, Duration::from_secs)
}

/// What changes as long as the holder lives. Labels may be changed by anybody.
pub(super) fn signs_of_life(lease: &Lease) -> (Option<String>, i32, Option<Timestamp>) {
    let spec = lease.spec.clone().unwrap_or_default();
    (
        spec.holder_identity,
        spec.lease_transitions.unwrap_or_default(),
        spec.renew_time.map(|time| time.0),
    )
}

/// The other runner, as far as the Lease tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherHolder {
    /// The holder as it is written.
    pub identity: String,
    /// Its machine, if the holder is one of ours.
    pub host: Option<String>,
    /// Its process number, if the holder is one of ours.
    pub pid: Option<i32>,
    /// The step that it last told.
    pub step: Option<String>,
    /// Its fencing number.
    pub fence: i32,
    /// Its last renewal, by its own clock.
    pub last_renewal: Option<Timestamp>,
    /// Time since then, if both clocks are right: for the reader's eye, never for a decision.
    pub age: Option<Duration>,
}

impl OtherHolder {
    /// Reads the holder off a Lease.
    #[must_use]
    pub fn of(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let identity = spec.holder_identity.unwrap_or_default();
        let process = identity.parse::<HolderIdentity>().ok();
        let progress = lease
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(PROGRESS_ANNOTATION));
        let progress =
            progress.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let last_renewal = spec.renew_time.map(|time| time.0);
        Self {
            host: process.as_ref().map(|process| process.host.clone()),
            pid: process.map(|process| process.pid),
            step: progress.and_then(|progress| Some(progress.get("step")?.as_str()?.to_owned())),
            fence: spec.lease_transitions.unwrap_or_default(),
            last_renewal,
            age: last_renewal
                .and_then(|then| Duration::try_from(Timestamp::now().duration_since(then)).ok()),
            identity,
        }
    }
}

impl fmt::Display for OtherHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.pid, &self.host) {
            (Some(pid), Some(host)) => write!(f, "process {pid} on {host}")?,
            _ if self.identity.is_empty() => write!(f, "nobody")?,
            _ => write!(f, "{}", self.identity)?,
        }
        if let Some(step) = &self.step {
            write!(f, ", at step {step}")?;
        }
        if let Some(age) = self.age {
            write!(f, ", last renewed {}s ago", age.as_secs())?;
        }
        write!(f, ", fence {}", self.fence)
    }
}
