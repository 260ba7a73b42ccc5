use super::super::{
    Switch,
    api::{ApiServer, Write},
};
use crate::{
    engine::Check,
    plan::{TenantFreeze, TenantWay},
};

/// The first Kubernetes whose API servers have `ValidatingAdmissionPolicy` as a matter of course.
const POLICIES_SINCE: (u32, u32) = (1, 30);

impl Switch {
    /// Whether its API servers have policies.
    pub(in super::super) fn knows_policies(&self) -> bool {
        minor_of(&self.tenant.version).is_none_or(|version| version >= POLICIES_SINCE)
    }

    /// Whether the writes can be stopped as wanted.
    pub(super) async fn check_writes(&self) -> Vec<Check> {
        let name = "freeze";
        if self.freeze == TenantFreeze::Offline {
            return vec![Check::pass(
                name,
                self.shown(),
                format!(
                    "stops {} API servers for the last copy",
                    self.tenant.replicas
                ),
            )];
        }
        let cure = match self.way {
            TenantWay::Direct => "choose spec.freeze.tenant: offline (--freeze offline)",
            TenantWay::Controller => "start its API servers: Kamaji freezes only what runs",
        };
        // Kamaji's own freeze does without them.
        if self.way == TenantWay::Direct && !self.knows_policies() {
            let evidence = format!(
                "is Kubernetes {}, which has no ValidatingAdmissionPolicy yet",
                self.tenant.version
            );
            return vec![Check::block(name, self.shown(), evidence, cure)];
        }
        let servers = match self.api_servers().await {
            Ok(servers) if servers.is_empty() => {
                return vec![Check::block(
                    name,
                    self.shown(),
                    "no API server runs that could refuse writes",
                    cure,
                )];
            }
            Ok(servers) => servers,
            Err(error) => {
                return vec![Check::block(
                    name,
                    self.shown(),
                    format!("its API servers cannot be reached: {error:#}"),
                    cure,
                )];
            }
        };
        let mut checks = Vec::new();
        for server in &servers {
            checks.push(self.check_write(name, server).await);
        }
        checks
    }

    async fn check_write(&self, name: &str, server: &ApiServer) -> Check {
        let object = self.place.object("pod", &server.pod);
        match server.probe(&self.frozen_message()).await {
            Ok(Write::Accepted) => Check::pass(
                name,
                object,
                "accepts a write now, and can be told to refuse it",
            ),
            // This very migration has frozen it, and goes on.
            Ok(Write::Frozen) => {
                Check::pass(name, object, "refuses writes for this migration already")
            }
            Err(error) => Check::block(
                name,
                object,
                format!("refuses a write that changes nothing: {error:#}"),
                "look which webhook or policy of the tenant that is: its own freeze could not be told from ours",
            ),
        }
    }
}

/// Major and minor of `v1.33.0`.
fn minor_of(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_with_or_without_its_letter() {
        assert_eq!(minor_of("v1.29.3"), Some((1, 29)));
        assert_eq!(minor_of("1.36.0-beta.1"), Some((1, 36)));
        assert_eq!(minor_of("unknown"), None);
    }
}
