//! What a switch leaves in the old store, and whether anybody still needs it.
use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::{
    Stores, Switch, Tenant,
    api::store_of,
    neighbours::{holders, named},
    verify::later_of,
    warm_copy::Rounds,
};
use crate::{
    adapters::{
        datastore::StoreLook,
        kamaji::{DataStore, TenantControlPlane, data_stores},
        kube::{get_opt, list_all},
    },
    engine::{Failure, Kind},
};

/// Keys that are shown of those that were written later.
const SHOWN: usize = 5;

impl Switch {
    /// What the old store holds of the tenant. Refused with everything that speaks for keeping it. `last` is
    /// what the last copy left in the journal; none once the removal has begun, which changes the store itself.
    pub async fn old_data(&self, last: Option<&Rounds>) -> Result<StoreLook> {
        let control_plane = self.control_plane().await?;
        let mut reasons = self.unsettled(&control_plane);
        reasons.extend(self.served_from_source().await?);
        reasons.extend(self.others_in_source().await?);
        reasons.extend(self.still_used().await?);
        let mut look = None;
        if reasons.is_empty() {
            let found = self.stores.pair().await?.look().await?.source;
            if found.keys > 0
                && let Some(last) = last
                && let Some(later) = later_of(&self.stores, last).await?
                && later.writes > 0
            {
                let first: Vec<_> = later.keys.into_iter().take(SHOWN).collect();
                reasons.push(format!(
                    "{} writes came there after the last copy, the first to {}",
                    later.writes,
                    first.join(", ")
                ));
            }
            look = Some(found);
        }
        let Some(look) = look.filter(|_| reasons.is_empty()) else {
            let (source, schema) = (&self.tenant.source, &self.tenant.schema);
            let why = format!("schema {schema} in datastore {source} is kept");
            return Err(Failure::new(Kind::Blocked, why)
                .with_evidence(reasons)
                .into());
        };
        Ok(look)
    }

    /// Removes it, with its user.
    pub async fn remove_old_data(&self) -> Result<()> {
        let Tenant { source, target, .. } = self.tenant.clone();
        let reversed = Tenant {
            source: target,
            target: source,
            ..self.tenant.clone()
        };
        let stores = Stores::new(self.place.cluster.clone(), reversed);
        let pair = stores.pair().await?;
        pair.clear_target().await?;
        pair.clear_user(&self.tenant.user).await?;
        Ok(())
    }

    fn unsettled(&self, control_plane: &TenantControlPlane) -> Vec<String> {
        let status = &control_plane.status;
        let (wanted, used) = (
            &control_plane.spec.data_store,
            &status.storage.data_store_name,
        );
        let target = &self.tenant.target;
        let mut reasons = Vec::new();
        if wanted != target || used != target {
            reasons.push(format!(
                "{} wants datastore {wanted} and uses {used}, not {target}",
                self.shown()
            ));
        }
        if !control_plane.is_observed() || !control_plane.is_at_rest() {
            reasons.push(format!(
                "{} is {}: wait until it is Ready",
                self.shown(),
                status.kubernetes_resources.version.status
            ));
        }
        let overrides = &control_plane.spec.data_store_overrides;
        let kept = overrides
            .iter()
            .filter(|one| one.data_store == self.tenant.source);
        reasons.extend(kept.map(|one| {
            format!(
                "{} keeps {} there (spec.dataStoreOverrides)",
                self.shown(),
                one.resource
            )
        }));
        reasons
    }

    async fn served_from_source(&self) -> Result<Vec<String>> {
        let pods = list_all(&self.place.api::<Pod>(), &self.pods_selector()).await?;
        let others = pods
            .iter()
            .filter(|pod| store_of(pod) != self.tenant.target);
        Ok(others
            .map(|pod| format!("pod {} uses datastore {}", pod.name_any(), store_of(pod)))
            .collect())
    }

    async fn others_in_source(&self) -> Result<Vec<String>> {
        let Tenant {
            source,
            schema,
            user,
            ..
        } = &self.tenant;
        let all = holders(&self.place.cluster, source, schema, Some(user)).await?;
        let others = all.iter().filter(|one| one.uid() != self.tenant.uid);
        Ok(others
            .map(|one| {
                let named = named(one);
                format!("tenantcontrolplane {named} has the same schema or user there")
            })
            .collect())
    }

    async fn still_used(&self) -> Result<Option<String>> {
        let id = format!("{}/{}", self.place.namespace, self.tenant.name);
        let found = get_opt(&data_stores(&self.place.cluster), &self.tenant.source).await?;
        let store = found.map(DataStore::new).transpose()?;
        let used = store.is_some_and(|store| store.status.used_by.contains(&id));
        Ok(used.then(|| format!("its datastore says that {id} uses it (status.usedBy)")))
    }
}
