use std::{sync::Arc, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use secrecy::ExposeSecret as _;
use tokio::sync::OnceCell;

use super::{super::archives, Movers};
use crate::{
    adapters::s3::{Address, Bucket, S3Error, Unfinished},
    engine::{Failure, Kind, Sink},
    marks::Belongs,
    plan::{BucketPlace, MoverWay},
    steps::Place,
    transfer::archive::{Access, Lender, Objects, Secret, StoreError, StoreFailure},
};

/// What everything of a run is below, with its id behind it: no name of a snapshot, which is a time.
const FOLDER: &str = "moving";
/// What a mover reads to see whether it reaches the bucket.
const PROBE: &str = "_probe";
/// How long the end of a migration waits for what is deleted from the bucket;
const SWEEP: Duration = Duration::from_secs(30);
/// and for a bucket of which nobody knows that it was used.
const LOOK: Duration = Duration::from_secs(10);
/// What is in it.
const PROBED: &[u8] = b"kubectl-migrate\n";

/// A bucket that bytes go through from one mover to the other, and what of one run is there meanwhile. It is opened when
/// it is first used: whoever never needs it needs no credentials for it.
#[derive(Clone, Debug)]
pub struct Through(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: BucketPlace,
    home: Place,
    /// Where everything of this run is.
    folder: Address,
    bucket: OnceCell<Bucket>,
}

impl Through {
    /// The place in a bucket that a plan names, for this run; a Secret with its credentials is where `home` is.
    ///
    /// # Errors
    ///
    /// It is no place in a bucket.
    pub fn new(place: &BucketPlace, home: &Place, belongs: &Belongs) -> Result<Self, Failure> {
        let address: Address = place.address.parse().map_err(|why| {
            let why = format!(
                "spec.mover.bucket: `{}` is no place in a bucket: {why}",
                place.address
            );
            Failure::new(Kind::Blocked, why)
        })?;
        let folder = address.join(&belongs.migration);
        Ok(Self(Arc::new(Inner {
            place: place.clone(),
            home: home.clone(),
            folder: folder.join(&format!("{FOLDER}-{}", belongs.run)),
            bucket: OnceCell::new(),
        })))
    }

    /// Where it is, as the plan names it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.place.address
    }

    /// The folder of this run.
    #[must_use]
    pub fn folder(&self) -> &Address {
        &self.0.folder
    }

    /// The address of an object.
    #[must_use]
    pub fn of_key(&self, key: &str) -> Address {
        Address {
            bucket: self.0.folder.bucket.clone(),
            key: key.to_owned(),
        }
    }

    /// The bucket.
    pub(super) async fn bucket(&self) -> Result<&Bucket> {
        let Inner { place, home, .. } = &*self.0;
        let open = || async {
            let repository = archives::repository(place, home).await?;
            Ok::<_, anyhow::Error>(repository.bucket().clone())
        };
        self.0.bucket.get_or_try_init(open).await
    }

    /// What a mover is told, with the credentials of now.
    pub(super) async fn access(&self) -> Result<Access> {
        let bucket = self.bucket().await?;
        // Where there are none any more, it is the server's refusal that tells more.
        bucket.renew().await.ok();
        Ok(access(bucket))
    }

    /// What lets a mover go on when those have run out.
    pub(super) async fn lender(&self) -> Result<Lender> {
        Ok(lender(self.bucket().await?))
    }

    /// The objects of a claim: what it goes through in a round, or is compared by.
    pub(super) fn objects(&self, claim: &str, what: &str) -> Objects {
        let key = |end: &str| self.0.folder.join(claim).join(&format!("{what}.{end}")).key;
        Objects {
            data: key("tar.zst"),
            index: key("index.zst"),
        }
    }

    /// Puts something there for movers to read; its key and size.
    pub(super) async fn probe(&self) -> Result<(String, u64)> {
        let key = self.0.folder.join(PROBE).key;
        let put = self.bucket().await?;
        match put.put_new(&key, Bytes::from_static(PROBED)).await {
            Ok(draft) => draft.keep(),
            Err(S3Error::Exists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((key, PROBED.len() as u64))
    }

    /// Takes the two objects away, or what was begun of them.
    pub(super) async fn remove(&self, objects: &Objects) -> Result<()> {
        let bucket = self.bucket().await?;
        for key in [&objects.data, &objects.index] {
            for upload in begun(bucket, key).await? {
                bucket.abort(&upload).await?;
            }
            bucket.delete(key).await?;
        }
        Ok(())
    }

    /// Takes away what an earlier try has made and is of no use any more: an index alone, as the archive is finished before
    /// it, so that it is of another one; and, if it is to be made `anew`, an archive that is whole, for what is on the
    /// volume now is something else. An upload that was cut off stays, to be gone on with.
    pub(super) async fn remove_stale(&self, objects: &Objects, anew: bool) -> Result<()> {
        let bucket = self.bucket().await?;
        match bucket.look(&objects.data).await? {
            Some(_) if anew => self.remove(objects).await,
            Some(_) => Ok(()),
            None => Ok(bucket.delete(&objects.index).await?),
        }
    }

    /// The keys of all that is there of this run, unfinished uploads too.
    ///
    /// # Errors
    ///
    /// The bucket cannot be listed.
    pub async fn left(&self) -> Result<Vec<String>> {
        let (bucket, below) = (self.bucket().await?, self.0.folder.join("").key);
        let uploads = begun(bucket, &below).await?.into_iter();
        let mut keys: Vec<_> = uploads.map(|upload| upload.key).collect();
        let objects = bucket.list(&below).await?;
        keys.extend(objects.into_iter().map(|object| object.key));
        Ok(keys)
    }

    /// Takes away all that is there of this run.
    ///
    /// # Errors
    ///
    /// The server does not do it.
    pub async fn sweep(&self) -> Result<()> {
        let (bucket, below) = (self.bucket().await?, self.0.folder.join("").key);
        // Before it is listed: an upload may become an object in the moment between.
        for upload in begun(bucket, &below).await? {
            bucket.abort(&upload).await?;
        }
        for object in bucket.list(&below).await? {
            bucket.delete(&object.key).await?;
        }
        Ok(())
    }
}

impl Movers {
    /// Takes away what this run has in the bucket. A bucket that does not answer, or denies, is told of and keeps nobody
    /// waiting: the workload is to start or to wake, and `cleanup` finds by the run's name what stays. `used` says that
    /// bytes went through it.
    pub async fn sweep(&self, used: bool, sink: &Sink) {
        let Some(through) = &self.through else { return };
        let used = used || self.ways.has_bucket() || self.allowed == [MoverWay::Bucket];
        let bound = if used { SWEEP } else { LOOK };
        let swept = match tokio::time::timeout(bound, through.sweep()).await {
            Ok(swept) => swept,
            Err(_) => Err(anyhow::anyhow!("not within {} s", bound.as_secs())),
        };
        if let Err(error) = swept {
            sink.notice(format!(
                "what bytes went through may be left in {}: {error:#}; once the migration is done, `cleanup` deletes it",
                through.folder()
            ));
        }
    }
}

/// Uploads to such keys that were begun. Who may not see them goes on without.
async fn begun(bucket: &Bucket, prefix: &str) -> Result<Vec<Unfinished>, S3Error> {
    match bucket.unfinished(prefix).await {
        Err(S3Error::Forbidden { .. }) => Ok(Vec::new()),
        begun => begun,
    }
}

/// What a mover is told, so that it can use the same bucket. It goes over the mover's encrypted control connection,
/// and nowhere else.
#[must_use]
pub fn access(bucket: &Bucket) -> Access {
    let access = bucket.access();
    Access {
        endpoint: access.endpoint,
        region: access.region,
        authority: access.authority,
        bucket: bucket.name().to_owned(),
        id: access.id,
        key: Secret::new(access.secret.expose_secret()),
        token: access.token.map(|token| Secret::new(token.expose_secret())),
        from: access.from,
    }
}

/// Reads the credentials again for a mover that works with a bucket, each time that its own are no longer taken.
#[must_use]
pub fn lender(bucket: &Bucket) -> Lender {
    let bucket = bucket.clone();
    Lender::new(move || {
        let bucket = bucket.clone();
        Box::pin(async move {
            // Where they cannot be read at this moment, those that were read last may be newer than the mover's; and where
            // there are none any more, it is the server's refusal that tells more.
            bucket.renew().await.ok();
            Some(access(&bucket))
        })
    })
}

/// A failure of a bucket as the data plane knows it.
#[must_use]
pub fn stored(error: &S3Error) -> StoreError {
    let failure = match error {
        S3Error::Damaged { .. } | S3Error::NotFound { .. } => StoreFailure::Damaged,
        error if error.is_about_credentials() => StoreFailure::Credentials,
        error if error.is_refusal() => StoreFailure::Refused,
        _ => StoreFailure::Passing,
    };
    StoreError {
        why: error.to_string(),
        failure,
        next: error.next(),
    }
}

#[cfg(test)]
#[path = "through_tests.rs"]
pub(super) mod tests;
