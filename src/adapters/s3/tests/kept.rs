//! The server in memory, for tests of what works with a bucket.
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Bucket,
    fake::{Fake, Fault},
    server,
};

/// A server, and its bucket.
pub(crate) struct Kept {
    fake: Fake,
    pub(crate) bucket: Bucket,
    left: Arc<Mutex<Option<usize>>>,
}

impl Kept {
    pub(crate) async fn new() -> Self {
        let left = Arc::<Mutex<Option<usize>>>::default();
        let requests = Arc::clone(&left);
        let (fake, bucket) = server(move |_| {
            let mut left = requests.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *left {
                None => None,
                Some(0) => Some(Fault::Answer(403, "AccessDenied", Vec::new())),
                Some(left) => {
                    *left -= 1;
                    None
                }
            }
        })
        .await;
        Self { fake, bucket, left }
    }

    /// Answers so many more requests, and denies those after them; none answers all.
    pub(crate) fn answer(&self, requests: Option<usize>) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = requests;
    }

    /// The keys of all objects.
    pub(crate) fn objects(&self) -> Vec<String> {
        self.fake.world().objects.keys().cloned().collect()
    }

    /// How many uploads are neither complete nor aborted.
    pub(crate) fn uploads(&self) -> usize {
        self.fake.world().uploads.len()
    }
}
