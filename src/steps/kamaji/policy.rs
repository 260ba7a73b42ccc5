//! The freeze `read-only`: a policy in the tenant that refuses every write.
//!
//! It covers what Kamaji's own webhook lets through: `kube-system`, subresources such as `status`, and tokens.
//! Leases are exempt: without them the scheduler and the controllers would restart, and nodes would not be ready.
use anyhow::{Result, bail};
use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
    ValidatingAdmissionPolicySpec, Validation,
};
use kube::api::ObjectMeta;

use super::{Switch, api::ApiServer, controller::KAMAJI_FREEZE};
use crate::{
    adapters::kube::{Wait, create_owned, delete_and_wait, get_opt},
    engine::{Failure, Kind},
    marks::{HOME, MIGRATION, RUN},
    plan::TenantWay,
};

/// The policy and its binding, in the tenant.
pub(super) const POLICY: &str = "kubectl-migrate-freeze";
/// How long the deletion of an object without finalizers may take.
const GONE_WITHIN: std::time::Duration = std::time::Duration::from_mins(2);

impl Switch {
    /// What a refused writer reads; by it a probe knows our own refusal.
    pub(super) fn frozen_message(&self) -> String {
        format!(
            "the control plane is read-only while kubectl migrate moves it to another datastore (migration {}/{})",
            self.belongs.home, self.belongs.migration
        )
    }

    /// Makes policy and binding, or finds our own. A policy that another migration left is not ours to use.
    pub(super) async fn make_policy(&self, server: &ApiServer) -> Result<()> {
        let meta = || ObjectMeta {
            name: Some(POLICY.to_owned()),
            labels: Some(self.belongs.labels("freeze")),
            ..ObjectMeta::default()
        };
        let policies = server.cluster.cluster_scoped::<ValidatingAdmissionPolicy>();
        if let Some(found) = get_opt(&policies, POLICY).await?
            && !self.belongs.owns(&found.metadata)
        {
            let label = |key: &str| {
                let labels = found.metadata.labels.as_ref();
                labels
                    .and_then(|labels| labels.get(key))
                    .cloned()
                    .unwrap_or_default()
            };
            let why = format!(
                "the tenant has a validatingadmissionpolicy {POLICY} of migration {}/{} (run {}): roll that back, or run `kubectl migrate thaw tcp/{} -n {}`",
                label(HOME),
                label(MIGRATION),
                label(RUN),
                self.tenant.name,
                self.place.namespace
            );
            bail!(Failure::new(Kind::Blocked, why));
        }
        create_owned(
            &policies,
            &ValidatingAdmissionPolicy {
                metadata: meta(),
                spec: Some(ValidatingAdmissionPolicySpec {
                    failure_policy: Some("Fail".to_owned()),
                    match_constraints: Some(every_write(self.way)),
                    validations: Some(vec![Validation {
                        expression: "false".to_owned(),
                        message: Some(self.frozen_message()),
                        ..Validation::default()
                    }]),
                    ..ValidatingAdmissionPolicySpec::default()
                }),
                ..ValidatingAdmissionPolicy::default()
            },
        )
        .await?;
        let bindings = server
            .cluster
            .cluster_scoped::<ValidatingAdmissionPolicyBinding>();
        create_owned(
            &bindings,
            &ValidatingAdmissionPolicyBinding {
                metadata: meta(),
                spec: Some(ValidatingAdmissionPolicyBindingSpec {
                    policy_name: Some(POLICY.to_owned()),
                    validation_actions: Some(vec!["Deny".to_owned()]),
                    ..ValidatingAdmissionPolicyBindingSpec::default()
                }),
            },
        )
        .await?;
        Ok(())
    }

    /// Whether policy and binding of this run are there.
    pub(super) async fn has_policy(&self, server: &ApiServer) -> Result<bool> {
        let policies = server.cluster.cluster_scoped::<ValidatingAdmissionPolicy>();
        let bindings = server
            .cluster
            .cluster_scoped::<ValidatingAdmissionPolicyBinding>();
        let (policy, binding) =
            tokio::try_join!(get_opt(&policies, POLICY), get_opt(&bindings, POLICY))?;
        Ok(
            policy.is_some_and(|found| self.belongs.owns(&found.metadata))
                && binding.is_some_and(|found| self.belongs.owns(&found.metadata)),
        )
    }

    /// Removes policy and binding of this migration: of this run or of an earlier one.
    pub(super) async fn remove_policy(&self, server: &ApiServer) -> Result<()> {
        let wait = Wait::new("the freeze's policy to be gone", GONE_WITHIN);
        let ours = |meta: &ObjectMeta| {
            let label = |key: &str| meta.labels.as_ref().and_then(|labels| labels.get(key));
            label(MIGRATION) == Some(&self.belongs.migration)
                && label(HOME) == Some(&self.belongs.home)
        };
        // The policy first: a binding alone refuses nothing.
        let policies = server.cluster.cluster_scoped::<ValidatingAdmissionPolicy>();
        if let Some(found) = get_opt(&policies, POLICY)
            .await?
            .filter(|found| ours(&found.metadata))
        {
            delete_and_wait(&policies, POLICY, found.metadata.uid.as_deref(), &wait).await?;
        }
        let bindings = server
            .cluster
            .cluster_scoped::<ValidatingAdmissionPolicyBinding>();
        if let Some(found) = get_opt(&bindings, POLICY)
            .await?
            .filter(|found| ours(&found.metadata))
        {
            delete_and_wait(&bindings, POLICY, found.metadata.uid.as_deref(), &wait).await?;
        }
        Ok(())
    }
}

/// Every kind but leases, with its subresources. `*/*` has to stand alone, and covers both.
///
/// Kamaji's own freeze is no exception of the API server's: Kamaji could not lift it beneath ours.
fn every_write(way: TenantWay) -> MatchResources {
    let rule = |group: &str, resources: &str| NamedRuleWithOperations {
        api_groups: Some(vec![group.to_owned()]),
        api_versions: Some(vec!["*".to_owned()]),
        operations: Some(["CREATE", "UPDATE", "DELETE"].map(str::to_owned).to_vec()),
        resources: Some(vec![resources.to_owned()]),
        ..NamedRuleWithOperations::default()
    };
    let mut excluded = vec![rule("coordination.k8s.io", "*/*")];
    if way == TenantWay::Controller {
        excluded.push(NamedRuleWithOperations {
            resource_names: Some(vec![KAMAJI_FREEZE.to_owned()]),
            ..rule(
                "admissionregistration.k8s.io",
                "validatingwebhookconfigurations",
            )
        });
    }
    MatchResources {
        resource_rules: Some(vec![rule("*", "*/*")]),
        exclude_resource_rules: Some(excluded),
        ..MatchResources::default()
    }
}
