//! What is said of the stores.
use anyhow::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    api::{self, ContentRef, DataStore, DataStoreStatus, TlsConfig},
    cluster::{self, Cluster},
    watch::Listener,
};

const VALIDATION: &str = "kamaji.clastix.io/DataStoreValidation";
const DELETION: &str = "kamaji.clastix.io/DataStoreAllowedDeletion";

/// Keeps the status of all stores true, for ever.
pub async fn keep(cluster: &Cluster, mut bell: Listener) {
    loop {
        if let Err(error) = keep_all(cluster).await {
            tracing::warn!("datastores: {error:#}");
        }
        bell.wait().await;
    }
}

async fn keep_all(cluster: &Cluster) -> Result<()> {
    let tenants = cluster.all_tenants().list(&ListParams::default()).await?;
    let mut uses = Vec::new();
    for tenant in &tenants {
        let used = api::status(tenant).storage.data_store_name;
        let namespace = tenant.namespace().unwrap_or_default();
        uses.extend(used.map(|used| (used, format!("{namespace}/{}", tenant.name_any()))));
    }
    uses.sort();
    for store in cluster.datastores().list(&ListParams::default()).await? {
        let name = store.name_any();
        let used_by = uses.iter().filter(|(used, _)| *used == name);
        let used_by = used_by.map(|(_, tenant)| tenant.clone()).collect();
        tell(cluster, &store, used_by).await?;
    }
    Ok(())
}

async fn tell(cluster: &Cluster, store: &DataStore, used_by: Vec<String>) -> Result<()> {
    let fault = fault(cluster, store).await?;
    let ready = fault.is_none();
    let (reason, said) = fault.unwrap_or(("DataStoreIsValid", "the datastore is valid".to_owned()));
    let told = store.status.clone().unwrap_or_default();
    let conditions = vec![
        condition(VALIDATION, ready, reason, &said),
        if used_by.is_empty() {
            condition(DELETION, true, "DataStoreUnused", "no tenant uses it")
        } else {
            condition(DELETION, false, "DataStoreStillUsed", "tenants use it")
        },
    ];
    let mut now = DataStoreStatus {
        ready,
        used_by,
        observed_generation: store.metadata.generation,
        conditions,
    };
    keep_times(&mut now, &told);
    if now != told {
        let name = store.name_any();
        let change = Patch::Merge(json!({"status": now}));
        let stores = cluster.datastores();
        stores
            .patch_status(&name, &PatchParams::default(), &change)
            .await?;
    }
    Ok(())
}

fn condition(kind: &str, holds: bool, reason: &str, message: &str) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(cluster::now()),
        observed_generation: None,
    }
}

/// A condition that has not turned keeps its time.
fn keep_times(now: &mut DataStoreStatus, told: &DataStoreStatus) {
    for new in &mut now.conditions {
        let same = |old: &&Condition| old.type_ == new.type_ && old.status == new.status;
        if let Some(old) = told.conditions.iter().find(same) {
            new.last_transition_time = old.last_transition_time.clone();
        }
    }
}

/// What keeps a store from being ready: only whether Secrets exist is looked at, not what they hold, nor
/// whether any server answers.
async fn fault(cluster: &Cluster, store: &DataStore) -> Result<Option<(&'static str, String)>> {
    if let Some(basic) = &store.spec.basic_auth
        && let Some(fault) = missing(cluster, &[&basic.username, &basic.password]).await?
    {
        return Ok(Some(("BasicAuthValidationFailed", fault)));
    }
    let tls = store.spec.tls_config.as_ref().map(references);
    if let Some(fault) = missing(cluster, &tls.unwrap_or_default()).await? {
        return Ok(Some(("TLSConfigurationValidationFailed", fault)));
    }
    Ok(None)
}

fn references(tls: &TlsConfig) -> Vec<&ContentRef> {
    let pairs = std::iter::once(&tls.certificate_authority).chain(&tls.client_certificate);
    pairs
        .flat_map(|pair| std::iter::once(&pair.certificate).chain(&pair.private_key))
        .collect()
}

async fn missing(cluster: &Cluster, references: &[&ContentRef]) -> Result<Option<String>> {
    for reference in references {
        if reference.content.is_some() {
            continue;
        }
        let Some(place) = &reference.secret_reference else {
            return Ok(Some("neither content nor a Secret is given".to_owned()));
        };
        let (namespace, name) = (&place.namespace, &place.name);
        if cluster::secret(&cluster.client, namespace, name)
            .await?
            .is_none()
        {
            return Ok(Some(format!("secret {namespace}/{name} does not exist")));
        }
    }
    Ok(None)
}
