//! Where archives are kept, as the data plane sees it: a bucket, of which it knows nothing but these calls.
use super::{Md5, Renewal};
use crate::transfer::fault::Fault;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text that is never shown. It goes over the encrypted control connection, and stays in memory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being shown.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever signs with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

/// A bucket, and how to get at it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Access {
    /// The server's URL; none for AWS.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// The authorities to trust, as PEM.
    pub authority: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// Who asks.
    pub id: String,
    /// What requests are signed with.
    pub key: Secret,
    /// What is sent with them, where the credentials are temporary.
    pub token: Option<Secret>,
    /// Where the credentials came from, for people.
    pub from: String,
}

/// Opens a place where archives are kept; nothing is asked of it yet. Where the credentials are no longer taken later, it
/// asks for others.
pub type OpenStore = fn(&Access, &Arc<Renewal>) -> Result<Arc<dyn ObjectStore>, StoreError>;

/// A place where archives are kept. Its calls block.
pub trait ObjectStore: Send + Sync {
    /// Begins an object, or goes on with one that was begun with the same mark.
    ///
    /// # Errors
    ///
    /// There is one of somebody else already, or the place does not take it.
    fn begin(&self, key: &str, mark: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// A range of an object's bytes, all of it.
    ///
    /// # Errors
    ///
    /// There is no such object, or it has not so many bytes, or it cannot be read.
    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError>;
}

/// An object that is being sent in parts, by several threads.
pub trait Upload: Send + Sync {
    /// Whether this part was sent before.
    fn has(&self, number: u32, size: u64, md5: Md5) -> bool;

    /// Sends a part; the first has number 1.
    ///
    /// # Errors
    ///
    /// The place does not take it.
    fn put(&self, number: u32, bytes: Vec<u8>, md5: Md5) -> Result<(), StoreError>;

    /// Makes the object of these parts, which were all sent.
    ///
    /// # Errors
    ///
    /// The place does not take it.
    fn finish(&self, parts: &[Md5]) -> Result<(), StoreError>;
}

/// What kind of failure it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StoreFailure {
    /// It may pass by itself.
    Passing,
    /// The credentials are no longer taken: there may be others by now.
    Credentials,
    /// Somebody has to change something first.
    Refused,
    /// What is there is not what was put there.
    Damaged,
}

/// A place does not do what it was asked to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{why}")]
pub struct StoreError {
    /// What was asked, of whom, and why not; one line.
    pub why: String,
    /// What kind of failure it is.
    pub failure: StoreFailure,
    /// A command that helps from here, with what it does.
    pub next: Option<(String, String)>,
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
