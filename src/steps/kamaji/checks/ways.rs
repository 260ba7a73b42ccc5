//! Which of both ways is possible, and why not: a line for each.
use super::super::Switch;
use crate::{
    adapters::{datastore::Driver, kamaji::TenantControlPlane},
    engine::Check,
    plan::{TenantFreeze, TenantWay},
};

/// What a tenant may be kept from writing.
const LIMITS: [&str; 3] = ["blockCreation", "blockUpdate", "blockDeletion"];

impl Switch {
    /// A line for each way: the chosen one blocks where it is not possible.
    pub(super) fn check_ways(&self, tenant: &TenantControlPlane) -> Vec<Check> {
        let direct = (self.freeze == TenantFreeze::ReadOnly && !self.knows_policies()).then(|| {
            format!(
                "not read-only, for Kubernetes {} has no policies yet; with --freeze offline it is",
                self.tenant.version
            )
        });
        let by_controller = limited(tenant)
            .map(|limit| {
                format!("spec.writePermissions.{limit} keeps Kamaji from ever lifting its freeze")
            })
            .or_else(|| {
                (self.tenant.driver == Driver::Nats).then(|| {
                    "Kamaji's job makes no bucket in NATS, and gives what it copies other revisions"
                        .to_owned()
                })
            });
        [
            (
                TenantWay::Direct,
                direct,
                "writes stop for the last changes only; no image to pull, no job to wait for",
            ),
            (
                TenantWay::Controller,
                by_controller,
                "writes stop while Kamaji's job copies everything; what it leaves out is copied afterwards",
            ),
        ]
        .into_iter()
        .map(|(way, why_not, what)| {
            let name = format!("way {way}");
            match why_not {
                None if way == self.way
                    && let Some(risk) = self.risk_of(way) =>
                {
                    let cure = "--way direct copies everything as it is";
                    Check::warn(&name, self.shown(), format!("possible, but {risk}"), cure)
                }
                None => Check::pass(&name, self.shown(), format!("possible: {what}")),
                Some(why) if way == self.way => {
                    Check::block(&name, self.shown(), why, "choose the other one with --way")
                }
                Some(why) => Check::pass(&name, self.shown(), format!("not possible: {why}")),
            }
        })
        .collect()
    }

    /// What Kamaji's Job leaves in the target until it is mended, where it is bad to be served: a Job that is done
    /// before Kamaji can be held is not mended.
    fn risk_of(&self, way: TenantWay) -> Option<&'static str> {
        match (way, self.tenant.driver) {
            (TenantWay::Controller, Driver::MySQL) => Some(
                "Kamaji's job corrupts values with backslashes; they are mended before the flip unless the job is faster than the pause",
            ),
            (TenantWay::Controller, Driver::PostgreSQL) => Some(
                "Kamaji's job leaves the sequence of ids behind; it is put right before the flip unless the job is faster than the pause",
            ),
            _ => None,
        }
    }
}

/// What a tenant's write permissions refuse.
fn limited(tenant: &TenantControlPlane) -> Option<&'static str> {
    let permissions = tenant.object.data.pointer("/spec/writePermissions")?;
    LIMITS
        .into_iter()
        .find(|limit| permissions.get(limit) == Some(&serde_json::Value::Bool(true)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kamaji_s_own_names_of_the_limits_are_read() {
        let tenant = |permissions: serde_json::Value| {
            let object = serde_json::from_value(json!({
                "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
                "metadata": {"name": "t1", "namespace": "tenants"},
                "spec": {"dataStore": "silver", "writePermissions": permissions},
            }));
            TenantControlPlane::new(object.expect("an object")).expect("a tenant")
        };
        assert_eq!(
            limited(&tenant(json!({"blockUpdate": true}))),
            Some("blockUpdate")
        );
        assert_eq!(limited(&tenant(json!({"blockUpdate": false}))), None);
        assert_eq!(limited(&tenant(json!({}))), None);
    }
}
