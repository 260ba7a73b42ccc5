//! Tells everybody that something has changed.
use std::{fmt::Debug, time::Duration};

use futures::{StreamExt as _, pin_mut};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

/// What is looked at again when nothing was heard: a lost watch must not stop anything, and nothing is
/// heard of what happens inside tenants.
const AT_LATEST: Duration = Duration::from_secs(3);
/// One change seldom comes alone.
const TOGETHER: Duration = Duration::from_millis(300);
/// Whoever is further behind has heard enough.
const BEHIND: usize = 64;

/// Rings at each change, with its namespace.
#[derive(Clone)]
pub struct Bell(broadcast::Sender<String>);

impl Bell {
    pub fn new() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }

    /// Hears of everything.
    pub fn listen(&self) -> Listener {
        self.listen_to(&[])
    }

    /// Hears of these namespaces and of what is in none.
    pub fn listen_to(&self, namespaces: &[&str]) -> Listener {
        Listener {
            bell: self.0.subscribe(),
            namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// Rings at each change of what `api` shows, for ever.
    pub async fn follow<K>(self, api: Api<K>)
    where
        K: Resource + Clone + Debug + DeserializeOwned + 'static,
    {
        loop {
            if let Ok(events) = api.watch_metadata(&WatchParams::default(), "0").await {
                pin_mut!(events);
                while let Some(Ok(event)) = events.next().await {
                    let object = match event {
                        WatchEvent::Added(object)
                        | WatchEvent::Modified(object)
                        | WatchEvent::Deleted(object) => object,
                        WatchEvent::Bookmark(_) => continue,
                        WatchEvent::Error(_) => break,
                    };
                    // That nobody listens is no failure.
                    self.0.send(object.namespace().unwrap_or_default()).ok();
                }
            }
            tokio::time::sleep(AT_LATEST).await;
        }
    }
}

/// Hears a bell.
pub struct Listener {
    bell: broadcast::Receiver<String>,
    namespaces: Vec<String>,
}

impl Listener {
    /// Waits for a change, not long.
    pub async fn wait(&mut self) {
        tokio::time::timeout(AT_LATEST, self.hear()).await.ok();
        tokio::time::sleep(TOGETHER).await;
        self.bell = self.bell.resubscribe();
    }

    async fn hear(&mut self) {
        // Too many at once are a change, too.
        while let Ok(place) = self.bell.recv().await {
            if place.is_empty() || self.namespaces.is_empty() || self.namespaces.contains(&place) {
                return;
            }
        }
    }
}
