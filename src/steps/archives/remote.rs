//! The bucket of a plan, opened when something is asked of it: what wakes a workload needs no credentials for a bucket.
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::OnceCell;

use super::{address, repository};
use crate::{
    adapters::s3::Address,
    plan::BucketPlace,
    steps::{
        Place,
        snapshots::{Repository, SnapshotId},
    },
};

/// A repository that is opened on first use. Cheap to clone: all clones share it.
#[derive(Clone, Debug)]
pub struct Remote {
    bucket: BucketPlace,
    home: Place,
    address: Address,
    opened: Arc<OnceCell<Repository>>,
}

impl Remote {
    /// The bucket that a plan names; credentials are read later.
    ///
    /// # Errors
    ///
    /// The plan names no place in a bucket.
    pub fn new(bucket: &BucketPlace, home: &Place) -> Result<Self> {
        Ok(Self {
            bucket: bucket.clone(),
            home: home.clone(),
            address: address(bucket)?,
            opened: Arc::default(),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where a snapshot is.
    #[must_use]
    pub fn address_of(&self, id: &SnapshotId) -> Address {
        self.address.join(&id.to_string())
    }

    /// The key of one of a snapshot's objects.
    #[must_use]
    pub fn key_of(&self, id: &SnapshotId, object: &str) -> String {
        self.address_of(id).join(object).key
    }

    /// The repository, with credentials.
    ///
    /// # Errors
    ///
    /// There are none, or something is not what it should be.
    pub async fn open(&self) -> Result<&Repository> {
        let opening = || repository(&self.bucket, &self.home);
        self.opened.get_or_try_init(opening).await
    }
}
