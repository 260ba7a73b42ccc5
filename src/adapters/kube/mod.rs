//! Kubernetes: connecting as kubectl does, with retries, bounded waits and evidence.
//!
//! Everything goes through one [`Cluster`]. Its door names each request, bounds it in time, sends it
//! again when that is safe, asks the write guard before each change, and adds the dry run.
//! `kube::Error` becomes [`KubeError`] by `?` alone, with verb, object and cause in its text.
mod access;
mod action;
pub(super) mod cause;
mod cluster;
mod command;
mod connect;
mod door;
mod error;
mod evidence;
mod exec;
mod flags;
mod guard;
mod kubeconfig;
pub mod lease;
mod objects;
mod owners;
mod portforward;
mod retry;
mod role;
mod status;
mod tunnel;
mod wait;
mod watch;

pub use access::{Refused, Rule, refused_rules};
pub use action::{Action, ObjectName, singular};
pub use cluster::Cluster;
pub use command::{CommandEnded, Written, run_command};
pub use connect::{connect, connect_through};
pub use error::KubeError;
pub use evidence::{claim_evidence, job_evidence, object_events, pod_ending, pod_evidence};
pub use exec::{Call, Said, exec, exec_stream};
pub use flags::ConnectionFlags;
pub use guard::WriteGuard;
pub use kubeconfig::{clusters, contexts, users};
pub use objects::{
    Created, Deleted, JsonPatchOperation, Object, create_owned, delete_and_wait, delete_as_seen,
    get_opt, json_patch, list_all, merge_patch, pointer, replace, scale,
};
pub use owners::{Finding, FreezeMode, WorkloadKind, who_would_undo};
pub use portforward::{PortRefused, PortStream, open_port};
pub use retry::RetryPolicy;
pub use role::role_yaml;
pub use tunnel::{Tunnel, tunnel_rules};
pub use wait::{Look, Wait, wait_for, wait_for_all};
pub use watch::{Change, Selector, watch};

/// The owner of our fields in `managedFields`, and the value of [`MANAGED_BY_LABEL`].
pub const FIELD_MANAGER: &str = "kubectl-migrate";

/// On every object that we make: says that we made it.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// On every object that we make: the migration that it belongs to.
pub const MIGRATION_LABEL: &str = "kubectl-migrate/migration";

#[cfg(test)]
pub(crate) mod fake;
