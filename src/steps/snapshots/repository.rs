use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{Manifest, SnapshotId};
use crate::{
    adapters::s3::{Address, Bucket, Draft, S3Error, Unfinished, Version},
    engine::{Failure, Kind},
};

/// The object with what was taken.
pub(super) const DATA: &str = "data.jsonl.zst";
/// The object that makes a snapshot whole.
const MANIFEST: &str = "manifest.json";
/// Manifests that are read at once.
const AT_ONCE: usize = 8;

/// Where snapshots are: a bucket, and a prefix in it.
#[derive(Clone, Debug)]
pub struct Repository {
    bucket: Bucket,
    prefix: String,
}

/// A snapshot as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it is called.
    pub id: SnapshotId,
    /// How it is.
    pub state: State,
    /// What it is of, where that can be read.
    pub manifest: Option<Manifest>,
    /// All its objects' bytes.
    pub stored: u64,
}

/// How a snapshot is, as far as the bucket's list and the manifest tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has a manifest, and data of the size that it names.
    Whole,
    /// It has no manifest: whoever made it was cut off, or is at work.
    Unfinished,
    /// Its data is not what the manifest says.
    Damaged(String),
    /// Its manifest cannot be read.
    Unreadable(String),
}

/// A whole snapshot, and the version of its data that is meant.
#[derive(Clone, Debug)]
pub struct Stored {
    repository: Repository,
    /// What it is called.
    pub id: SnapshotId,
    /// What it is of.
    pub manifest: Manifest,
    version: Version,
}

/// What a snapshot has in the bucket.
#[derive(Default)]
struct Parts {
    data: Option<u64>,
    manifest: bool,
    stored: u64,
}

impl Repository {
    /// A repository at this place of the bucket.
    #[must_use]
    pub fn new(bucket: Bucket, prefix: &str) -> Self {
        Self {
            bucket,
            prefix: prefix.to_owned(),
        }
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> Address {
        self.bucket.address(&self.prefix)
    }

    /// Where a snapshot is.
    #[must_use]
    pub fn address_of(&self, id: &SnapshotId) -> Address {
        self.address().join(&id.to_string())
    }

    /// The key of a snapshot's data.
    #[must_use]
    pub fn data_key(&self, id: &SnapshotId) -> String {
        self.address_of(id).join(DATA).key
    }

    fn manifest_address(&self, id: &SnapshotId) -> Address {
        self.address_of(id).join(MANIFEST)
    }

    /// What the keys of everything in it begin with.
    fn beginning(&self) -> String {
        match self.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }

    /// The snapshot and the object in it that a key is of; none for what is somebody else's.
    fn read_key<'a>(&self, key: &'a str) -> Option<(SnapshotId, &'a str)> {
        let rest = key.strip_prefix(&self.beginning())?;
        let (id, object) = rest.rsplit_once('/')?;
        Some((id.parse().ok()?, object))
    }

    /// All snapshots, by name and time. What is not ours is left out.
    ///
    /// # Errors
    ///
    /// The bucket cannot be listed, or a manifest not be asked for.
    pub async fn list(&self) -> Result<Vec<Found>> {
        let mut all: BTreeMap<SnapshotId, Parts> = BTreeMap::new();
        for object in self.bucket.list(&self.beginning()).await? {
            let Some((id, name)) = self.read_key(&object.key) else {
                continue;
            };
            let parts = all.entry(id).or_default();
            parts.stored += object.size;
            match name {
                DATA => parts.data = Some(object.size),
                MANIFEST => parts.manifest = true,
                _ => {}
            }
        }
        for upload in self.uploads(&self.beginning()).await? {
            if let Some((id, _)) = self.read_key(&upload.key) {
                all.entry(id).or_default();
            }
        }
        let looks = all.into_iter().map(|(id, parts)| self.found(id, parts));
        stream::iter(looks).buffered(AT_ONCE).try_collect().await
    }

    /// Uploads that go on or were cut off. Who may not see them sees the snapshots all the same.
    async fn uploads(&self, prefix: &str) -> Result<Vec<Unfinished>, S3Error> {
        match self.bucket.unfinished(prefix).await {
            Err(S3Error::Forbidden { .. }) => Ok(Vec::new()),
            found => found,
        }
    }

    async fn found(&self, id: SnapshotId, parts: Parts) -> Result<Found> {
        let text = if parts.manifest {
            self.bucket
                .read_small(&self.manifest_address(&id).key)
                .await?
        } else {
            None
        };
        let (state, manifest) = self.judge(&id, text, parts.data);
        Ok(Found {
            id,
            state,
            manifest,
            stored: parts.stored,
        })
    }

