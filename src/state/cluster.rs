use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use tokio::sync::Mutex;

use super::file::last_fence;
use crate::{
    adapters::kube::{Cluster, Created, KubeError, create_owned, get_opt, lease::Held},
    engine::{Header, Store, StoreError},
    marks::object_name,
};

/// Most bytes of a journal in a `ConfigMap`: the API server takes 1 MiB of data, and we keep a distance.
pub const BOUND: usize = 900 * 1024;

/// The key of the journal's lines.
const LINES: &str = "journal";
/// The key of their number, so that a journal that lost its end is found out.
const COUNT: &str = "lines";

/// A journal in a `ConfigMap`, written only under the Lease.
pub(super) struct ClusterStore {
    api: Api<ConfigMap>,
    place: String,
    name: String,
    held: Arc<Held>,
    /// The object as it was last seen: its version is what a write is conditional on.
    seen: Mutex<Option<ConfigMap>>,
}

impl ClusterStore {
    pub(super) fn new(
        cluster: &Cluster,
        namespace: &str,
        migration: &str,
        held: Arc<Held>,
    ) -> Self {
        let name = object_name(migration);
        Self {
            api: cluster.namespaced(namespace),
            place: format!("configmap {namespace}/{name}"),
            name,
            held,
            seen: Mutex::new(None),
        }
    }

    fn failed(&self, doing: &'static str, source: impl Into<anyhow::Error>) -> StoreError {
        StoreError::Failed {
            doing,
            place: self.place.clone(),
            source: source.into(),
        }
    }

    fn lines(&self, map: &ConfigMap) -> Result<Vec<String>, StoreError> {
        lines_of(map).map_err(|why| StoreError::Damaged {
            place: self.place.clone(),
            why,
        })
    }

    async fn read(&self) -> Result<Option<ConfigMap>, StoreError> {
        let found = get_opt(&self.api, &self.name).await;
        found.map_err(|error| self.failed("read", error))
    }
}

/// The lines of a journal's `ConfigMap`; an error says what is wrong with it.
pub(super) fn lines_of(map: &ConfigMap) -> Result<Vec<String>, String> {
    let data = map.data.as_ref();
    let get = |key: &str| data.and_then(|data| data.get(key));
    let text = get(LINES).ok_or_else(|| format!("it has no key `{LINES}`"))?;
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let count = get(COUNT).and_then(|count| count.parse::<usize>().ok());
    if count != Some(lines.len()) {
        let counted = get(COUNT).map_or("nothing", String::as_str);
        return Err(format!(
            "it has {} lines and says that it has {counted}",
            lines.len()
        ));
    }
    Ok(lines)
}

/// The fencing number of the journal's last entry; 0 where there is none that can be read, for nothing can be
/// added to such a journal.
pub(super) fn last_fence_of(map: &ConfigMap) -> u64 {
    lines_of(map).map_or(0, |lines| last_fence(&lines))
}

fn data_of(lines: &[String]) -> std::collections::BTreeMap<String, String> {
    let mut text = lines.join("\n");
    text.push('\n');
    [
        (LINES.to_owned(), text),
        (COUNT.to_owned(), lines.len().to_string()),
    ]
    .into()
}

#[async_trait]
impl Store for ClusterStore {
    async fn load(&self) -> Result<Option<Vec<String>>, StoreError> {
        let Some(map) = self.read().await? else {
            return Ok(None);
        };
        let lines = self.lines(&map)?;
        *self.seen.lock().await = Some(map);
        Ok(Some(lines))
    }

    async fn create(&self, header: &Header, line: &str) -> Result<(), StoreError> {
        let belongs = crate::marks::Belongs {
            migration: header.migration.clone(),
            home: header.namespace.clone(),
            run: header.run.clone(),
        };
        let wanted = ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(belongs.labels("journal")),
                ..ObjectMeta::default()
            },
            data: Some(data_of(&[line.to_owned()])),
            ..ConfigMap::default()
        };
        match create_owned(&self.api, &wanted).await {
            Ok(Created::New(map) | Created::Ours(map)) => {
                *self.seen.lock().await = Some(map);
                Ok(())
            }
            Err(KubeError::AlreadyExists { .. }) => Err(StoreError::Exists(self.place.clone())),
            Err(error) => Err(self.failed("write", error)),
        }
    }

    async fn append(&self, count: usize, line: &str) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        // Somebody who only labels the object does not write our journal; three of them in a row do not
        // happen by chance.
        for _ in 0..3 {
            let mut map = match seen.take() {
                Some(map) => map,
                None => self
                    .read()
                    .await?
                    .ok_or_else(|| StoreError::Lost(format!("{} is gone", self.place)))?,
            };
            let mut lines = self.lines(&map)?;
            // An earlier try whose answer was lost.
            if lines.len() == count + 1 && lines.last().is_some_and(|last| last == line) {
                *seen = Some(map);
                return Ok(());
            }
            if lines.len() != count {
                let why = format!("{} has {} lines, not {count}", self.place, lines.len());
                return Err(StoreError::Lost(why));
            }
            lines.push(line.to_owned());
            map.data = Some(data_of(&lines));
            match self
                .api
                .replace(&self.name, &PostParams::default(), &map)
                .await
                .map_err(KubeError::from)
            {
                Ok(map) => {
                    *seen = Some(map);
                    return Ok(());
                }
                Err(KubeError::Conflict { .. }) => {}
                Err(KubeError::LockLost { why, .. }) => return Err(StoreError::Lost(why)),
                Err(error) => return Err(self.failed("write", error)),
            }
        }
        Err(StoreError::Lost(format!(
            "somebody else keeps writing {}",
            self.place
        )))
    }

    async fn confirm(&self) -> Result<(), StoreError> {
        self.held.check().await.map_err(StoreError::Lost)
    }

    fn capacity(&self) -> usize {
        BOUND
    }

    fn fence(&self) -> u64 {
        u64::try_from(self.held.fence()).unwrap_or_default()
    }
}
