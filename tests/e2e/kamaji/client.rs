//! Clients of a tenant: one that writes all the time, and one that watches as kubelets and controllers do.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, time::interval};

/// A tenant that is left frozen accepts none: whoever ended the writer tells why.
const PATIENCE: Duration = Duration::from_mins(15);
/// Between two writes.
const PACE: Duration = Duration::from_millis(10);
/// A request whose pod goes away is never answered.
const BOUND: Duration = Duration::from_secs(5);
/// How long a watch may be silent before the server ends it; then it is opened again where it was.
const WATCH_SECONDS: u32 = 30;

fn api(kubeconfig: &Path) -> Result<(Runtime, Api<ConfigMap>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let api = runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.connect_timeout = Some(BOUND);
        config.write_timeout = Some(BOUND);
        config.read_timeout = None;
        Ok::<_, anyhow::Error>(Api::namespaced(Client::try_from(config)?, "default"))
    })?;
    Ok((runtime, api))
}

/// What a writer was told.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// What there is, with its last content.
    pub made: BTreeMap<String, String>,
    /// What was deleted.
    pub deleted: BTreeSet<String>,
    /// What nobody can tell: a request that was cut off may have been done.
    pub unknown: BTreeSet<String>,
    /// How many writes the tenant refused, as it was told to.
    pub refused: usize,
    /// The longest time between two accepted writes.
    pub gap: Duration,
}

/// A client that creates, changes and deletes until it is stopped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Acknowledged>>,
}

impl Writer {
    /// Names begin with `prefix`.
    pub fn start(kubeconfig: &Path, prefix: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (kubeconfig, prefix) = (kubeconfig.to_owned(), prefix.to_owned());
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let (runtime, api) = api(&kubeconfig)?;
                runtime.block_on(write(&api, &prefix, &stop))
            }
        });
        Self { stop, thread }
    }

    /// What it was told, until the next write that is accepted.
    pub fn end(self) -> Result<Acknowledged> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the writer ended"))?
    }
}

/// How a write ended.
enum Told {
    Accepted,
    Refused,
    Unknown,
}

async fn ask<T>(request: impl Future<Output = kube::Result<T>>) -> Told {
    match tokio::time::timeout(BOUND, request).await {
        Ok(Ok(_)) => Told::Accepted,
        // The policy or Kamaji's own freeze says no, and nothing was done.
        Ok(Err(kube::Error::Api(status)))
            if ["read-only", "freezing mode"]
                .iter()
                .any(|said| status.message.contains(said)) =>
        {
            Told::Refused
        }
        Ok(Err(_)) | Err(_) => Told::Unknown,
    }
}

async fn write(api: &Api<ConfigMap>, prefix: &str, stop: &AtomicBool) -> Result<Acknowledged> {
    let mut told = Acknowledged::default();
    let mut pace = interval(PACE);
    let mut accepted = Instant::now();
    let mut last = false;
    for number in 0_u32.. {
        // The gap ends with an accepted write only.
        let stopped = stop.load(Ordering::Relaxed);
        if stopped && (last || accepted.elapsed() > PATIENCE) {
            break;
        }
        pace.tick().await;
        let name = format!("{prefix}-{number}");
        let object =
            serde_json::from_value(json!({"metadata": {"name": name}, "data": {"at": "first"}}))?;
        let mut answers = vec![ask(api.create(&PostParams::default(), &object)).await];
        if matches!(answers[0], Told::Accepted) {
            told.made.insert(name.clone(), "first".to_owned());
            match number % 3 {
                1 => {
                    let answer = ask(api.delete(&name, &kube::api::DeleteParams::default())).await;
                    if matches!(answer, Told::Accepted) {
                        told.made.remove(&name);
                        told.deleted.insert(name.clone());
                    }
                    answers.push(answer);
                }
                2 => {
                    let change = Patch::Merge(json!({"data": {"at": "second"}}));
                    let answer = ask(api.patch(&name, &PatchParams::default(), &change)).await;
                    if matches!(answer, Told::Accepted) {
                        told.made.insert(name.clone(), "second".to_owned());
                    }
                    answers.push(answer);
                }
                _ => {}
            }
        }
        for answer in answers {
            last = matches!(answer, Told::Accepted);
            match answer {
                Told::Accepted => {
                    told.gap = told.gap.max(accepted.elapsed());
                    accepted = Instant::now();
                }
                Told::Refused => told.refused += 1,
                Told::Unknown => {
                    told.made.remove(&name);
                    told.unknown.insert(name.clone());
                }
            }
        }
    }
    Ok(told)
}

impl Acknowledged {
    /// Every acknowledged write is there, and nothing that was deleted has come back.
    pub fn holds(&self, there: &Value) -> Result<()> {
        let items = there["items"].as_array().context("a list")?;
        let content = |item: &Value| item["data"]["at"].as_str().unwrap_or_default().to_owned();
        let there: BTreeMap<_, _> = items
            .iter()
            .filter_map(|item| Some((item["metadata"]["name"].as_str()?, content(item))))
            .collect();
        for (name, at) in &self.made {
            let found = there.get(name.as_str());
            ensure!(
                found == Some(at),
                "{name} was acknowledged with `{at}`, and there is {found:?}"
            );
        }
        for name in &self.deleted {
            ensure!(
                !there.contains_key(name.as_str()),
                "{name} was deleted and is back"
            );
        }
        Ok(())
    }
}

/// What a watching client knows.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What there is.
    pub present: BTreeSet<String>,
    /// What there was at any time.
    pub ever: BTreeSet<String>,
    /// How often it had to list anew because its version was gone.
    pub relisted: usize,
}

/// A client that lists, watches and goes on from its last version, for ever, as every informer does.
pub struct Watching {
    known: Arc<Mutex<Known>>,
    stop: tokio::sync::watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Watching {
    pub fn start(kubeconfig: &Path) -> Result<Self> {
        let known = Arc::new(Mutex::new(Known::default()));
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let (runtime, api) = api(kubeconfig)?;
        let thread = std::thread::spawn({
            let known = Arc::clone(&known);
            move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = watch(&api, &known) => {}
                        _ = stopped.changed() => {}
                    }
                });
            }
        });
        Ok(Self {
            known,
            stop,
            thread: Some(thread),
        })
    }

    /// What it knows now.
    pub fn known(&self) -> Known {
        let known = self.known.lock();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Between two tries where nobody answers.
const AGAIN: Duration = Duration::from_millis(50);

async fn watch(api: &Api<ConfigMap>, known: &Mutex<Known>) {
    let locked = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let mut version = String::new();
    loop {
        if version.is_empty() {
            let listed = tokio::time::timeout(BOUND, api.list(&ListParams::default())).await;
            let Ok(Ok(list)) = listed else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let mut known = locked();
            known.present = list.items.iter().map(ResourceExt::name_any).collect();
            let present = known.present.clone();
            known.ever.extend(present);
            known.relisted += 1;
            version = list.metadata.resource_version.unwrap_or_default();
        }
        let params = WatchParams::default().timeout(WATCH_SECONDS);
        let Ok(events) = api.watch(&params, &version).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        pin_mut!(events);
        while let Some(Ok(event)) = events.next().await {
            let mut known = locked();
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.resource_version().unwrap_or_default();
                    known.present.insert(object.name_any());
                    known.ever.insert(object.name_any());
                }
                WatchEvent::Deleted(object) => {
                    version = object.resource_version().unwrap_or_default();
                    known.present.remove(&object.name_any());
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(error) => {
                    if error.code == 410 {
                        version.clear();
                    }
                    break;
                }
            }
        }
    }
}
