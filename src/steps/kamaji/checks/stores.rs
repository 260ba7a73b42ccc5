use anyhow::Result;

use super::super::{
    Switch, Tenant,
    neighbours::{holders, named},
};
use crate::{
    adapters::{
        datastore::Driver,
        kamaji::{DataStore, TenantControlPlane, data_stores, read_credentials},
        kube::get_opt,
    },
    engine::{Check, Verdict},
};

impl Switch {
    /// Both DataStores as Kamaji has them, and whether they can be dialled at all.
    pub(super) async fn check_stores(
        &self,
        tenant: &TenantControlPlane,
    ) -> Result<(Vec<Check>, bool)> {
        let (source, target) = (&self.tenant.source, &self.tenant.target);
        if source == target {
            let check = Check::block(
                "target datastore",
                format!("datastore {target}"),
                "is the one that the tenant uses already",
                "name another with --to",
            );
            return Ok((vec![check], false));
        }
        let mut checks = Vec::new();
        for (side, name) in [("source", source), ("target", target)] {
            let object = format!("datastore {name}");
            let title = if side == "source" {
                "source datastore"
            } else {
                "target datastore"
            };
            let found = get_opt(&data_stores(&self.place.cluster), name).await?;
            let Some(found) = found else {
                checks.push(Check::block(
                    title,
                    object,
                    "does not exist",
                    "kubectl get datastores shows what does",
                ));
                continue;
            };
            let store = DataStore::new(found)?;
            checks.push(self.check_store(title, &store));
            let driver = store.spec.driver.parse::<Driver>();
            if side == "target" && driver == Ok(Driver::Nats) {
                checks.push(self.check_is_alone(&store));
            }
            if let Ok(driver) = driver {
                match read_credentials(&self.place.cluster, &store, driver).await {
                    Ok(found) => {
                        checks.push(Check::pass("credentials", object, found.sources.join(", ")));
                    }
                    Err(flaws) => checks.extend(flaws.into_iter().map(|flaw| {
                        Check::block(
                            "credentials",
                            object.clone(),
                            flaw.to_string(),
                            "mend the Secret, or what the DataStore names",
                        )
                    })),
                }
            }
        }
        checks.push(self.check_overrides(tenant));
        checks.push(self.check_schema_is_free().await);
        let usable = checks.iter().all(|check| check.verdict != Verdict::Block);
        Ok((checks, usable))
    }

    fn check_store(&self, title: &str, store: &DataStore) -> Check {
        let object = store.shown();
        let block = |evidence: String, cure: &str| Check::block(title, &object, evidence, cure);
        if store.object.metadata.deletion_timestamp.is_some() {
            return block("is being deleted".to_owned(), "name one that stays");
        }
        if store.spec.driver != self.tenant.driver.to_string() {
            let evidence = format!(
                "is {}, and the tenant's data is in {}",
                store.spec.driver, self.tenant.driver
            );
            return block(
                evidence,
                "a driver cannot be changed: name a DataStore of the same",
            );
        }
        if store.status.ready == Some(false) {
            return block(
                "is not ready (status.ready)".to_owned(),
                "kubectl describe datastore shows why",
            );
        }
        let ready = store
            .status
            .ready
            .map_or("is of a Kamaji that tells no readiness", |_| "is ready");
        Check::pass(
            title,
            &object,
            format!("{ready}, {}", store.spec.endpoints.join(", ")),
        )
    }

    /// Kamaji lets a NATS serve one tenant (its issues 445, 446 and 459), and finds out after the flip.
    fn check_is_alone(&self, store: &DataStore) -> Check {
        let (name, object) = ("one tenant", store.shown());
        let mine = format!("{}/{}", self.place.namespace, self.tenant.name);
        let mut others = store.status.used_by.iter().filter(|id| **id != mine);
        match others.next() {
            Some(other) => Check::block(
                name,
                object,
                format!(
                    "serves {other} already (status.usedBy), and a NATS serves one tenant only"
                ),
                "name another DataStore",
            ),
            None => Check::pass(name, object, "serves no other tenant, as NATS has to"),
        }
    }

    /// An API server has one `--etcd-cafile` for all its stores, and the same prefix in each.
    fn check_overrides(&self, tenant: &TenantControlPlane) -> Check {
        let overrides = &tenant.spec.data_store_overrides;
        match &overrides[..] {
            [] => Check::pass("overrides", self.shown(), "all kinds are kept in one store"),
            [first, ..] => Check::block(
                "overrides",
                self.shown(),
                format!(
                    "keeps {} in datastore {} (spec.dataStoreOverrides)",
                    first.resource, first.data_store
                ),
                "this version moves tenants that are kept in one store only",
            ),
        }
    }

    /// Two tenants of one schema in one store overwrite each other: default names collided in older releases.
    async fn check_schema_is_free(&self) -> Check {
        let (name, object) = ("schema", format!("datastore {}", self.tenant.target));
        let Tenant {
            target,
            schema,
            user,
            ..
        } = &self.tenant;
        let all = match holders(&self.place.cluster, target, schema, Some(user)).await {
            Ok(all) => all,
            Err(error) => {
                let cure =
                    "make sure that no other tenant there has the same status.storage.setup.schema";
                return Check::warn(
                    name,
                    object,
                    format!("other tenants cannot be looked at: {error:#}"),
                    cure,
                );
            }
        };
        let mut others = all.iter().filter(|one| one.uid() != self.tenant.uid);
        match others.next() {
            Some(other) => Check::block(
                name,
                object,
                format!(
                    "holds tenant {} of the same schema or user ({schema}, {user})",
                    named(other)
                ),
                "name another DataStore",
            ),
            None => Check::pass(
                name,
                object,
                format!("no other tenant has schema {schema} or user {user}"),
            ),
        }
    }
}
