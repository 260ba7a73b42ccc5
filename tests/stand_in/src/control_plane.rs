//! A tenant's API server: its Service and its Deployment.
use anyhow::{Context as _, Result};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::{
    api::{self, Tenant},
    cluster::{Cluster, apply, labels, metadata},
    driver::Driver,
    kine, pki,
    storage::{self, Share},
    store::Store,
};

/// The pods' label that says which store they use.
pub const DATASTORE: &str = "component.kamaji.clastix.io/datastore";

const PKI: &str = "/etc/kubernetes/pki";
/// Where the pods have the store's certificates.
pub const STORE_PKI: &str = "/etc/kubernetes/pki/datastore";

/// Makes the Service; gives its address.
pub async fn settle_service(cluster: &Cluster, tenant: &Tenant) -> Result<String> {
    let port = tenant.spec.network_profile.port;
    let services = cluster.of::<Service>(&api::namespace(tenant)?);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(tenant, &tenant.name_any()),
        "spec": {
            "type": "ClusterIP", "selector": labels(tenant),
            "ports": [{"name": "kube-apiserver", "port": port, "targetPort": port, "protocol": "TCP"}],
        },
    });
    let service = apply(&services, &service).await?;
    service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("the service has no address")
}

/// Makes the Deployment what it should be on `store`.
pub async fn settle_deployment(
    cluster: &Cluster,
    tenant: &Tenant,
    store: &Store,
    certificate: &str,
) -> Result<Deployment> {
    let mut pod_labels = labels(tenant);
    pod_labels[DATASTORE] = json!(store.name);
    let pods = &tenant.spec.control_plane.deployment;
    let strategy = pods.strategy.clone().unwrap_or_else(|| {
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}})
    });
    let mounts = json!([
        {"name": "certificates", "mountPath": PKI, "readOnly": true},
        {"name": "datastore", "mountPath": STORE_PKI, "readOnly": true},
    ]);
    let probe = |path: &str, failures: u32| {
        let port = tenant.spec.network_profile.port;
        json!({
            "httpGet": {"path": path, "port": port, "scheme": "HTTPS"},
            "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": failures,
        })
    };
    let mut containers = vec![json!({
        "name": "kube-apiserver", "image": cluster.control_plane_image,
        "args": arguments(tenant, store)?, "volumeMounts": mounts,
        "startupProbe": probe("/livez", 600), "livenessProbe": probe("/livez", 60),
        "readinessProbe": probe("/readyz", 10),
    })];
    if let Some(kine) = kine::container(cluster, tenant, store) {
        containers.push(kine);
    }
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": metadata(tenant, &tenant.name_any()),
        "spec": {
            "replicas": pods.replicas, "selector": {"matchLabels": labels(tenant)},
            "strategy": strategy,
            "template": {
                // A new certificate is read by new pods only.
                "metadata": {"labels": pod_labels, "annotations": {"checksum/datastore": certificate}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": containers,
                    "volumes": [
                        {"name": "certificates", "secret": {"secretName": pki::certificates(tenant)}},
                        {"name": "datastore", "secret": {"secretName": storage::certificate(tenant)}},
                    ],
                },
            },
        },
    });
    apply(&cluster.of(&api::namespace(tenant)?), &deployment).await
}

fn arguments(tenant: &Tenant, store: &Store) -> Result<Vec<String>> {
    let network = &tenant.spec.network_profile;
    let storage = if store.driver == Driver::Etcd {
        let schema = Share::of(tenant)?.schema;
        vec![
            format!("--etcd-servers={}", store.urls().join(",")),
            format!("--etcd-prefix=/{schema}"),
            format!("--etcd-cafile={STORE_PKI}/ca.crt"),
            format!("--etcd-certfile={STORE_PKI}/server.crt"),
            format!("--etcd-keyfile={STORE_PKI}/server.key"),
        ]
    } else {
        vec![format!("--etcd-servers={}", kine::SERVER)]
    };
    let others = [
        format!("--secure-port={}", network.port),
        "--etcd-compaction-interval=0".to_owned(),
        format!("--client-ca-file={PKI}/ca.crt"),
        format!("--tls-cert-file={PKI}/apiserver.crt"),
        format!("--tls-private-key-file={PKI}/apiserver.key"),
        format!("--service-account-key-file={PKI}/sa.pub"),
        format!("--service-account-signing-key-file={PKI}/sa.key"),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-cluster-ip-range={}", network.service_cidr),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
    ];
    Ok(storage.into_iter().chain(others).collect())
}

/// What a tenant's status says of its Service and its administrator.
pub fn reached(tenant: &Tenant, address: &str) -> Value {
    let port = tenant.spec.network_profile.port;
    json!({
        "controlPlaneEndpoint": format!("{address}:{port}"),
        "kubeconfig": {"admin": {"secretName": pki::admin_kubeconfig(tenant)}},
        "kubernetesResources": {"service": {
            "name": tenant.name_any(), "namespace": tenant.namespace(), "port": port,
        }},
    })
}
