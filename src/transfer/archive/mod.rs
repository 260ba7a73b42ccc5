//! A volume as two objects in a bucket: an archive that any `zstd` and `tar` restore, and an index of what is in it.
//!
//! # The archive
//!
//! `NAME.tar.zst` is a POSIX tar (pax) in zstd. `zstd -dc NAME.tar.zst | tar -xp --numeric-owner --xattrs
//! --xattrs-include='*'` restores it. What it holds follows from the volume alone, so that the same tree gives the same
//! bytes: the entries are in canonical order (see [`super`]), times of reading are left out, and there is nothing of
//! when or where it was made.
//!
//! - Each entry is a pax header, where it needs one, then a ustar header. Names are bytes. Times have nanoseconds.
//!   Extended attributes, POSIX ACLs and capabilities among them, are `SCHILY.xattr.*`; files with holes are
//!   `GNU.sparse` 1.0; a further name of a file is a hard link.
//! - A volume in Block mode is one file, [`IMAGE`], of the device's length; in the index it is the root itself.
//! - The tar is cut in pieces of [`FRAME`] bytes, each a zstd frame with its checksum. A part of the upload is one
//!   frame, from the 1001st part on two, from the 2001st four, from the 3001st eight: so 984 GiB fit in the 10 000
//!   parts that S3 takes. A part under S3's 5 MiB that is not the last is filled with a skippable frame of zeros.
//!
//! # The index
//!
//! `NAME.index.zst` is JSON by lines in zstd: a head with the format's number, each entry with the digest of its
//! contents, each part with its sums, and an end with their numbers. With it an archive is read strictly: each member
//! has to be the next entry, with these contents. The index' own digest is in the snapshot's manifest ([`Archive`]).
mod budget;
mod check;
mod foreign;
mod head;
mod index;
mod list;
mod make;
mod map;
mod pack;
mod plain;
mod reached;
mod renewal;
mod store;
mod tar;
mod tarred;
mod unpack;

use super::entry::{Digest, Entry, Kind};
use super::path::TreePath;
use super::report::TreeSummary;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

pub use check::check;
pub use renewal::{Lender, Renewal};
pub use store::{Access, ObjectStore, OpenStore, Secret, StoreError, StoreFailure, Upload};
pub use tarred::{Dialect, Origin, Read, Tree, compare, read, remake};

pub(crate) use check::{members, missing_members};
pub(crate) use index::IndexReader;
pub(crate) use list::{Listed, list};
pub(crate) use make::{Making, make};

/// How many bytes of tar a frame holds; the last may hold less.
pub const FRAME: usize = 16 << 20;
/// No part but the last may be smaller, says S3.
pub const LEAST_PART: usize = 5 << 20;
/// S3 takes no more of them.
const MOST_PARTS: u32 = 10_000;
/// After so many parts they are twice as long,
const PARTS_OF_A_LENGTH: u32 = 1_000;
/// so often.
const DOUBLINGS: u32 = 3;

/// The bytes of tar that so many parts hold.
pub const MOST_TAR: u64 = {
    let (each, mut part, mut most) = (PARTS_OF_A_LENGTH as u64, 0, 0);
    while part < DOUBLINGS {
        most += each * ((FRAME as u64) << part);
        part += 1;
    }
    most + (MOST_PARTS as u64 - each * DOUBLINGS as u64) * ((FRAME as u64) << DOUBLINGS)
};
/// What a device is called in its archive.
pub const IMAGE: &str = "device.img";

/// The sum by which S3 checks a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Md5(pub [u8; 16]);

