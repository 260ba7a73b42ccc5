//! What Kamaji keeps inside a tenant: the webhooks that refuse writes. It runs beside the reconciles and
//! follows the status, so it may come too late.
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::{
    ByteString, api::admissionregistration::v1::ValidatingWebhookConfiguration as Webhooks,
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::DeleteParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::{
    api::{self, Tenant},
    cluster::{self, Cluster, apply},
    pki, webhook,
};

const FREEZE: &str = "kamaji-freeze";
const WRITE_PERMISSIONS: &str = "kamaji-write-permissions";
const KUBECONFIG_KEY: &str = "kamaji.clastix.io/kubeconfig-secret-key";
/// A tenant that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the tenant refuse what its status says that it should.
pub async fn settle(cluster: &Cluster, tenant: &Tenant) -> Result<()> {
    if api::is_paused(tenant) || tenant.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let version = api::status(tenant).kubernetes_resources.version;
    let Some(phase) = version.status.as_deref() else {
        return Ok(());
    };
    if ["NotReady", "Sleeping", "Provisioning"].contains(&phase) {
        return Ok(());
    }
    let webhooks: Api<Webhooks> = Api::all(client(cluster, tenant).await?);
    match phase {
        "Migrating" => {
            apply(&webhooks, &freeze(cluster)).await?;
        }
        "Ready" => delete(&webhooks, FREEZE).await?,
        _ => {}
    }
    if phase == "WriteLimited" {
        let refused = tenant.spec.write_permissions.refused();
        apply(&webhooks, &write_permissions(cluster, &refused)).await?;
        Ok(())
    } else {
        delete(&webhooks, WRITE_PERMISSIONS).await
    }
}

/// The tenant's API, as its administrator.
async fn client(cluster: &Cluster, tenant: &Tenant) -> Result<Client> {
    let (namespace, name) = (api::namespace(tenant)?, pki::admin_kubeconfig(tenant));
    let key = tenant.annotations().get(KUBECONFIG_KEY);
    let key = key.map_or("super-admin.conf", String::as_str);
    let content = cluster::secret(&cluster.client, &namespace, &name).await?;
    let text = content
        .and_then(|content| cluster::text(&content, key))
        .with_context(|| format!("secret {namespace}/{name} has no {key}"))?;
    let options = KubeConfigOptions::default();
    let mut config =
        Config::from_custom_kubeconfig(Kubeconfig::from_yaml(&text)?, &options).await?;
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    Ok(Client::try_from(config)?)
}

async fn delete(webhooks: &Api<Webhooks>, name: &str) -> Result<()> {
    if webhooks.get_metadata_opt(name).await?.is_none() {
        return Ok(());
    }
    match webhooks.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

fn freeze(cluster: &Cluster) -> Value {
    configuration(
        cluster,
        FREEZE,
        "migrate",
        webhook::MIGRATE,
        &["*"],
        &["CREATE", "DELETE"],
    )
}

fn write_permissions(cluster: &Cluster, refused: &[&str]) -> Value {
    configuration(
        cluster,
        WRITE_PERMISSIONS,
        "write-permissions",
        webhook::WRITE_PERMISSION,
        refused,
        refused,
    )
}

/// Everything but `kube-system`, and of the nodes' leases `leases` only. Without `*/*` no subresource is covered.
fn configuration(
    cluster: &Cluster,
    name: &str,
    what: &str,
    path: &str,
    operations: &[&str],
    leases: &[&str],
) -> Value {
    let url = webhook::url(&cluster.namespace, path);
    let authority = ByteString(cluster.webhook_authority.clone().into_bytes());
    let one = |kind: &str, operations: &[&str], operator: &str, namespaces: &[&str]| {
        json!({
            "name": format!("{kind}.{what}.kamaji.clastix.io"),
            "admissionReviewVersions": ["v1"], "sideEffects": "NoneOnDryRun", "failurePolicy": "Fail",
            "clientConfig": {"url": url, "caBundle": authority},
            "namespaceSelector": {"matchExpressions": [{
                "key": "kubernetes.io/metadata.name", "operator": operator, "values": namespaces,
            }]},
            "rules": [{
                "operations": operations, "apiGroups": ["*"], "apiVersions": ["*"],
                "resources": ["*"], "scope": "*",
            }],
        })
    };
    let exempt = ["kube-system", "kube-node-lease"];
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            one("catchall", operations, "NotIn", &exempt),
            one("leases", leases, "In", &["kube-node-lease"]),
        ],
    })
}
