//! The controller's webhooks: one looks at tenants, two refuse whatever a tenant's API server asks.
use std::{net::Ipv4Addr, sync::Arc};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Secret},
};
use kube::Api;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    api,
    certificates::Pair,
    cluster::{self, Cluster, apply},
};

/// Where writes of a tenant that is migrated are refused.
pub const MIGRATE: &str = "/migrate";
/// Where writes of a limited tenant are refused.
pub const WRITE_PERMISSION: &str = "/write-permission";
const VALIDATE: &str = "/validate-tenantcontrolplane";

const SERVICE: &str = "kamaji-webhook-service";
const SECRET: &str = "kamaji-webhook-server-cert";
const CONFIGURATION: &str = "kamaji-validating-webhook-configuration";
const PORT: u16 = 9443;

const FROZEN: &str = "the current Control Plane is in freezing mode due to a maintenance mode, \
    all the changes are blocked: removing the webhook may lead to an inconsistent state upon its completion";
const LIMITED: &str =
    "the current Control Plane has limited write permissions, the change is blocked";

/// The address of a webhook for API servers of tenants, which do not know our Services.
pub fn url(namespace: &str, path: &str) -> String {
    format!("https://{SERVICE}.{namespace}.svc:443{path}")
}

/// The webhooks' authority, which outlives the controller's pod.
pub async fn authority(client: &kube::Client, namespace: &str) -> Result<String> {
    let found = cluster::secret(client, namespace, SECRET).await?;
    let content = if let Some(content) = found {
        content
    } else {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let made = apply(&secrets, &make(namespace)?).await?;
        made.data.unwrap_or_default()
    };
    cluster::text(&content, "ca.crt").with_context(|| format!("secret {SECRET} has no ca.crt"))
}

/// The Secret with the authority and our certificate.
fn make(namespace: &str) -> Result<Value> {
    let authority = Pair::authority("kamaji-webhooks")?;
    let server = authority.server(vec![
        format!("{SERVICE}.{namespace}.svc"),
        format!("{SERVICE}.{namespace}.svc.cluster.local"),
    ])?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace},
        "stringData": {
            "ca.crt": authority.certificate, "tls.crt": server.certificate, "tls.key": server.key,
        },
    }))
}

/// Has Kamaji's own API server ask about tenants.
pub async fn register(cluster: &Cluster) -> Result<()> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let authority = ByteString(cluster.webhook_authority.clone().into_bytes());
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": CONFIGURATION},
        "webhooks": [{
            "name": "vtenantcontrolplane.kb.io", "admissionReviewVersions": ["v1"],
            "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 30,
            "clientConfig": {"caBundle": authority, "service": {
                "name": SERVICE, "namespace": cluster.namespace, "path": VALIDATE,
            }},
            "rules": [{
                "operations": ["CREATE", "UPDATE"], "apiGroups": [api::GROUP],
                "apiVersions": ["v1alpha1"], "resources": ["tenantcontrolplanes"],
            }],
        }],
    });
    apply(&configurations, &configuration).await?;
    Ok(())
}

/// Answers for ever.
pub async fn serve(cluster: Arc<Cluster>) -> Result<()> {
    let tls = TlsAcceptor::from(Arc::new(server_config(&cluster).await?));
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (tls, cluster) = (tls.clone(), cluster.clone());
        tokio::spawn(async move {
            // Whoever knocks without TLS, such as a probe, gets no answer.
            let stream = tls.accept(stream).await?;
            let service = service_fn(|request| answer(&cluster, request));
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await?;
            Ok::<_, anyhow::Error>(())
        });
    }
}

async fn server_config(cluster: &Cluster) -> Result<ServerConfig> {
    let content = cluster::secret(&cluster.client, &cluster.namespace, SECRET)
        .await?
        .with_context(|| format!("secret {SECRET} is gone"))?;
    let pem = |key| cluster::text(&content, key).with_context(|| format!("no {key} in {SECRET}"));
    let certificate = CertificateDer::from_pem_slice(pem("tls.crt")?.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(pem("tls.key")?.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?)
}

async fn answer(cluster: &Cluster, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body)?;
    let refusal = match &*path {
        MIGRATE => Some(FROZEN.to_owned()),
        WRITE_PERMISSION => Some(LIMITED.to_owned()),
        VALIDATE => unknown_store(cluster, &review["request"]["object"]).await?,
        _ => return Ok(Response::builder().status(404).body(Full::default())?),
    };
    let mut response = json!({"uid": review["request"]["uid"], "allowed": refusal.is_none()});
    if let Some(refusal) = refusal {
        response["status"] = json!({"message": refusal, "code": 403});
    }
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    });
    Ok(Response::builder()
        .header("content-type", "application/json")
        .body(Full::from(answer.to_string()))?)
}

/// All that is looked at: neither the store's driver nor whether it is ready.
async fn unknown_store(cluster: &Cluster, tenant: &Value) -> Result<Option<String>> {
    let Some(name) = tenant["spec"]["dataStore"].as_str() else {
        return Ok(None);
    };
    if name.is_empty() || cluster.datastores().get_metadata_opt(name).await?.is_some() {
        return Ok(None);
    }
    Ok(Some(format!("{name} DataStore does not exist")))
}
