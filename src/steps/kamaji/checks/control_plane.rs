use super::super::Switch;
use crate::{
    adapters::kamaji::{PAUSED, TenantControlPlane},
    engine::Check,
};

/// A field manager or label that says who puts the control plane back as it wants it.
const MANAGERS: [(&str, &str); 4] = [
    ("argocd.argoproj.io/", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/", "Flux"),
    ("helm.toolkit.fluxcd.io/", "Flux"),
    ("meta.helm.sh/", "Helm"),
];

impl Switch {
    /// How the control plane is, and who owns it.
    pub(super) fn check_control_plane(&self, tenant: &TenantControlPlane) -> Vec<Check> {
        vec![
            self.check_rest(tenant),
            self.check_pause(tenant),
            self.check_owner(tenant),
        ]
    }

    /// Nothing may be in flight.
    fn check_rest(&self, tenant: &TenantControlPlane) -> Check {
        let name = "control plane";
        let block = |evidence: String, cure: &str| Check::block(name, self.shown(), evidence, cure);
        let version = &tenant.status.kubernetes_resources.version;
        let store = &tenant.status.storage.data_store_name;
        if tenant.object.metadata.deletion_timestamp.is_some() {
            return block("is being deleted".to_owned(), "there is nothing to move");
        }
        if tenant.spec.data_store != *store {
            let evidence = format!(
                "wants datastore {} and uses {store}: a migration by Kamaji is in flight",
                tenant.spec.data_store
            );
            return block(
                evidence,
                "let it end, or set spec.dataStore back to what it uses",
            );
        }
        if !tenant.is_at_rest() {
            let evidence = format!(
                "is {}",
                if version.status.is_empty() {
                    "without a status"
                } else {
                    &version.status
                }
            );
            return block(evidence, "wait until it is Ready");
        }
        let paused_by_us = self.has_paused(tenant);
        if !tenant.is_observed() && !paused_by_us {
            let evidence =
                "was changed, and Kamaji has not taken it in yet (status.observedGeneration)"
                    .to_owned();
            return block(
                evidence,
                "wait until it has, or look why its controller does not",
            );
        }
        if !tenant.spec.kubernetes.version.is_empty()
            && tenant.spec.kubernetes.version != version.version
        {
            let evidence = format!(
                "is to be upgraded from {} to {}",
                version.version, tenant.spec.kubernetes.version
            );
            return block(evidence, "let the upgrade end first");
        }
        Check::pass(
            name,
            self.shown(),
            format!(
                "is {}, Kubernetes {}, in datastore {store}",
                version.status, version.version
            ),
        )
    }

    fn check_pause(&self, tenant: &TenantControlPlane) -> Check {
        if tenant.is_paused() && !self.has_paused(tenant) {
            return Check::block(
                "pause",
                self.shown(),
                format!("is paused by somebody else (annotation {PAUSED})"),
                "find out why, and remove the annotation",
            );
        }
        Check::pass("pause", self.shown(), "nobody else has paused it")
    }

    /// Whoever owns it would put `spec.dataStore` back.
    fn check_owner(&self, tenant: &TenantControlPlane) -> Check {
        let meta = &tenant.object.metadata;
        let mut owners = meta.owner_references.iter().flatten();
        if let Some(owner) = owners.find(|owner| owner.kind == "KamajiControlPlane") {
            return Check::block(
                "owner",
                self.shown(),
                format!(
                    "is owned by kamajicontrolplane {}, which sets spec.dataStore back",
                    owner.name
                ),
                "pause that cluster (spec.paused), or set spec.dataStoreName there after the switch and before it goes on",
            );
        }
        let keys = meta
            .labels
            .iter()
            .flatten()
            .chain(meta.annotations.iter().flatten());
        let keys: Vec<_> = keys.map(|(key, _)| key.as_str()).collect();
        let managed = MANAGERS
            .iter()
            .find(|(prefix, _)| keys.iter().any(|key| key.starts_with(prefix)));
        match managed {
            Some((prefix, who)) => Check::warn(
                "owner",
                self.shown(),
                format!("carries marks of {who} ({prefix}…), which may set spec.dataStore back"),
                format!("pause {who} for it, and change the DataStore in its source, too"),
            ),
            None => Check::pass("owner", self.shown(), "nobody is known to set it back"),
        }
    }
}
