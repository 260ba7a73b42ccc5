//! Everything that forbids a switch, found before anything is changed, each with its own line.
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    super::support::{PlanFile, end},
    certificates::Authority,
    place::{GOLD, Place, SILVER, SYSTEM},
    tenant::Tenant,
};

/// What preflight says of a switch to a store: verdict, name, object, evidence.
pub(super) fn checks(tenant: &Tenant, to: &str) -> Result<Vec<[String; 4]>> {
    let plan = PlanFile::new(
        &tenant.namespace.name,
        "blocked",
        json!({
            "playbook": "kamaji-datastore",
            "source": {"tenantControlPlane": tenant.name}, "target": {"dataStore": to},
        }),
    )?;
    let args = ["preflight", "-f", &plan.path(), "-o", "json"];
    let ended = end(tenant.namespace.migrate(&args)?)?;
    let told: Value = serde_json::from_str(&ended.out).with_context(|| format!("{ended:?}"))?;
    let all = told["checks"].as_array().context("checks")?;
    let of = |check: &Value, key: &str| check["check"][key].as_str().unwrap_or_default().to_owned();
    Ok(all
        .iter()
        .map(|check| ["verdict", "name", "object", "evidence"].map(|key| of(check, key)))
        .collect())
}

/// Preflight finds exactly this check with this evidence.
pub(super) fn finds(
    tenant: &Tenant,
    to: &str,
    verdict: &str,
    name: &str,
    evidence: &str,
) -> Result<()> {
    let all = checks(tenant, to)?;
    let found = all
        .iter()
        .any(|[said, check, _, seen]| said == verdict && check == name && seen.contains(evidence));
    ensure!(found, "no {verdict} {name} `{evidence}` in {all:#?}");
    Ok(())
}

/// Something in another namespace or of the whole cluster, until it is dropped.
struct Made<'a>(&'a Place, String);

impl<'a> Made<'a> {
    fn new(place: &'a Place, what: &str, object: Value) -> Result<Self> {
        place.system.apply(&[object])?;
        Ok(Self(place, what.to_owned()))
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let args = ["delete", &self.1, "--now", "--wait=false"];
        self.0.system.kubectl(&args).ok();
    }
}

/// A DataStore like `gold`, changed.
fn store<'a>(place: &'a Place, name: &str, change: impl FnOnce(&mut Value)) -> Result<Made<'a>> {
    let mut object = place.gold.datastore()?;
    let spec = &mut object["spec"];
    change(spec);
    let object = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore",
        "metadata": {"name": name}, "spec": spec,
    });
    Made::new(place, &format!("datastore/{name}"), object)
}

fn content(text: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    json!({"content": STANDARD.encode(text)})
}

fn annotate(tenant: &Tenant, key: &str, value: &Value) -> Result<()> {
    tenant.patch(&json!({"metadata": {"annotations": {key: value}}}))
}

#[test]
fn what_is_wrong_with_the_target_is_found() -> Result<()> {
    let tenant = Tenant::new("blocked-target", SILVER)?;
    let (place, schema) = (tenant.place, tenant.schema()?);
    finds(&tenant, GOLD, "pass", "target datastore", "is ready")?;
    finds(
        &tenant,
        "none",
        "block",
        "target datastore",
        "does not exist",
    )?;
    finds(
        &tenant,
        SILVER,
        "block",
        "target datastore",
        "the tenant uses already",
    )?;

    let _other = store(place, "other-driver", |spec| {
        *spec = json!({
            "driver": "PostgreSQL", "endpoints": ["db.example:5432"],
            "basicAuth": {"username": content("u"), "password": content("p")},
        });
    })?;
    finds(
        &tenant,
        "other-driver",
        "block",
        "target datastore",
        "is PostgreSQL, and the tenant's data is in etcd",
    )?;

    let reference = |name: &str, key: &str| json!({"secretReference": {"name": name, "namespace": SYSTEM, "keyPath": key}});
    let _secret = store(place, "no-secret", |spec| {
        spec["tlsConfig"]["clientCertificate"]["certificate"] = reference("absent", "tls.crt");
    })?;
    finds(
        &tenant,
        "no-secret",
        "block",
        "credentials",
        "absent, key tls.crt: the Secret does not exist",
    )?;
    let _key = store(place, "no-key", |spec| {
        spec["tlsConfig"]["clientCertificate"]["privateKey"] =
            reference(&place.gold.client_secret(), "nowhere");
    })?;
    finds(
        &tenant,
        "no-key",
        "block",
        "credentials",
        "key nowhere: the Secret has no such key",
    )?;

    let authority = Authority::new("another")?;
    let (one, two) = (authority.client("root")?, authority.client("root")?);
    let _swapped = store(place, "swapped", |spec| {
        spec["tlsConfig"]["clientCertificate"] = json!({
            "certificate": content(&one.certificate), "privateKey": content(&two.key),
        });
    })?;
    finds(
        &tenant,
        "swapped",
        "block",
        "credentials",
        "is the key of another certificate",
    )?;
    let expired = authority.expired("root")?;
    let _expired = store(place, "expired", |spec| {
        spec["tlsConfig"]["clientCertificate"] = json!({
            "certificate": content(&expired.certificate), "privateKey": content(&expired.key),
        });
    })?;
    finds(&tenant, "expired", "block", "credentials", "and not now")?;
    let _text = store(place, "no-pem", |spec| {
        spec["tlsConfig"]["clientCertificate"]["certificate"] = content("hello");
    })?;
    finds(&tenant, "no-pem", "block", "credentials", "PEM")?;
    let _stranger = store(place, "stranger", |spec| {
        spec["tlsConfig"]["clientCertificate"] = json!({
            "certificate": content(&one.certificate), "privateKey": content(&one.key),
        });
    })?;
    finds(&tenant, "stranger", "block", "stores", "stranger")?;
    let _unreachable = store(place, "unreachable", |spec| {
        spec["endpoints"] = json!([format!("nobody.{SYSTEM}.svc.cluster.local:2379")]);
    })?;
    finds(&tenant, "unreachable", "block", "stores", "unreachable")?;

    // What an earlier switch, or another tenant of the same name, has left.
    let key = format!("/{schema}/configmaps/default/left");
    place.gold.etcdctl(&["put", &key, "behind"])?;
    finds(&tenant, GOLD, "block", "target data", "holds 1 keys")?;
    place.gold.etcdctl(&["del", &key])?;
    finds(&tenant, GOLD, "pass", "target data", "0 keys")
}

