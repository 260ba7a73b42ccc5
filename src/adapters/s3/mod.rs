//! Buckets of S3 servers: AWS's, and those that people run themselves.
//!
//! What is made is never made over something else, but for what is only told of it ([`Bucket::put_over`]); it carries a
//! checksum that the server checks, and is taken away again unless it is kept ([`Draft`]). What fails by itself is asked
//! for again, a bounded number of times; credentials that are no longer taken are read again before that is told.
mod access;
mod address;
mod bucket;
mod client;
mod download;
mod draft;
mod error;
mod fault;
mod feed;
mod ongoing;
mod settings;
mod upload;

pub use access::{Access, Again};
pub use address::{Address, SCHEME};
pub use bucket::{Bucket, Listed, Unfinished, Version};
pub use download::{Download, Fetched};
pub use draft::Draft;
pub use error::{Request, S3Error};
pub use feed::{Feed, PART, Parts, Sum, feed};
pub use ongoing::Ongoing;
pub use settings::{Given, Settings, Source};

#[cfg(test)]
pub(crate) mod tests;
