use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    batch::v1::Job,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret},
};

use super::{named, path};
use crate::{
    adapters::kube::{Object, Selector, Wait, delete_and_wait, list_all},
    context::Context,
    error::Kind,
    marks::object_name,
    plan::Plan,
    report::State,
    steps::{Place, preflight::Checked, verify::VERIFIED},
};

/// Delete what a migration left behind, after showing it
#[derive(clap::Args, Debug)]
#[command(after_help = super::examples::CLEANUP)]
pub(crate) struct Args {
    /// Name of the migration
    name: String,
    /// Also delete the source: its workload and its volumes, which is the way back
    #[arg(long)]
    old_data: bool,
    /// Also delete the journal
    #[arg(long)]
    forget: bool,
}

/// Objects end in seconds; volumes may be slow.
const GONE: Duration = Duration::from_mins(5);

/// Runs the verb.
pub(crate) async fn run(cx: &Context, args: Args) -> Result<Kind> {
    let seen = named::seen(cx, &args.name).await?;
    let (report, _) = named::report(&seen);
    if let Some(holder) = &seen.holder {
        bail!(
            "migration {} is at work ({holder}): nothing is cleaned up under it",
            args.name
        );
    }
    let ended = matches!(report.state, State::Done | State::RolledBack);
    if !ended {
        bail!(
            "migration {} is {}: what it made is still needed; end it first (`{}` or `{}`)",
            args.name,
            report.state.name(),
            cx.command(&format!("run {}", args.name)),
            cx.command(&format!("rollback {}", args.name))
        );
    }
    let plan: Plan = serde_json::from_value(seen.header.plan.clone())?;
    let sides = path::sides(cx, &plan, &seen.header.run, None).await?;
    let selector = Selector::labels(format!(
        "{},{}=kubectl-migrate",
        sides.belongs.selector(),
        crate::marks::MANAGED_BY
    ));
    let mut left = 0;
    for place in [&sides.source, &sides.target] {
        left += remove::<Job>(cx, place, "job", &selector).await?;
        left += remove::<Pod>(cx, place, "pod", &selector).await?;
        left += remove::<Secret>(cx, place, "secret", &selector).await?;
        if !sides.target.remote && sides.target.namespace == sides.source.namespace {
            break;
        }
    }
    if args.old_data {
        left += old_data(cx, &args, &report.state, &seen, &sides.source).await?;
    }
    if args.forget {
        let maps = sides.source.api::<ConfigMap>();
        let name = object_name(&args.name);
        delete(cx, &maps, &sides.source, "configmap", &name).await?;
        let leases = sides
            .source
            .api::<k8s_openapi::api::coordination::v1::Lease>();
        delete(cx, &leases, &sides.source, "lease", &name).await?;
        left += 2;
    }
    if left == 0 {
        cx.ui
            .say(&format!("migration/{} left nothing behind", args.name));
    }
    Ok(Kind::Done)
}

async fn remove<K>(cx: &Context, place: &Place, kind: &str, selector: &Selector) -> Result<usize>
where
    K: Object + kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let api = place.api::<K>();
    let found = list_all(&api, selector).await?;
    for object in &found {
        let name = object.meta().name.clone().unwrap_or_default();
        delete(cx, &api, place, kind, &name).await?;
    }
    Ok(found.len())
}

async fn delete<K: Object>(
    cx: &Context,
    api: &kube::Api<K>,
    place: &Place,
    kind: &str,
    name: &str,
) -> Result<()> {
    let what = format!("{} to be gone", place.object(kind, name));
    delete_and_wait(api, name, None, &Wait::new(&what, GONE)).await?;
    cx.ui.data(&format!("{kind}/{name} deleted"))?;
    Ok(())
}

/// The source itself, when the target was verified and nothing waits any more.
async fn old_data(
    cx: &Context,
    args: &Args,
    state: &State,
    seen: &crate::state::Seen,
    source: &Place,
) -> Result<usize> {
    let folded = crate::engine::State::fold(&seen.entries)?;
    if *state != State::Done || !folded.outputs().contains_key(VERIFIED.step()) {
        bail!(
            "migration {} is {}: its source is the only copy, and is kept",
            args.name,
            state.name()
        );
    }
    let Some(checked) = folded.outputs().get("preflight") else {
        bail!(
            "the journal of migration {} does not tell what its source is",
            args.name
        );
    };
    let checked: Checked = serde_json::from_value(checked.clone())?;
    let claims = checked.inventory.claims();
    let workload = checked.inventory.workload["metadata"]["name"]
        .as_str()
        .map(str::to_owned);
    let mut what: Vec<_> = workload
        .iter()
        .map(|name| source.object("statefulset", name))
        .collect();
    what.extend(
        claims
            .iter()
            .map(|claim| source.object("persistentvolumeclaim", claim)),
    );
    for object in &what {
        cx.ui.say(&format!("  {object}"));
    }
    cx.ui
        .confirm_irreversible("this deletes the source, which is the way back", &args.name)?;
    if let Some(name) = &workload {
        delete(
            cx,
            &source.api::<StatefulSet>(),
            source,
            "statefulset",
            name,
        )
        .await?;
    }
    for claim in &claims {
        delete(
            cx,
            &source.api::<PersistentVolumeClaim>(),
            source,
            "persistentvolumeclaim",
            claim,
        )
        .await?;
    }
    Ok(what.len())
}