#[test]
fn what_is_wrong_with_the_tenant_is_found() -> Result<()> {
    let tenant = Tenant::new("blocked-tenant", SILVER)?;
    let (place, namespace) = (tenant.place, tenant.namespace.name.clone());
    let uid = tenant.get()?["metadata"]["uid"].clone();
    let uid = uid.as_str().context("a uid")?;
    let blocks = |name: &str, evidence: &str| finds(&tenant, GOLD, "block", name, evidence);
    finds(&tenant, GOLD, "pass", "control plane", "is Ready")?;
    finds(&tenant, GOLD, "pass", "controller", "is available")?;

    // A Job of Kamaji's that has not ended, and a pod without its Job.
    let pod = |name: &str, labels: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
                "name": "migrate", "image": "localhost/busybox:1", "command": ["sleep", "1000"],
            }]},
        })
    };
    let job = Made::new(
        place,
        "job/stale-migration",
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "stale-migration", "labels": {
                "tcp.kamaji.clastix.io/name": tenant.name, "tcp.kamaji.clastix.io/namespace": namespace,
                "kamaji.clastix.io/component": "migrate",
            }},
            "spec": {"suspend": true, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "migrate", "image": "localhost/busybox:1"}],
            }}},
        }),
    )?;
    blocks("migration job", "has not ended")?;
    drop(job);
    let orphan = Made::new(
        place,
        "pod/orphan-of-a-migration",
        pod(
            "orphan-of-a-migration",
            json!({"batch.kubernetes.io/job-name": format!("migrate-{uid}")}),
        ),
    )?;
    blocks("migration pod", "may write to a store at any time")?;
    drop(orphan);

    annotate(
        &tenant,
        "kamaji.clastix.io/migration-timeout",
        &json!("30m"),
    )?;
    finds(&tenant, GOLD, "warn", "leftovers", "migration-timeout=30m")?;
    annotate(&tenant, "kamaji.clastix.io/migration-timeout", &Value::Null)?;
    annotate(&tenant, "meta.helm.sh/release-name", &json!("tenants"))?;
    finds(&tenant, GOLD, "warn", "owner", "Helm")?;
    annotate(&tenant, "meta.helm.sh/release-name", &Value::Null)?;
    tenant.until_ready_on(SILVER)?;

    // Whatever is changed from here on, the controller leaves as it is.
    tenant.pause(true)?;
    blocks("pause", "is paused by somebody else")?;
    tenant.patch(&json!({"metadata": {"ownerReferences": [{
        "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "KamajiControlPlane",
        "name": "cluster", "uid": "00000000-0000-0000-0000-000000000000",
    }]}}))?;
    blocks("owner", "kamajicontrolplane cluster")?;
    tenant.patch(&json!({"metadata": {"ownerReferences": null}}))?;
    let phase = |phase: &str| {
        tenant.patch_status(&json!({"kubernetesResources": {"version": {"status": phase}}}))
    };
    // What the controller had begun before the pause may still say how it was.
    tenant.until("the phase to stay", || {
        phase("Provisioning")?;
        Ok(blocks("control plane", "is Provisioning").ok())
    })?;
    phase("Ready")?;
    tenant.wish(GOLD)?;
    blocks("control plane", "a migration by Kamaji is in flight")?;
    tenant.wish(SILVER)?;
    blocks("control plane", "Kamaji has not taken it in yet")?;
    let generation = tenant.get()?["metadata"]["generation"].clone();
    tenant.patch_status(&json!({"observedGeneration": generation}))?;

    // Its own webhook would not let the freeze be told from a refusal of its own.
    let hook = |name: &str, url: &str| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name}, "webhooks": [{
                "name": "own.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"url": url}, "timeoutSeconds": 1, "failurePolicy": "Fail",
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
            }],
        })
    };
    tenant.apply(&hook("own", "https://127.0.0.1:1/"))?;
    tenant.until("its own webhook to be in force", || {
        Ok(blocks("freeze", "refuses a write that changes nothing").ok())
    })?;
    tenant.kubectl(&["delete", "validatingwebhookconfiguration", "own"])?;

    // Nobody is there to refuse writes, and the tenant cannot be reached.
    let deployment = format!("deployment/{}", tenant.name);
    tenant
        .namespace
        .kubectl(&["scale", &deployment, "--replicas=0"])?;
    tenant.until("its pods to be gone", || {
        let pods = tenant.namespace.kubectl(&["get", "pods", "-o", "name"])?;
        Ok(pods.is_empty().then_some(()))
    })?;
    blocks("freeze", "no API server runs")?;
    // The controller lets go of it only when it may work on it.
    tenant.pause(false)
}