/// What a volume became: what has to be known to read it back. Kept in the snapshot's manifest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Archive {
    /// The archive's size in bytes.
    pub size: u64,
    /// How many parts it was sent in.
    pub parts: u32,
    /// What S3 calls it by, where a server keeps to S3's rule: see [`etag`].
    pub etag: String,
    /// The index' size in bytes.
    pub index_size: u64,
    /// The digest of the index' bytes.
    pub index_digest: Digest,
    /// What is in it.
    pub tree: TreeSummary,
    /// Files that changed or went while they were read; the archive has what was read of them.
    pub changed: u64,
    /// The first of them.
    pub changed_examples: Vec<TreePath>,
    /// Sockets, which are left out: their servers make them anew.
    pub sockets: u64,
}

/// One part of an archive, as its index names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Part {
    /// Its bytes in the bucket.
    pub size: u64,
    /// The bytes of tar in it.
    pub tar: u64,
    /// The digest of its bytes in the bucket.
    pub blake3: Digest,
    /// The sum that was sent with it.
    pub md5: Md5,
}

/// The two objects of a volume, by their keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Objects {
    /// The archive.
    pub data: String,
    /// The index.
    pub index: String,
}

/// An entry as it stands in the tar: a device has no name of its own, and its node's owner and mode are not its data's.
fn as_member(entry: &Entry) -> Cow<'_, Entry> {
    let is_device = entry.path.is_root() && matches!(entry.kind, Kind::File { .. });
    let name = is_device.then(|| TreePath::new(IMAGE)).flatten();
    name.map_or(Cow::Borrowed(entry), |path| {
        let mut metadata = entry.metadata.clone();
        metadata.mode = 0o600;
        Cow::Owned(Entry {
            path,
            metadata,
            kind: entry.kind.clone(),
        })
    })
}

/// The most bytes of tar that an archive has room for.
#[must_use]
pub fn most_bytes() -> u64 {
    let frames: u64 = (1..=MOST_PARTS).map(|part| frames_in(part) as u64).sum();
    frames * FRAME as u64
}

/// How many frames are in a part; the first has number 1.
fn frames_in(part: u32) -> usize {
    1 << (part.saturating_sub(1) / PARTS_OF_A_LENGTH).min(DOUBLINGS)
}

impl Archive {
    /// Why it cannot be in these parts; none where nothing speaks against it.
    fn flaw(&self, parts: &[Part]) -> Option<&'static str> {
        let most = (FRAME << DOUBLINGS) as u64;
        let sum = parts
            .iter()
            .try_fold(0_u64, |sum, part| sum.checked_add(part.size));
        let odd = |part: &Part| part.tar == 0 || part.tar > most || part.size > 2 * most;
        if parts.len() as u64 != u64::from(self.parts) || parts.is_empty() {
            return Some("it has not so many parts as it should have");
        }
        if parts.iter().any(odd) {
            return Some("a part of it is longer than any");
        }
        (sum != Some(self.size)).then_some("its parts are not as long as the whole")
    }
}

/// The tag by which S3 knows an object that was sent in parts with these sums: the sum of the sums, and their number.
pub fn etag(parts: impl Iterator<Item = Md5>) -> String {
    use md5::Digest as _;
    let (mut all, mut count) = (md5::Md5::new(), 0);
    for part in parts {
        all.update(part.0);
        count += 1;
    }
    format!("{}-{count}", Md5(all.finalize().into()))
}

impl Md5 {
    /// The sum of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use md5::Digest as _;
        Self(md5::Md5::digest(bytes).into())
    }
}

impl std::fmt::Display for Md5 {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Serialize for Md5 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Md5 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Ok(Self(<[u8; 16]>::deserialize(deserializer)?));
        }
        let text = String::deserialize(deserializer)?;
        let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        let mut sum = [0; 16];
        for (number, place) in sum.iter_mut().enumerate() {
            let wrong = || serde::de::Error::custom("not a sum of 32 hexadecimal digits");
            *place = byte(2 * number).ok_or_else(wrong)?;
        }
        if text.len() == 32 {
            Ok(Self(sum))
        } else {
            Err(serde::de::Error::custom(
                "not a sum of 32 hexadecimal digits",
            ))
        }
    }
}

#[cfg(test)]
mod tests;