    fn judge(
        &self,
        id: &SnapshotId,
        text: Option<Bytes>,
        data: Option<u64>,
    ) -> (State, Option<Manifest>) {
        let Some(text) = text else {
            return (State::Unfinished, None);
        };
        match Manifest::decode(&self.manifest_address(id), &text) {
            Ok(manifest) => (compare(&manifest, data), Some(manifest)),
            Err(error) => (State::Unreadable(format!("{error:#}")), None),
        }
    }

    /// One snapshot.
    ///
    /// # Errors
    ///
    /// There is none, or the bucket cannot be read.
    pub async fn look(&self, id: &SnapshotId) -> Result<Found> {
        let (found, _) = self.look_closer(id).await?;
        Ok(found)
    }

    async fn look_closer(&self, id: &SnapshotId) -> Result<(Found, Option<Version>)> {
        let text = self
            .bucket
            .read_small(&self.manifest_address(id).key)
            .await?;
        let data = self.bucket.look(&self.data_key(id)).await?;
        if text.is_none() && data.is_none() && self.uploads_of(id).await?.is_empty() {
            return Err(self.missing(id));
        }
        let size = data.as_ref().map(|data| data.size);
        let stored = text.as_ref().map_or(0, Bytes::len) as u64 + size.unwrap_or_default();
        let (state, manifest) = self.judge(id, text, size);
        let found = Found {
            id: id.clone(),
            state,
            manifest,
            stored,
        };
        Ok((found, data))
    }

    async fn uploads_of(&self, id: &SnapshotId) -> Result<Vec<Unfinished>, S3Error> {
        self.uploads(&self.address_of(id).join("").key).await
    }

    fn missing(&self, id: &SnapshotId) -> anyhow::Error {
        let why = format!("there is no snapshot {}", self.address_of(id));
        Failure::new(Kind::Blocked, why).into()
    }

    /// A snapshot that can be restored.
    ///
    /// # Errors
    ///
    /// There is none, or it is not whole.
    pub async fn stored(&self, id: &SnapshotId) -> Result<Stored> {
        let (found, data) = self.look_closer(id).await?;
        let address = self.address_of(id);
        let (kind, why) = match (found.state, found.manifest.zip(data)) {
            (State::Whole, Some((manifest, version))) => {
                return Ok(Stored {
                    repository: self.clone(),
                    id: found.id,
                    manifest,
                    version,
                });
            }
            (State::Damaged(why), _) => (Kind::Difference, format!("{address} is damaged: {why}")),
            (State::Unreadable(why), _) => (Kind::Blocked, why),
            (State::Whole | State::Unfinished, _) => (
                Kind::Blocked,
                format!(
                    "{address} is unfinished: it has no {MANIFEST}, which is written when all else is there"
                ),
            ),
        };
        Err(Failure::new(kind, why).into())
    }

    /// The snapshot that this manifest would make whole: its data is there.
    ///
    /// # Errors
    ///
    /// The data is not there, or cannot be looked at.
    pub async fn draft(&self, id: &SnapshotId, manifest: &Manifest) -> Result<Stored> {
        let version = self.bucket.look(&self.data_key(id)).await?;
        Ok(Stored {
            repository: self.clone(),
            id: id.clone(),
            manifest: manifest.clone(),
            version: version.ok_or_else(|| self.missing(id))?,
        })
    }

    /// Makes a snapshot whole: its data stays.
    ///
    /// # Errors
    ///
    /// There is a manifest already, or the server does not take it.
    pub async fn seal(&self, id: &SnapshotId, manifest: &Manifest, data: Draft) -> Result<()> {
        let text = Bytes::from(manifest.encode()?);
        let key = self.manifest_address(id).key;
        let sealed = self.bucket.put_new(&key, text).await?;
        data.keep();
        sealed.keep();
        Ok(())
    }

    /// Removes a snapshot, the manifest first: what is left of one that was cut off counts as unfinished.
    ///
    /// # Errors
    ///
    /// The server does not do it.
    pub async fn delete(&self, id: &SnapshotId) -> Result<()> {
        self.bucket.delete(&self.manifest_address(id).key).await?;
        self.bucket.delete(&self.data_key(id)).await?;
        for upload in self.uploads_of(id).await? {
            self.bucket.abort(&upload).await?;
        }
        Ok(())
    }
}

impl Stored {
    /// Where it is.
    #[must_use]
    pub fn address(&self) -> Address {
        self.repository.address_of(&self.id)
    }

    /// Where its data is.
    #[must_use]
    pub fn data_key(&self) -> String {
        self.repository.data_key(&self.id)
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.repository.bucket
    }

    /// The version of the data that is meant.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }
}

fn compare(manifest: &Manifest, data: Option<u64>) -> State {
    let wanted = manifest.data.size;
    match data {
        Some(size) if size == wanted => State::Whole,
        Some(size) => State::Damaged(format!("{DATA} has {size} bytes, and should have {wanted}")),
        None => State::Damaged(format!("{DATA} is missing")),
    }
}
