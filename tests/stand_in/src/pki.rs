//! A tenant's own authority, certificates and administrator.
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    api::{self, Tenant},
    certificates::{self, Pair},
    cluster::{self, Cluster, apply, secret_of},
};

/// The Secret with all of it.
pub fn certificates(tenant: &Tenant) -> String {
    format!("{}-certificates", tenant.name_any())
}

/// The Secret with the administrator's kubeconfig.
pub fn admin_kubeconfig(tenant: &Tenant) -> String {
    format!("{}-admin-kubeconfig", tenant.name_any())
}

/// Makes what is not there yet.
pub async fn settle(cluster: &Cluster, tenant: &Tenant, address: &str) -> Result<()> {
    let namespace = api::namespace(tenant)?;
    let secrets = cluster.of::<Secret>(&namespace);
    let name = certificates(tenant);
    let found = cluster::secret(&cluster.client, &namespace, &name).await?;
    let certificates = if let Some(content) = found {
        content
    } else {
        let made = make(tenant, &namespace, address)?;
        let made: Vec<_> = made.iter().map(|(key, text)| (*key, &**text)).collect();
        let made = apply(&secrets, &secret_of(tenant, &name, &made)).await?;
        made.data.unwrap_or_default()
    };
    let name = admin_kubeconfig(tenant);
    if cluster::secret(&cluster.client, &namespace, &name)
        .await?
        .is_none()
    {
        let port = tenant.spec.network_profile.port;
        let server = format!("https://{address}:{port}");
        let kubeconfig = kubeconfig(tenant, &certificates, &server)?;
        let both = [
            ("admin.conf", &*kubeconfig),
            ("super-admin.conf", &*kubeconfig),
        ];
        apply(&secrets, &secret_of(tenant, &name, &both)).await?;
    }
    Ok(())
}

fn make(tenant: &Tenant, namespace: &str, address: &str) -> Result<[(&'static str, String); 6]> {
    let name = tenant.name_any();
    let authority = Pair::authority("kubernetes")?;
    let names = vec![
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        "kubernetes.default.svc".to_owned(),
        "kubernetes.default.svc.cluster.local".to_owned(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.cluster.local"),
        address.to_owned(),
    ];
    let server = authority.server(names)?;
    let (private, public) = certificates::keys()?;
    Ok([
        ("ca.crt", authority.certificate),
        ("ca.key", authority.key),
        ("apiserver.crt", server.certificate),
        ("apiserver.key", server.key),
        ("sa.key", private),
        ("sa.pub", public),
    ])
}

fn kubeconfig(
    tenant: &Tenant,
    certificates: &BTreeMap<String, ByteString>,
    server: &str,
) -> Result<String> {
    let text = |key| cluster::text(certificates, key).with_context(|| format!("no {key}"));
    let authority = Pair {
        certificate: text("ca.crt")?,
        key: text("ca.key")?,
    };
    let admin = authority.client("kubernetes-super-admin", Some("system:masters"))?;
    let base64 = |text: String| ByteString(text.into_bytes());
    let (cluster, user) = (tenant.name_any(), "kubernetes-admin");
    let context = format!("{user}@{cluster}");
    Ok(serde_yaml::to_string(&json!({
        "apiVersion": "v1", "kind": "Config", "current-context": context,
        "clusters": [{"name": cluster, "cluster": {
            "server": server, "certificate-authority-data": base64(authority.certificate),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": base64(admin.certificate), "client-key-data": base64(admin.key),
        }}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
    }))?)
}
