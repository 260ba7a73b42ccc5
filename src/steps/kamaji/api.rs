//! The tenant's own API servers, each of them: what one refuses, another may still let through.
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{Api, ObjectMeta, PostParams};

use super::Switch;
use crate::{
    adapters::{
        kamaji::POD_DATA_STORE,
        kube::{Cluster, KubeError, Tunnel, connect_through, get_opt, list_all},
    },
    engine::{Failure, Kind},
};

/// The port of an API server in a tenant's pod.
const PORT: u16 = 6443;

/// One API server of the tenant, reached through a tunnel that lives as long as this.
pub(super) struct ApiServer {
    /// Its pod.
    pub pod: String,
    /// What it serves.
    pub cluster: Cluster,
    _tunnel: Tunnel,
}

/// What an API server does with a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// It would accept it.
    Accepted,
    /// Our policy refuses it.
    Frozen,
}

impl Switch {
    /// The pods of the control plane that are not on their way out.
    pub(super) async fn pods(&self) -> Result<Vec<Pod>, KubeError> {
        let pods = list_all(&self.place.api::<Pod>(), &self.pods_selector()).await?;
        Ok(pods
            .into_iter()
            .filter(|pod| !matches!(phase(pod), "Succeeded" | "Failed"))
            .collect())
    }

    /// Every API server of the tenant that runs, also one that is told to end.
    pub(super) async fn api_servers(&self) -> Result<Vec<ApiServer>> {
        self.api_servers_of(self.pods().await?).await
    }

    /// The API servers that are not told to end. Another one may use the store that the tenant has left, where its
    /// freeze stays.
    pub(super) async fn staying_api_servers(&self) -> Result<Vec<ApiServer>> {
        let mut pods = self.pods().await?;
        pods.retain(|pod| !is_ending(pod));
        self.api_servers_of(pods).await
    }

    async fn api_servers_of(&self, pods: Vec<Pod>) -> Result<Vec<ApiServer>> {
        let kubeconfig = self.kubeconfig().await?;
        let mut found = Vec::new();
        for pod in pods {
            let name = pod.metadata.name.clone().unwrap_or_default();
            if phase(&pod) != "Running" {
                continue;
            }
            let tunnel =
                Tunnel::to_pod(&self.place.cluster, &self.place.namespace, &name, PORT).await?;
            let shown = format!(
                "{} of {}",
                self.place.object("pod", &name),
                self.tenant.name
            );
            let cluster = connect_through(&kubeconfig, &shown, tunnel.address()).await?;
            found.push(ApiServer {
                pod: name,
                cluster,
                _tunnel: tunnel,
            });
        }
        Ok(found)
    }

    /// The administrator's kubeconfig, from its Secret.
    async fn kubeconfig(&self) -> Result<String> {
        let (name, key) = (&self.tenant.kubeconfig_secret, &self.tenant.kubeconfig_key);
        let secret = get_opt(&self.place.api::<Secret>(), name).await?;
        let object = self.place.object("secret", name);
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        let value = data.get(key).with_context(|| {
            Failure::new(
                Kind::Blocked,
                format!("{object} has no key {key}: there is no kubeconfig of the tenant's administrator"),
            )
        })?;
        String::from_utf8(value.0.clone())
            .with_context(|| format!("key {key} of {object} is no text"))
    }
}

impl ApiServer {
    /// Sends a write that is not made.
    pub(super) async fn try_write(&self) -> Result<(), KubeError> {
        let api: Api<ConfigMap> = self.cluster.dry_run().namespaced("default");
        let probe = ConfigMap {
            metadata: ObjectMeta {
                generate_name: Some("kubectl-migrate-probe-".to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        api.create(&PostParams::default(), &probe).await?;
        Ok(())
    }

    /// Asks whether a write would be accepted, without making it.
    pub(super) async fn probe(&self, message: &str) -> Result<Write> {
        match self.try_write().await {
            Ok(()) => Ok(Write::Accepted),
            Err(error) if error.to_string().contains(message) => Ok(Write::Frozen),
            Err(error) => Err(error)
                .with_context(|| format!("cannot tell whether {} accepts writes", self.pod)),
        }
    }
}

/// The store that a pod of the control plane uses.
pub(super) fn store_of(pod: &Pod) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(POD_DATA_STORE))
        .map_or("", String::as_str)
}

/// Whether a pod is told to end.
pub(super) fn is_ending(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// The phase of a pod.
fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

/// Refuses to go on without an API server that could tell something.
pub(super) fn at_least_one(servers: &[ApiServer], shown: &str) -> Result<()> {
    ensure!(
        !servers.is_empty(),
        Failure::new(
            Kind::Blocked,
            format!(
                "no API server of {shown} runs: look at its pods, or choose spec.freeze.tenant: offline"
            ),
        )
    );
    Ok(())
}
