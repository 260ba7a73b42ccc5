//! Why Kamaji's Job does not come to its end: it is told by name, and the way back puts everything as it was.
use anyhow::Result;
use serde_json::{Value, json};

use super::{
    super::support::Namespace,
    kills::wanted,
    place::{GOLD, Place, SILVER, stand_in_image},
    tenant::Tenant,
};

/// The Job that Kamaji is going to make, with a container or a pod of its own: Kamaji looks at the arguments only,
/// and takes it for its own.
fn job(tenant: &Tenant, to: &str, container: &Value, pod: &Value) -> Result<Value> {
    let arguments = [
        "migrate".to_owned(),
        format!(
            "--tenant-control-plane={}/{}",
            tenant.namespace.name, tenant.name
        ),
        format!("--target-datastore={to}"),
        "--cleanup-prior-migration=false".to_owned(),
        "--timeout=10m".to_owned(),
    ];
    let mut whole = json!({"name": "migrate", "image": stand_in_image()?, "args": arguments});
    merge(&mut whole, container);
    let mut spec = json!({
        "serviceAccountName": "kamaji-controller-manager", "restartPolicy": "OnFailure",
        "containers": [whole],
    });
    merge(&mut spec, pod);
    Ok(json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": tenant.job()?},
        "spec": {"template": {"spec": spec}},
    }))
}

/// Kamaji's Job, which begins only when it is let go. Nobody can hold a Job that is done within the time that passes
/// between request and pause: Kamaji flips, and there is nothing to go back to.
pub(super) fn held(tenant: &Tenant, to: &str) -> Result<Value> {
    let mut job = job(tenant, to, &json!({}), &json!({}))?;
    job["spec"]["suspend"] = json!(true);
    Ok(job)
}

/// Lets such a Job begin; one that is gone is left alone.
pub(super) fn let_go(system: &Namespace, job: &str) -> Result<()> {
    let begin = r#"{"spec":{"suspend":false}}"#;
    if system
        .kubectl(&["get", "job", job, "--ignore-not-found", "-o", "name"])?
        .is_empty()
    {
        return Ok(());
    }
    system.kubectl(&["patch", "job", job, "--type=merge", "-p", begin])?;
    Ok(())
}

/// Such a Job at the points of a switch: made before Kamaji would make its own, and let go once Kamaji is held.
pub(super) fn hold(tenant: &Tenant, to: &str) -> Result<impl Fn(&str) + Send + use<>> {
    let (job, name, system) = (held(tenant, to)?, tenant.job()?, tenant.place.system);
    Ok(move |point: &str| {
        let happened = match point {
            "patch request" => system.apply(std::slice::from_ref(&job)),
            "freeze done" => let_go(system, &name),
            _ => Ok(()),
        };
        // The switch tells what comes of it.
        happened.ok();
    })
}

fn merge(whole: &mut Value, part: &Value) {
    for (key, value) in part.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
}

/// With such a Job the switch ends with an error that says this; then it is put back.
fn is_told(tenant: &Tenant, container: &Value, pod: &Value, says: &[&str]) -> Result<()> {
    let before = wanted(tenant)?;
    let job = job(tenant, GOLD, container, pod)?;
    let system = tenant.place.system;
    let ended = tenant.by_controller_with(GOLD, "patch request", move || system.apply(&[job]))?;
    ended.with_code(14)?.says(says)?;
    tenant.goes_back(GOLD, &before)
}

fn script(text: &str) -> Value {
    json!({"image": "localhost/busybox:1", "command": ["sh", "-c", text]})
}

#[test]
fn images_that_cannot_be_had_and_pods_that_cannot_start_are_told_by_name() -> Result<()> {
    let tenant = Tenant::new("cause-image", SILVER)?;
    let nothing = json!({});
    let image = |image: &str| json!({"image": image});
    is_told(
        &tenant,
        &image("docker.io/clastix/kamaji:no-such-tag"),
        &nothing,
        &[
            "cannot pull image docker.io/clastix/kamaji:no-such-tag",
            "--migrate-image",
            "rollback",
        ],
    )?;
    is_told(
        &tenant,
        &image("No/Image:::at-all"),
        &nothing,
        &["InvalidImageName"],
    )?;
    let absent = json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "a"}}}]});
    is_told(
        &tenant,
        &absent,
        &nothing,
        &["CreateContainerConfigError", "absent"],
    )?;
    is_told(
        &tenant,
        &nothing,
        &json!({"nodeSelector": {"example.com/nowhere": "at-all"}}),
        &["has no node"],
    )
}

#[test]
fn pods_that_fail_are_told_by_their_last_words() -> Result<()> {
    let tenant = Tenant::new("cause-words", SILVER)?;
    let nothing = json!({});
    is_told(
        &tenant,
        &script("echo rpc error: unknown method AuthStatus for service etcdserverpb.Auth; exit 1"),
        &nothing,
        &["older than etcd 3.5", "unknown method AuthStatus"],
    )?;
    is_told(
        &tenant,
        &script("echo context deadline exceeded; exit 1"),
        &nothing,
        &["within the time that it was given", "migration-timeout"],
    )?;
    let mut greedy = script("tail /dev/zero");
    greedy["resources"] = json!({"limits": {"memory": "20Mi"}});
    is_told(&tenant, &greedy, &nothing, &["OOMKilled"])
}

#[test]
fn a_quota_that_keeps_the_job_from_making_pods_is_told() -> Result<()> {
    let tenant = Tenant::new("cause-quota", SILVER)?;
    let class = format!("cause-quota-{}", std::process::id());
    let place = Place::get()?;
    // Of its own pods only: the others' are not to be refused.
    place.system.apply(&[
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": class}, "value": 0,
        }),
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": class},
            "spec": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [{
                "scopeName": "PriorityClass", "operator": "In", "values": [class],
            }]}},
        }),
    ])?;
    // The API server hears of it a moment later, and of its figures after that.
    let overrides = json!({"spec": {"priorityClassName": class}}).to_string();
    let probe = [
        "run",
        "probe",
        "--image=none",
        "--dry-run=server",
        "--overrides",
        &overrides,
    ];
    tenant.until("the quota to be in force", || {
        let said = place.system.kubectl(&probe).err();
        let said = said.map(|error| format!("{error:#}"));
        Ok(said.filter(|said| said.contains("exceeded quota")))
    })?;
    let told = is_told(
        &tenant,
        &json!({}),
        &json!({"priorityClassName": class}),
        &[
            "can make no pod",
            "exceeded quota",
            "describe resourcequota",
        ],
    );
    place.system.kubectl(&["delete", "resourcequota", &class])?;
    place.system.kubectl(&["delete", "priorityclass", &class])?;
    told
}
