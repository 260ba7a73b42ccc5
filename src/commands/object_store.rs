//! A bucket as the data plane uses it: from threads that block.
use std::{ops::Range, sync::Arc};

use secrecy::SecretString;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{
    adapters::s3::{self, Again, Bucket, Ongoing, Settings},
    steps::movers::stored,
    transfer::archive::{
        self, Access, Md5, ObjectStore, Renewal, StoreError, StoreFailure, Upload,
    },
};

/// A bucket, and who works for it.
pub(super) struct BucketStore {
    bucket: Bucket,
    handle: Handle,
    /// None where it is somebody else's.
    _runtime: Option<Arc<Runtime>>,
}

/// What a mover does with the access that a client gives it.
pub(super) fn open(
    access: &Access,
    renewal: &Arc<Renewal>,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| StoreError {
            why: format!("failed to start threads for the bucket: {error}"),
            failure: StoreFailure::Passing,
            next: None,
        })?;
    let settings = Settings::of(lent(access), again(renewal));
    let handle = runtime.handle().clone();
    let entered = handle.enter();
    let bucket = Bucket::open(&access.bucket, settings).map_err(|error| stored(&error))?;
    drop(entered);
    Ok(Arc::new(BucketStore {
        bucket,
        handle,
        _runtime: Some(Arc::new(runtime)),
    }))
}

/// The client's access, as a bucket takes it.
fn lent(access: &Access) -> s3::Access {
    s3::Access {
        endpoint: access.endpoint.clone(),
        region: access.region.clone(),
        authority: access.authority.clone(),
        id: access.id.clone(),
        secret: access.key.expose().into(),
        token: access
            .token
            .as_ref()
            .map(|token| SecretString::from(token.expose())),
        from: access.from.clone(),
    }
}

/// Asks the client for what he has by then: the request that was refused waits for it, and goes on with it.
fn again(renewal: &Arc<Renewal>) -> Again {
    let renewal = Arc::clone(renewal);
    Again::new(move || {
        let renewal = Arc::clone(&renewal);
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || renewal.ask()).await;
            Some(lent(&asked.ok()??))
        })
    })
}

impl BucketStore {
    /// A bucket of this process; its threads are those of the runtime that this is called in.
    pub(super) fn of(bucket: &Bucket) -> Self {
        Self {
            bucket: bucket.clone(),
            handle: Handle::current(),
            _runtime: None,
        }
    }
}

impl ObjectStore for BucketStore {
    fn begin(&self, key: &str, mark: &str) -> Result<Box<dyn Upload>, StoreError> {
        let ongoing = self.handle.block_on(self.bucket.ongoing(key, mark));
        Ok(Box::new(BucketUpload {
            ongoing: ongoing.map_err(|error| stored(&error))?,
            handle: self.handle.clone(),
        }))
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let read = self.handle.block_on(self.bucket.read_range(key, range));
        Ok(read.map_err(|error| stored(&error))?.into())
    }
}

struct BucketUpload {
    ongoing: Ongoing,
    handle: Handle,
}

impl Upload for BucketUpload {
    fn has(&self, number: u32, size: u64, md5: Md5) -> bool {
        self.ongoing.has(number, size, &md5.to_string())
    }

    fn put(&self, number: u32, bytes: Vec<u8>, md5: Md5) -> Result<(), StoreError> {
        let put = self.ongoing.put(number, bytes.into(), md5.0);
        self.handle.block_on(put).map_err(|error| stored(&error))
    }

    fn finish(&self, parts: &[Md5]) -> Result<(), StoreError> {
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let etag = archive::etag(parts.iter().copied());
        let finish = self.ongoing.finish(count, &etag);
        self.handle.block_on(finish).map_err(|error| stored(&error))
    }
}
