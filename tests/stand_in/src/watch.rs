//! Tells everybody that something has changed.
use std::{fmt::Debug, time::Duration};

use futures::{StreamExt as _, pin_mut};
use kube::{
    Api, Resource,
    api::{WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// What is looked at again when nothing was heard: a lost watch must not stop anything.
const AT_LATEST: Duration = Duration::from_secs(1);
/// One change seldom comes alone.
const TOGETHER: Duration = Duration::from_millis(100);

/// Rings at each change.
#[derive(Clone)]
pub struct Bell(watch::Sender<()>);

impl Bell {
    pub fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
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
                    if matches!(event, WatchEvent::Error(_)) {
                        break;
                    }
                    self.0.send_replace(());
                }
            }
            tokio::time::sleep(AT_LATEST).await;
        }
    }
}

/// Hears a bell.
pub struct Listener(watch::Receiver<()>);

impl Listener {
    /// Waits for a change, not long.
    pub async fn wait(&mut self) {
        tokio::time::timeout(AT_LATEST, self.0.changed()).await.ok();
        tokio::time::sleep(TOGETHER).await;
        self.0.mark_unchanged();
    }
}
