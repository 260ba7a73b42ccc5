//! Helm, Argo CD and Flux: told by the marks that they leave on what they install.
use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use super::{
    super::{Cluster, KubeError},
    Finding, dynamic,
};

/// Where Argo CD looks for Applications unless told otherwise.
const ARGO_NAMESPACE: &str = "argocd";

pub(super) async fn of(cluster: &Cluster, workload: &DynamicObject) -> Vec<Finding> {
    let mut findings: Vec<Finding> = helm(workload).into_iter().collect();
    findings.extend(argo(cluster, workload).await);
    findings.extend(flux(cluster, workload, &KUSTOMIZATION).await);
    findings.extend(flux(cluster, workload, &HELM_RELEASE).await);
    findings
}

/// Helm acts only when somebody runs it.
fn helm(workload: &DynamicObject) -> Option<Finding> {
    let annotations = workload.annotations();
    let release = annotations.get("meta.helm.sh/release-name")?;
    let namespace = annotations
        .get("meta.helm.sh/release-namespace")
        .map_or("default", String::as_str);
    Some(Finding {
        who: format!("helm release {namespace}/{release}"),
        why: "a helm upgrade or rollback during the freeze would start the workload again"
            .to_owned(),
        pause: None,
        undoes: false,
    })
}

async fn argo(cluster: &Cluster, workload: &DynamicObject) -> Option<Finding> {
    let tracked = workload.annotations().get("argocd.argoproj.io/tracking-id");
    let tracked = tracked
        .and_then(|id| id.split(':').next())
        .map(ToOwned::to_owned);
    let application = tracked.or_else(|| {
        workload
            .labels()
            .get("argocd.argoproj.io/instance")
            .cloned()
    })?;
    // Applications outside of Argo's own namespace are tracked as NAMESPACE_NAME.
    let (namespace, name) = application
        .split_once('_')
        .unwrap_or((ARGO_NAMESPACE, &application));
    let api = dynamic(
        cluster,
        "argoproj.io",
        "v1alpha1",
        "Application",
        "applications",
        namespace,
    );
    let (undoes, why) = match api.get(name).await.map_err(KubeError::from) {
        Err(error) => (
            true,
            format!("it may heal the workload by itself; its settings cannot be read: {error}"),
        ),
        Ok(found) => {
            let automated = &found.data["spec"]["syncPolicy"]["automated"];
            let on = automated.is_object() && automated["enabled"] != false;
            let heals = on && automated["selfHeal"] == true;
            let made_by = found
                .owner_references()
                .iter()
                .find(|owner| owner.kind == "ApplicationSet");
            let made_by = made_by
                .map(|set| {
                    format!(
                        "; applicationset {} made it and may switch this on again",
                        set.name
                    )
                })
                .unwrap_or_default();
            match (on, heals) {
                (_, true) => (
                    true,
                    format!(
                        "self-healing is on: it puts the workload back within seconds{made_by}"
                    ),
                ),
                (true, false) => (
                    false,
                    format!(
                        "automated sync is on: the next commit would start the workload{made_by}"
                    ),
                ),
                (false, false) => (
                    false,
                    "a manual sync during the freeze would start the workload again".to_owned(),
                ),
            }
        }
    };
    let patch = r#"{"spec":{"syncPolicy":{"automated":null}}}"#;
    Some(Finding {
        who: format!("argo cd application {namespace}/{name}"),
        why,
        pause: Some(format!(
            "kubectl -n {namespace} patch application.argoproj.io {name} --type merge -p '{patch}'"
        )),
        undoes,
    })
}

/// One of Flux' two appliers; both mark what they install with their own name.
struct Applier {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

const KUSTOMIZATION: Applier = Applier {
    group: "kustomize.toolkit.fluxcd.io",
    version: "v1",
    kind: "Kustomization",
    plural: "kustomizations",
};

const HELM_RELEASE: Applier = Applier {
    group: "helm.toolkit.fluxcd.io",
    version: "v2",
    kind: "HelmRelease",
    plural: "helmreleases",
};

async fn flux(cluster: &Cluster, workload: &DynamicObject, applier: &Applier) -> Option<Finding> {
    let Applier {
        group,
        version,
        kind,
        plural,
    } = applier;
    let name = workload.labels().get(&format!("{group}/name"))?;
    let namespace = workload
        .labels()
        .get(&format!("{group}/namespace"))
        .map_or("flux-system", String::as_str);
    let disabled = workload
        .annotations()
        .get(&format!("{group}/reconcile"))
        .is_some_and(|value| value == "disabled");
    let api = dynamic(cluster, group, version, kind, plural, namespace);
    let (undoes, why) = match api.get(name).await.map_err(KubeError::from) {
        _ if disabled => (
            false,
            "the workload is marked as not to be reconciled".to_owned(),
        ),
        Ok(found) if found.data["spec"]["suspend"] == Value::Bool(true) => (
            false,
            "it is suspended; do not resume it during the freeze".to_owned(),
        ),
        Ok(_) => (
            true,
            "it is not suspended: its next reconciliation puts the workload back".to_owned(),
        ),
        Err(error) => (
            true,
            format!(
                "its next reconciliation may put the workload back; it cannot be read: {error}"
            ),
        ),
    };
    let patch = r#"{"spec":{"suspend":true}}"#;
    let resource = format!("{}.{group}", kind.to_lowercase());
    Some(Finding {
        who: format!("flux {} {namespace}/{name}", kind.to_lowercase()),
        why,
        pause: undoes.then(|| {
            format!("kubectl -n {namespace} patch {resource} {name} --type merge -p '{patch}'")
        }),
        undoes,
    })
}
