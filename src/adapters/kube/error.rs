//! What can go wrong with a cluster, named so that an operator can act on it.
use std::{path::PathBuf, time::Duration};

use super::{Action, ObjectName};

/// A failure of the Kubernetes adapter. Each text is one line, names the object, and carries its cause.
///
/// There is no `source`: `kube::Error` repeats its own, so the chain was read once into the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeError {
    /// The user lacks a right (RBAC).
    #[error(
        "forbidden to {action}: user \"{user}\" needs verb \"{}\" on resource \"{}\"{}; grant it, or choose another user with --context or --as",
        .action.verb, .action.object.full_resource(), in_namespace(.action)
    )]
    Forbidden {
        /// The user as the server knows it.
        user: String,
        /// What was asked for.
        action: Box<Action>,
    },
    /// The object does not exist.
    #[error("{object} not found")]
    NotFound {
        /// The missing object; may be the namespace of the object that was asked for.
        object: Box<ObjectName>,
    },
    /// The server does not know the resource at all.
    #[error(
        "the cluster serves no resource \"{resource}\"; install what defines it, or check the cluster's version"
    )]
    NotServed {
        /// Full resource, such as `scaledobjects.keda.sh`.
        resource: String,
    },
    /// Somebody else changed the object, or a precondition does not hold.
    #[error("cannot {action}: {message}; look at what changed it, then go on")]
    Conflict {
        /// What was asked for.
        action: Box<Action>,
        /// The server's text.
        message: String,
        /// How often the request was sent; more than once means that an earlier try may have worked.
        tries: u32,
    },
    /// An object of this name exists and is not ours.
    #[error("{object} already exists and was not made by this migration; rename or remove it")]
    AlreadyExists {
        /// The object in the way.
        object: Box<ObjectName>,
        /// How often the request was sent; more than once means that an earlier try may have worked.
        tries: u32,
    },
    /// The server refuses the object: validation, quota, Pod Security or an admission webhook.
    #[error("cannot {action}: {message}")]
    Invalid {
        /// What was asked for.
        action: Box<Action>,
        /// The server's text.
        message: String,
    },
    /// The server asked us to slow down for longer than we wait.
    #[error("cannot {action}: the server still throttles after {} in {}: {message}", times(*.tries), seconds(.since))]
    Throttled {
        /// What was asked for.
        action: Box<Action>,
        /// How often it was sent.
        tries: u32,
        /// Time since the first try.
        since: Duration,
        /// The server's text.
        message: String,
    },
    /// The server fails to answer (5xx), again and again.
    #[error("cannot {action}: server error {code} after {} in {}: {message}", times(*.tries), seconds(.since))]
    ServerFailed {
        /// What was asked for.
        action: Box<Action>,
        /// HTTP status.
        code: u16,
        /// How often it was sent.
        tries: u32,
        /// Time since the first try.
        since: Duration,
        /// The server's text.
        message: String,
    },
    /// No answer: refused, reset, hanging, or no such host.
    #[error("cannot {action}: {server} is unreachable after {} in {}: {cause}; check the network, VPN and --context", times(*.tries), seconds(.since))]
    Unreachable {
        /// What was asked for.
        action: Box<Action>,
        /// The server's URL.
        server: String,
        /// How often it was sent.
        tries: u32,
        /// Time since the first try.
        since: Duration,
        /// The last failure.
        cause: String,
    },
    /// A bounded wait ended.
    #[error("timed out after {} waiting for {what}; last seen: {last_seen}", seconds(.after))]
    TimedOut {
        /// What was waited for.
        what: String,
        /// The bound.
        after: Duration,
        /// What was seen last.
        last_seen: String,
    },
    /// What was waited for can no longer come.
    #[error("gave up waiting for {what}: {why}")]
    WillNotHappen {
        /// What was waited for.
        what: String,
        /// What was seen.
        why: String,
    },
    /// A pod that should be talked to is not running.
    #[error("pod {pod} is {phase}, not Running; see why with kubectl describe pod")]
    PodNotRunning {
        /// Namespace and name.
        pod: String,
        /// Its phase.
        phase: String,
    },
    /// Certificates or the TLS protocol do not fit.
    #[error(
        "cannot trust {server}: {cause}; check certificate-authority and tls-server-name in the kubeconfig"
    )]
    Tls {
        /// The server's URL.
        server: String,
        /// The TLS library's text.
        cause: String,
    },
    /// The server does not accept our credentials, or none could be had.
    #[error(
        "cannot log in to {server} as kubeconfig user \"{user}\": {cause}; log in again or renew the credentials"
    )]
    Auth {
        /// The user's name in the kubeconfig.
        user: String,
        /// The server's URL.
        server: String,
        /// The plugin's or the server's text.
        cause: String,
    },
    /// This runner no longer holds the migration's lock: nothing was sent.
    #[error("did not {action}: this run lost its lock ({why}); another run may be at work")]
    LockLost {
        /// What was not done.
        action: Box<Action>,
        /// How the lock was lost.
        why: String,
    },
    /// A create got no clear answer: it may or may not have happened.
    #[error(
        "cannot tell whether this worked: {action}: {cause}; look at the object before trying again"
    )]
    Ambiguous {
        /// What was asked for.
        action: Box<Action>,
        /// The failure.
        cause: String,
    },
    /// A page or a watch is older than what the server keeps (410).
    #[error("cannot {action}: the server no longer keeps this version; list again")]
    Expired {
        /// What was asked for.
        action: Box<Action>,
    },
    /// The kubeconfig cannot be used.
    #[error("cannot use kubeconfig {}: {cause}", .file.display())]
    Kubeconfig {
        /// The file, or the files of `KUBECONFIG`.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Anything else.
    #[error("{what}: {cause}")]
    Other {
        /// What was being done.
        what: String,
        /// What went wrong.
        cause: String,
    },
}

impl KubeError {
    /// True when the object, or its whole kind, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NotServed { .. })
    }

    /// True when the same request may work later with nothing changed by the user.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Throttled { .. }
                | Self::ServerFailed { .. }
                | Self::Unreachable { .. }
                | Self::Expired { .. }
        )
    }

    /// True when the user must be given a right or other credentials.
    #[must_use]
    pub fn is_access(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Auth { .. })
    }
}

fn in_namespace(action: &Action) -> String {
    action
        .object
        .namespace
        .as_ref()
        .map(|namespace| format!(" in namespace \"{namespace}\""))
        .unwrap_or_default()
}

fn times(tries: u32) -> String {
    if tries == 1 {
        "1 try".to_owned()
    } else {
        format!("{tries} tries")
    }
}

/// Whole seconds above ten, tenths below: enough to tell a hang from a refusal.
fn seconds(duration: &Duration) -> String {
    if duration.as_secs() >= 10 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{:.1}s", duration.as_secs_f64())
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
