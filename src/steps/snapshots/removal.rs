//! How snapshots go: in such an order that what is left of one never looks whole.
use anyhow::Result;

use super::{
    Repository, SnapshotId,
    repository::{CHECKS, TOMBSTONE},
    volumes::is_object,
};
use crate::adapters::s3::{S3Error, Unfinished};

/// What a run has begun and nobody needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// All of these.
    pub snapshots: Vec<SnapshotId>,
    /// Uploads beside the objects of the snapshot that it made.
    pub uploads: Vec<Unfinished>,
}

impl Left {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.uploads.is_empty()
    }
}

impl Repository {
    /// What a run has begun of this name, but for the snapshot that it made.
    ///
    /// # Errors
    ///
    /// The bucket cannot be listed.
    pub async fn left_by(&self, name: &str, run: &str, made: Option<&SnapshotId>) -> Result<Left> {
        let mut left = Left::default();
        for id in self.begun_by(name, run).await? {
            if Some(&id) == made {
                left.uploads = self.uploads_of(&id).await?;
            } else {
                left.snapshots.push(id);
            }
        }
        Ok(left)
    }

    /// Removes a snapshot as [`Repository::delete`] does, and lets the bucket tell so from before the first object is
    /// gone until after the last: whoever finds what is left of one that was cut off knows that it is to go, too.
    ///
    /// # Errors
    ///
    /// The server does not do it, or does not let its objects be listed: then nothing is begun.
    pub async fn prune(&self, id: &SnapshotId) -> Result<()> {
        self.bucket()
            .list(&self.address_of(id).join("").key)
            .await?;
        let text = serde_json::json!({
            "kubectlMigrateDeletion": super::FORMAT, "writtenBy": env!("CARGO_PKG_VERSION"),
        });
        let key = self.key_of(id, TOMBSTONE);
        match self.bucket().put_new(&key, text.to_string().into()).await {
            Ok(put) => put.keep(),
            // By a try that was cut off.
            Err(S3Error::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.delete(id).await
    }

    /// Removes a snapshot, the manifest first: what is left of one that was cut off counts as unfinished. What somebody
    /// else has put beside its objects stays.
    ///
    /// # Errors
    ///
    /// The server does not do it.
    pub async fn delete(&self, id: &SnapshotId) -> Result<()> {
        self.bucket().delete(&self.manifest_address(id).key).await?;
        self.bucket().delete(&self.key_of(id, CHECKS)).await?;
        self.bucket().delete(&self.data_key(id)).await?;
        // An upload may become an object in the moment between.
        for upload in self.uploads_of(id).await? {
            self.bucket().abort(&upload).await?;
        }
        let objects = self.objects_of(id).await?;
        for object in objects.keys() {
            if is_object(object) {
                self.bucket().delete(&self.key_of(id, object)).await?;
            }
        }
        if objects.contains_key(TOMBSTONE) {
            self.bucket().delete(&self.key_of(id, TOMBSTONE)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "removal_tests.rs"]
mod tests;
