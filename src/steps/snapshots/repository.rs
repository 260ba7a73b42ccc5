use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::{Contents, Manifest, Proofs, SnapshotId, VolumesManifest};
use crate::{
    adapters::s3::{Address, Bucket, Draft, S3Error, Unfinished, Version},
    engine::{Failure, Kind},
};

/// The object with what was taken.
pub(super) const DATA: &str = "data.jsonl.zst";
/// The object that makes a snapshot whole.
const MANIFEST: &str = "manifest.json";
/// The object that says that a snapshot is being deleted: it is there before anything is gone, and goes last.
pub(super) const TOMBSTONE: &str = "deleted.json";
/// The object that tells when it was last seen to be good.
pub(super) const CHECKS: &str = "checks.json";
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
    pub manifest: Option<Contents>,
    /// All its objects' bytes.
    pub stored: u64,
    /// When it was last seen to be good, where that can be read.
    pub proofs: Proofs,
}

/// How a snapshot is, as far as the bucket's list and the manifest tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has a manifest, and data of the size that it names.
    Whole,
    /// It has no manifest: whoever made it was cut off, or is at work.
    Unfinished,
    /// Its deletion was begun: what is left of it is to go, too.
    HalfDeleted,
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
    /// Its objects besides the manifest, each with its size.
    objects: BTreeMap<String, u64>,
    manifest: bool,
    checks: bool,
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

    /// The key of one of a snapshot's objects.
    #[must_use]
    pub fn key_of(&self, id: &SnapshotId, object: &str) -> String {
        self.address_of(id).join(object).key
    }

    /// The key of a snapshot's data.
    #[must_use]
    pub fn data_key(&self, id: &SnapshotId) -> String {
        self.address_of(id).join(DATA).key
    }

    pub(super) fn manifest_address(&self, id: &SnapshotId) -> Address {
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
        let (name, rest) = rest.split_once('/')?;
        let (time, object) = rest.split_once('/')?;
        Some((format!("{name}/{time}").parse().ok()?, object))
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
                MANIFEST => parts.manifest = true,
                CHECKS => parts.checks = true,
                name => {
                    parts.objects.insert(name.to_owned(), object.size);
                }
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

    /// What a run has begun of this name, whole or not: what its journal may not know any more.
    ///
    /// # Errors
    ///
    /// The bucket cannot be listed.
    pub async fn begun_by(&self, name: &str, run: &str) -> Result<BTreeSet<SnapshotId>> {
        let below = self.address().join(name).join("").key;
        let objects = self.bucket.list(&below).await?;
        let uploads = self.uploads(&below).await?;
        let keys = objects.into_iter().map(|object| object.key);
        let keys = keys.chain(uploads.into_iter().map(|upload| upload.key));
        let ids = keys.filter_map(|key| self.read_key(&key).map(|(id, _)| id));
        Ok(ids.filter(|id| id.is_of(run)).collect())
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
        let (state, manifest) = self.judge(&id, text, &parts.objects);
        let proofs = if parts.checks {
            // It is no part of the snapshot: one of a newer version takes nothing from it.
            self.proofs(&id).await.unwrap_or_default()
        } else {
            Proofs::default()
        };
        Ok(Found {
            id,
            state,
            manifest,
            stored: parts.stored,
            proofs,
        })
    }

    fn judge(
        &self,
        id: &SnapshotId,
        text: Option<Bytes>,
        objects: &BTreeMap<String, u64>,
    ) -> (State, Option<Contents>) {
        let deleted = objects.contains_key(TOMBSTONE);
        let Some(text) = text else {
            let state = if deleted {
                State::HalfDeleted
            } else {
                State::Unfinished
            };
            return (state, None);
        };
        match Contents::decode(&self.manifest_address(id), &text) {
            Ok(manifest) if deleted => (State::HalfDeleted, Some(manifest)),
            Ok(manifest) => (compare(&manifest, objects), Some(manifest)),
            Err(_) if deleted => (State::HalfDeleted, None),
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

    /// The same, with the version of a tenant's data.
    async fn look_closer(&self, id: &SnapshotId) -> Result<(Found, Option<Version>)> {
        let text = self
            .bucket
            .read_small(&self.manifest_address(id).key)
            .await?;
        let address = self.manifest_address(id);
        let manifest = text
            .as_deref()
            .and_then(|text| Contents::decode(&address, text).ok());
        let wanted = match &manifest {
            Some(manifest) => manifest.objects(),
            None => vec![(DATA.to_owned(), 0)],
        };
        let (mut objects, mut data) = (BTreeMap::new(), None);
        for (object, _) in wanted {
            let version = self.bucket.look(&self.key_of(id, &object)).await?;
            if let Some(version) = &version {
                objects.insert(object.clone(), version.size);
            }
            if object == DATA {
                data = version;
            }
        }
        let tombstone = self.bucket.look(&self.key_of(id, TOMBSTONE)).await?;
        if let Some(version) = tombstone {
            objects.insert(TOMBSTONE.to_owned(), version.size);
        }
        if text.is_none() {
            objects.extend(self.objects_of(id).await?);
            let checks = self.key_of(id, CHECKS);
            if objects.is_empty()
                && self.uploads_of(id).await?.is_empty()
                && self.bucket.look(&checks).await?.is_none()
            {
                return Err(self.missing(id));
            }
        }
        let stored = text.as_ref().map_or(0, Bytes::len) as u64 + objects.values().sum::<u64>();
        let (state, manifest) = self.judge(id, text, &objects);
        let found = Found {
            id: id.clone(),
            state,
            manifest,
            stored,
            proofs: self.proofs(id).await.unwrap_or_default(),
        };
        Ok((found, data))
    }

    /// A snapshot's objects besides the manifest, as the bucket lists them. Who may not list sees none.
    pub(super) async fn objects_of(
        &self,
        id: &SnapshotId,
    ) -> Result<BTreeMap<String, u64>, S3Error> {
        let below = self.address_of(id).join("").key;
        let listed = match self.bucket.list(&below).await {
            Err(S3Error::Forbidden { .. }) => Vec::new(),
            listed => listed?,
        };
        let objects = listed.into_iter().filter_map(|object| {
            let name = object.key.strip_prefix(&below)?;
            (![MANIFEST, CHECKS].contains(&name)).then(|| (name.to_owned(), object.size))
        });
        Ok(objects.collect())
    }

    pub(super) async fn uploads_of(&self, id: &SnapshotId) -> Result<Vec<Unfinished>, S3Error> {
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
            (State::Whole, Some((Contents::Tenant(manifest), version))) => {
                return Ok(Stored {
                    repository: self.clone(),
                    id: found.id,
                    manifest: *manifest,
                    version,
                });
            }
            (State::Whole, Some((Contents::Volumes(_), _))) => (
                Kind::Blocked,
                format!("{address} is of volumes, which go into no datastore"),
            ),
            (State::Damaged(why), _) => (Kind::Difference, format!("{address} is damaged: {why}")),
            (State::Unreadable(why), _) => (Kind::Blocked, why),
            (State::HalfDeleted, _) => (Kind::Blocked, self.half_deleted(id)),
            (State::Whole | State::Unfinished, _) => (Kind::Blocked, self.unfinished(id)),
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

    /// Makes a snapshot of volumes whole. One that was made so already, by the same words, stays.
    ///
    /// # Errors
    ///
    /// There is another manifest already, or the server does not take it.
    pub async fn seal_volumes(&self, id: &SnapshotId, manifest: &VolumesManifest) -> Result<()> {
        let text = Bytes::from(manifest.encode()?);
        let key = self.manifest_address(id).key;
        match self.bucket.put_new(&key, text.clone()).await {
            Ok(sealed) => sealed.keep(),
            Err(error @ S3Error::Exists { .. }) => {
                if self.bucket.read_small(&key).await? != Some(text) {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Makes a snapshot unfinished again: its objects stay.
    ///
    /// # Errors
    ///
    /// The server does not do it.
    pub async fn unseal(&self, id: &SnapshotId) -> Result<()> {
        Ok(self.bucket.delete(&self.manifest_address(id).key).await?)
    }

    /// A snapshot of volumes that can be restored.
    ///
    /// # Errors
    ///
    /// There is none, or it is not whole, or of something else.
    pub async fn volumes(&self, id: &SnapshotId) -> Result<VolumesManifest> {
        let (found, _) = self.look_closer(id).await?;
        let address = self.address_of(id);
        let (kind, why) = match (found.state, found.manifest) {
            (State::Whole, Some(Contents::Volumes(manifest))) => return Ok(*manifest),
            (State::Whole, _) => (
                Kind::Blocked,
                format!("{address} is of a tenant, which goes into no namespace"),
            ),
            (State::Damaged(why), _) => (Kind::Difference, format!("{address} is damaged: {why}")),
            (State::Unreadable(why), _) => (Kind::Blocked, why),
            (State::HalfDeleted, _) => (Kind::Blocked, self.half_deleted(id)),
            (State::Unfinished, _) => (Kind::Blocked, self.unfinished(id)),
        };
        Err(Failure::new(kind, why).into())
    }

    /// Whether a snapshot's objects are those that its manifest names, by what the bucket tells of them; and of which
    /// of them it tells no sum that could be compared.
    ///
    /// # Errors
    ///
    /// There is no such snapshot, or one of them is not.
    pub async fn check_listing(&self, id: &SnapshotId) -> Result<(Contents, Vec<Address>)> {
        let no = |why: String| {
            let why = format!("restore-check level 1: no: {why}");
            Failure::new(Kind::Difference, why)
        };
        let address = self.address_of(id);
        let (found, _) = self.look_closer(id).await?;
        let contents = match (found.state, found.manifest) {
            (State::Whole, Some(contents)) => contents,
            (State::Damaged(why), _) => {
                return Err(no(format!("{address} is damaged: {why}")).into());
            }
            (State::Unreadable(why), _) => return Err(no(why).into()),
            (State::HalfDeleted, _) => return Err(no(self.half_deleted(id)).into()),
            (State::Whole | State::Unfinished, _) => return Err(no(self.unfinished(id)).into()),
        };
        let wanted = contents.objects();
        for object in self.objects_of(id).await?.into_keys() {
            if object == TOMBSTONE {
                return Err(no(self.half_deleted(id)).into());
            }
            if !wanted.iter().any(|(name, _)| *name == object) {
                let object = address.join(&object);
                return Err(no(format!("{object} is not one of its objects")).into());
            }
        }
        let mut unsummed = Vec::new();
        if let Contents::Volumes(manifest) = &contents {
            for volume in &manifest.volumes {
                let object = address.join(&volume.data);
                let there = self.bucket.look(&object.key).await?;
                let told = there.and_then(|there| there.etag).unwrap_or_default();
                let told = told.trim_matches('"');
                if is_sum_of_parts(told) {
                    let wanted = &volume.archive.etag;
                    if told != wanted {
                        let why = format!("the sum of {object} is {told}, and should be {wanted}");
                        return Err(no(why).into());
                    }
                } else {
                    unsummed.push(object);
                }
            }
        }
        Ok((contents, unsummed))
    }

    /// When a snapshot was last seen to be good; never, where nobody has written that down.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is of another version.
    pub async fn proofs(&self, id: &SnapshotId) -> Result<Proofs> {
        let address = self.address_of(id).join(CHECKS);
        match self.bucket.read_small(&address.key).await? {
            Some(text) => Proofs::decode(&address, &text),
            None => Ok(Proofs::default()),
        }
    }

    /// Writes down that a snapshot was seen to be good.
    ///
    /// # Errors
    ///
    /// The server does not take it.
    pub async fn prove(&self, id: &SnapshotId, level: u8, at: Timestamp) -> Result<()> {
        let manifest = self.manifest_address(id).key;
        if self.bucket.look(&manifest).await?.is_none() {
            return Err(self.missing(id));
        }
        let mut proofs = self.proofs(id).await?;
        proofs.add(level, at);
        let text = Bytes::from(proofs.encode()?);
        Ok(self.bucket.put_over(&self.key_of(id, CHECKS), text).await?)
    }

    fn unfinished(&self, id: &SnapshotId) -> String {
        let address = self.address_of(id);
        format!(
            "{address} is unfinished: it has no {MANIFEST}, which is written when all else is there"
        )
    }

    fn half_deleted(&self, id: &SnapshotId) -> String {
        let address = self.address_of(id);
        format!(
            "{address} is half deleted: it has a {TOMBSTONE}, which is written before anything of it goes"
        )
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

fn compare(manifest: &Contents, objects: &BTreeMap<String, u64>) -> State {
    for (object, wanted) in manifest.objects() {
        match objects.get(&object) {
            Some(size) if *size == wanted => {}
            Some(size) => {
                return State::Damaged(format!(
                    "{object} has {size} bytes, and should have {wanted}"
                ));
            }
            None => return State::Damaged(format!("{object} is missing")),
        }
    }
    State::Whole
}

/// Whether a tag is what S3 makes of the sums of parts; servers that encrypt, and some others, tell something else.
fn is_sum_of_parts(tag: &str) -> bool {
    tag.split_once('-').is_some_and(|(sum, parts)| {
        sum.len() == 32
            && sum.bytes().all(|byte| byte.is_ascii_hexdigit())
            && parts.parse::<u32>().is_ok()
    })
}
