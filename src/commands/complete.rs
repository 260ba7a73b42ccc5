//! Completion by kubectl itself: it runs `kubectl_complete-migrate WORDS…` and reads candidates, one a
//! line with a tab before the description, and a last line `:N` with cobra's directive.
mod words;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::Result;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Namespace, PersistentVolumeClaim},
};
use kube::Api;

use self::words::{Side, Typed, Wanted};
use super::named;
use crate::{
    adapters::kube::{Cluster, Object, Selector, clusters, connect, contexts, list_all, users},
    context::Context,
    engine::Header,
    error::Kind,
    report::StepState,
    state,
};

/// Give candidates for the last word of a command line
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The words after `kubectl migrate`; the last one is being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Cobra's directive "no file names".
const NO_FILES: &str = ":4";
/// Cobra's default directive: file names where there is no candidate.
const FILES: &str = ":0";
/// Cobra's directive "folders only".
const FOLDERS: &str = ":16";

/// Somebody waits with a finger on the key: a cluster that is slower than this has no candidates.
const BOUND: Duration = Duration::from_secs(3);

/// As `kubectl_complete-NAME` the program is a completer.
pub(crate) fn as_completer(mut args: Vec<OsString>) -> Vec<OsString> {
    let called = args.first().map(PathBuf::from).unwrap_or_default();
    let completes = called
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("kubectl_complete-"));
    if completes {
        args.insert(1, "__complete".into());
    }
    args
}

/// Runs the verb, for this command line. It fails at nothing: a cluster that is away has no candidates.
pub(crate) async fn run(cx: &Context, args: Args, command: clap::Command) -> Result<Kind> {
    let typed = words::read(command, &args.words);
    let mut flags = typed.flags.clone().unwrap_or_else(|| cx.flags.clone());
    flags.connection.request_timeout.get_or_insert(BOUND);
    let world = Context::new(flags, cx.ui.clone());
    let directive = match typed.wanted {
        Wanted::Files => FILES,
        Wanted::Folders => FOLDERS,
        _ => NO_FILES,
    };
    let found = tokio::time::timeout(BOUND, candidates(&world, &typed)).await;
    let found = found.ok().and_then(Result::ok).unwrap_or_default();
    for candidate in found.iter().filter(|word| word.starts_with(&typed.word)) {
        cx.ui.raw(candidate)?;
    }
    cx.ui.raw(directive)?;
    Ok(Kind::Done)
}

async fn candidates(world: &Context, typed: &Typed) -> Result<Vec<String>> {
    let own = &world.flags.connection;
    Ok(match &typed.wanted {
        Wanted::Words(words) => words.clone(),
        Wanted::Files | Wanted::Folders | Wanted::Nothing => Vec::new(),
        Wanted::Migrations => migrations(world).await?,
        Wanted::Steps { of, markable } => steps(world, of, *markable).await?,
        Wanted::Workloads => workloads(world, &typed.word).await?,
        Wanted::Claims(side) => claims(world, *side, &typed.word).await?,
        Wanted::Contexts(Side::Source) => contexts(own),
        Wanted::Contexts(Side::Target) => contexts(&world.target_flags(None)),
        Wanted::Clusters => clusters(own),
        Wanted::Users => users(own),
        Wanted::Namespaces(side) => {
            let cluster = cluster(world, *side).await?;
            names(&cluster.cluster_scoped::<Namespace>()).await?
        }
    })
}

async fn migrations(world: &Context) -> Result<Vec<String>> {
    let line = |header: &Header| format!("{}\t{}", header.migration, header.playbook);
    if let Some(file) = &world.flags.journal {
        return Ok(vec![line(&named::in_file(world, file).await?.header)]);
    }
    let cluster = world.source().await?;
    let all = state::all(cluster, Some(cluster.default_namespace()), None).await?;
    Ok(all
        .iter()
        .flatten()
        .map(|seen| line(&seen.header))
        .collect())
}

/// The steps of a migration, each with how it is.
async fn steps(world: &Context, migration: &str, markable: bool) -> Result<Vec<String>> {
    let (report, _) = named::report(&named::seen(world, migration).await?);
    let can_be = |state| matches!(state, StepState::Waiting | StepState::Failed);
    let steps = report.steps.iter();
    Ok(steps
        .filter(|step| !markable || can_be(step.state))
        .map(|step| format!("{}\t{}", step.step, step.state.name()))
        .collect())
}

/// Every workload that can be frozen, with its kind as the user began to write it.
async fn workloads(world: &Context, word: &str) -> Result<Vec<String>> {
    let cluster = world.source().await?;
    let namespace = cluster.default_namespace();
    let mut all = Vec::new();
    let (sets, deployments) = match word.split_once('/') {
        Some((kind @ ("statefulset" | "statefulsets" | "sts"), _)) => (Some(kind), None),
        Some((kind @ ("deployment" | "deployments" | "deploy"), _)) => (None, Some(kind)),
        Some(_) => (None, None),
        None => (Some("statefulset"), Some("deployment")),
    };
    let of_kind = |kind: &str, names: Vec<String>| -> Vec<String> {
        names.iter().map(|name| format!("{kind}/{name}")).collect()
    };
    if let Some(kind) = sets {
        let names = names(&cluster.namespaced::<StatefulSet>(namespace)).await?;
        all.extend(of_kind(kind, names));
    }
    if let Some(kind) = deployments {
        let names = names(&cluster.namespaced::<Deployment>(namespace)).await?;
        all.extend(of_kind(kind, names));
    }
    Ok(all)
}

async fn claims(world: &Context, side: Side, word: &str) -> Result<Vec<String>> {
    let namespace = match &world.flags.to_namespace {
        Some(namespace) if side == Side::Target => namespace.clone(),
        _ => world.namespace().await?,
    };
    let cluster = cluster(world, side).await?;
    let names = names(&cluster.namespaced::<PersistentVolumeClaim>(&namespace)).await?;
    let kind = match word.split_once('/') {
        Some((kind, _)) => format!("{kind}/"),
        // A claim may be given without its kind, too.
        None if "pvc/".starts_with(word) => "pvc/".to_owned(),
        None => String::new(),
    };
    Ok(names.iter().map(|name| format!("{kind}{name}")).collect())
}

async fn cluster(world: &Context, side: Side) -> Result<Cluster> {
    let flags = &world.flags;
    if side == Side::Target && (flags.to_context.is_some() || flags.to_kubeconfig.is_some()) {
        return Ok(connect(&world.target_flags(flags.to_context.clone())).await?);
    }
    Ok(world.source().await?.clone())
}

async fn names<K: Object>(api: &Api<K>) -> Result<Vec<String>> {
    let all = list_all(api, &Selector::all()).await?;
    let name = |object: &K| object.meta().name.clone();
    Ok(all.iter().filter_map(name).collect())
}
