//! The Job that copies a tenant's data from store to store.
use anyhow::{Context as _, Result};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    api::{self, Tenant},
    cluster::Cluster,
};

const TIMEOUT: &str = "kamaji.clastix.io/migration-timeout";
const CLEANUP: &str = "kamaji.clastix.io/cleanup-prior-migration";

/// Goes on with a tenant's migration to `target`; true when its Job has come to a good end. One that has
/// failed is nowhere spoken of.
pub async fn is_done(cluster: &Cluster, tenant: &Tenant, target: &str) -> Result<bool> {
    let jobs = cluster.of::<Job>(&cluster.namespace);
    let name = format!("migrate-{}", api::uid(tenant)?);
    let wanted = job(cluster, tenant, &name, target)?;
    let complete = match jobs.get_opt(&name).await? {
        Some(found) if arguments(&found) == arguments(&wanted) => is_complete(&found),
        Some(found) => {
            replace(&jobs, found, &wanted).await?;
            false
        }
        None => {
            jobs.create(&PostParams::default(), &wanted)
                .await
                .context("unable to launch migrate job")?;
            tracing::info!("{name} copies to datastore {target}");
            false
        }
    };
    if complete {
        return Ok(true);
    }
    let version = json!({"version": {"status": "Migrating"}});
    cluster
        .say(tenant, json!({"kubernetesResources": version}))
        .await?;
    Ok(false)
}

/// Its own rights do not let Kamaji update a Job: it is deleted instead, and its pods are left alone.
async fn replace(jobs: &Api<Job>, found: Job, wanted: &Job) -> Result<()> {
    let name = found.name_any();
    if found.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let mut changed = found;
    changed.spec.clone_from(&wanted.spec);
    match jobs.replace(&name, &PostParams::default(), &changed).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            jobs.delete(&name, &DeleteParams::default()).await?;
            tracing::info!("{name} is deleted, for its arguments have changed");
            Ok(())
        }
        other => other.map(drop).context("unable to launch migrate job"),
    }
}

fn job(cluster: &Cluster, tenant: &Tenant, name: &str, target: &str) -> Result<Job> {
    let (namespace, tenant_name) = (api::namespace(tenant)?, tenant.name_any());
    let mut arguments = vec![
        "migrate".to_owned(),
        format!("--tenant-control-plane={namespace}/{tenant_name}"),
        format!("--target-datastore={target}"),
    ];
    // Any annotation at all brings the flag, whatever it is about.
    let annotations = tenant.annotations();
    if !annotations.is_empty() {
        let clean = annotations.get(CLEANUP).is_some_and(|text| is_true(text));
        arguments.push(format!("--cleanup-prior-migration={clean}"));
    }
    if let Some(timeout) = annotations.get(TIMEOUT)
        && timeout.parse::<jiff::SignedDuration>().is_ok()
    {
        arguments.push(format!("--timeout={timeout}"));
    }
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "namespace": cluster.namespace, "labels": {
                "tcp.kamaji.clastix.io/name": tenant_name,
                "tcp.kamaji.clastix.io/namespace": namespace,
                "kamaji.clastix.io/component": "migrate",
            },
        },
        "spec": {"template": {"spec": {
            "serviceAccountName": cluster.service_account, "restartPolicy": "OnFailure",
            "containers": [{
                "name": "migrate", "image": cluster.migrate_image, "args": arguments,
            }],
        }}},
    });
    serde_json::from_value(job).context("the job's template")
}

/// The texts that Go takes for a true.
fn is_true(text: &str) -> bool {
    ["1", "t", "T", "TRUE", "true", "True"].contains(&text)
}

fn arguments(job: &Job) -> Option<&[String]> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.args.as_deref()
}

fn is_complete(job: &Job) -> bool {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Complete" && condition.status == "True")
}
