//! What a store has forgotten.
use std::time::Duration;

use etcd_client::WatchOptions;
use tokio::time::timeout;

use super::{super::DatastoreError, store::Store, walk::Range};

/// A watch from a revision that is gone is ended at once.
const TOLD_BOUND: Duration = Duration::from_secs(5);

impl Store {
    /// The failure of reading at a revision that is gone, with the oldest that is there: a watch is told that.
    pub(super) async fn compacted(&self, range: &Range, wanted: i64) -> DatastoreError {
        let told = timeout(TOLD_BOUND, self.oldest(range, wanted)).await;
        match told.unwrap_or(Ok(wanted)) {
            Ok(compacted) => DatastoreError::Compacted {
                store: self.name.to_string(),
                wanted,
                compacted,
            },
            Err(error) => self.fault("reading", &error),
        }
    }

    async fn oldest(&self, range: &Range, wanted: i64) -> Result<i64, etcd_client::Error> {
        let options = WatchOptions::new()
            .with_range(range.to.clone())
            .with_start_revision(wanted);
        let mut watch = self
            .watches()
            .watch(range.from.clone(), Some(options))
            .await?;
        while let Some(message) = watch.message().await? {
            if message.canceled() {
                return Ok(message.compact_revision());
            }
            // It tells events: what was gone is there again, at another member.
            if !message.created() {
                break;
            }
        }
        Ok(wanted)
    }
}
