use std::sync::PoisonError;

use super::{Bucket, Unfinished};

/// The metadata by which an object is known to be of one call.
pub(super) const MARK: &str = "kubectl-migrate-upload";

/// A mark that nobody else has.
pub(super) fn mark() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// What is in a bucket and not yet to stay. It is taken away when it is dropped, in the background: wait for it with
/// [`Bucket::tidied`].
#[must_use = "what it made is taken away when it is dropped"]
#[derive(Debug)]
pub struct Draft {
    bucket: Bucket,
    what: Option<What>,
}

#[derive(Debug)]
enum What {
    Upload(Unfinished),
    Object(String),
}

impl Draft {
    pub(super) fn object(bucket: &Bucket, key: &str) -> Self {
        Self {
            bucket: bucket.clone(),
            what: Some(What::Object(key.to_owned())),
        }
    }

    pub(super) fn upload(bucket: &Bucket, upload: Unfinished) -> Self {
        Self {
            bucket: bucket.clone(),
            what: Some(What::Upload(upload)),
        }
    }

    /// The upload has become an object.
    pub(super) fn completed(&mut self) {
        self.what = match self.what.take() {
            Some(What::Upload(upload)) => Some(What::Object(upload.key)),
            other => other,
        };
    }

    /// It stays.
    pub fn keep(mut self) {
        self.what = None;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let Some(what) = self.what.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let bucket = self.bucket.clone();
        let tidying = runtime.spawn(async move {
            let (shown, tidied) = match &what {
                What::Upload(upload) => (&upload.key, bucket.abort(upload).await),
                What::Object(key) => (key, bucket.delete(key).await),
            };
            // Whoever lists the snapshots finds it.
            if let Err(error) = tidied {
                tracing::warn!("what was made of {shown} is left: {error}");
            }
        });
        let tidying_all = &self.bucket.inner.tidying;
        tidying_all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(tidying);
    }
}
