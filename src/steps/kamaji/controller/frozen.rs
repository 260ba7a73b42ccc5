//! Kamaji's own freeze, as the tenant's API servers tell it.
use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::DynamicObject;

use super::super::{Switch, api::ApiServer};
use crate::{
    adapters::{
        kamaji::{PAUSED, TenantControlPlane},
        kube::get_opt,
    },
    steps::kamaji::api::at_least_one,
};

/// The configuration that Kamaji makes in a tenant.
pub(in super::super) const KAMAJI_FREEZE: &str = "kamaji-freeze";
/// A part of its webhooks' names, which a refusal names.
const WEBHOOK: &str = "migrate.kamaji.clastix.io";

/// Who refuses a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Refusal {
    /// Nobody.
    None,
    /// Kamaji's freeze.
    Kamaji,
    /// Our policy, which has no holes.
    Ours,
}

impl ApiServer {
    /// Asks who would refuse a write, without making it.
    pub(in super::super) async fn refusal(&self, ours: &str) -> Result<Refusal> {
        match self.try_write().await {
            Ok(()) => Ok(Refusal::None),
            Err(error) => {
                let said = error.to_string();
                if said.contains(ours) {
                    Ok(Refusal::Ours)
                } else if said.contains(WEBHOOK) {
                    Ok(Refusal::Kamaji)
                } else {
                    Err(error)
                        .with_context(|| format!("cannot tell whether {} accepts writes", self.pod))
                }
            }
        }
    }
}

impl Switch {
    /// Whether Kamaji's freeze is in the tenant.
    pub(in super::super) async fn has_kamaji_s_freeze(&self, server: &ApiServer) -> Result<bool> {
        let api = server
            .cluster
            .cluster_scoped::<ValidatingWebhookConfiguration>();
        Ok(get_opt(&api, KAMAJI_FREEZE).await?.is_some())
    }

    /// Why a write may be accepted although Kamaji is to have frozen the tenant; none while none is.
    pub(super) async fn open_by(&self, servers: &[ApiServer]) -> Result<Option<String>> {
        at_least_one(servers, &self.shown())?;
        if !self.has_kamaji_s_freeze(&servers[0]).await? {
            let why = format!(
                "validatingwebhookconfiguration {KAMAJI_FREEZE} is not in {}",
                self.tenant.name
            );
            return Ok(Some(why));
        }
        let message = self.frozen_message();
        for server in servers {
            if server.refusal(&message).await? == Refusal::None {
                return Ok(Some(format!(
                    "pod {} of {} accepts writes",
                    server.pod,
                    self.shown()
                )));
            }
        }
        Ok(None)
    }

    /// Why the gate is open: Kamaji could flip, or the tenant be written to. None while it holds.
    pub(in super::super) async fn gate_open_by(&self) -> Result<Option<String>> {
        let tenant = self.control_plane().await?;
        if self.is_flipped(&tenant) {
            return Ok(Some(format!(
                "Kamaji has given {} to datastore {} by itself",
                self.shown(),
                self.tenant.target
            )));
        }
        if !self.has_paused(&tenant) {
            return Ok(Some(format!(
                "somebody removed annotation {PAUSED} from {}",
                self.shown()
            )));
        }
        let servers = self.api_servers().await?;
        if let Some(why) = self.open_by(&servers).await? {
            return Ok(Some(why));
        }
        if self.knows_policies() && !self.has_policy(&servers[0]).await? {
            let policy = super::super::policy::POLICY;
            return Ok(Some(format!(
                "somebody removed validatingadmissionpolicy {policy} from the tenant"
            )));
        }
        Ok(None)
    }

    /// A control plane that wants the target; else who has taken the wish back.
    pub(super) fn still_wanted(&self, tenant: &TenantControlPlane) -> Option<String> {
        let wants = &tenant.spec.data_store;
        (*wants != self.tenant.target).then(|| {
            let who = last_manager(&tenant.object);
            format!(
                "{} wants datastore {wants} again: somebody{who} has set spec.dataStore back, such as Cluster API, Argo CD or Flux",
                self.shown()
            )
        })
    }
}

/// Who changed an object's spec last, as its managed fields tell: ` (helm)`.
fn last_manager(object: &DynamicObject) -> String {
    let fields = object.metadata.managed_fields.iter().flatten();
    let newest = fields
        .filter(|field| field.subresource.is_none())
        .max_by_key(|field| field.time.as_ref().map(|time| time.0));
    newest
        .and_then(|field| field.manager.as_ref())
        .map_or_else(String::new, |manager| format!(" ({manager})"))
}
