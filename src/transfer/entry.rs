//! One entry of a tree, and the digest of a whole tree.
use super::escaped;
use super::path::TreePath;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A BLAKE3 digest; prints as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// A point in time as the file system keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z; before it they are negative.
    pub seconds: i64,
    /// Nanoseconds after that second.
    pub nanoseconds: u32,
}

/// An extended attribute; POSIX ACLs and file capabilities are such.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xattr {
    /// The name with its name space: `user.origin`, `system.posix_acl_access`.
    #[serde(with = "escaped")]
    pub name: Vec<u8>,
    /// The value.
    #[serde(with = "escaped")]
    pub value: Vec<u8>,
}

/// What an entry has besides its contents.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: `mode & 0o7777`.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// When the contents were last changed.
    pub modified: Time,
    /// When the contents were last read; carried over on a best effort, never compared.
    pub accessed: Time,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file; the first one in canonical order where several names share it.
    File {
        /// Length in bytes, holes included.
        size: u64,
        /// Digest of the contents, holes read as zeros, where it was asked for.
        digest: Option<Digest>,
    },
    /// One more name of a file that comes earlier in canonical order.
    HardLink {
        /// The first name.
        to: TreePath,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points; any bytes.
        #[serde(with = "escaped")]
        to: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A socket; never copied.
    Socket,
}

/// One entry of a tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// Its metadata.
    pub metadata: Metadata,
}

impl Kind {
    /// The letter that stands for the type in the canonical encoding, and its name in words.
    #[must_use]
    pub fn letter_and_name(&self) -> (u8, &'static str) {
        match self {
            Self::Directory => (b'd', "directory"),
            Self::File { .. } => (b'f', "file"),
            Self::HardLink { .. } => (b'h', "hard link"),
            Self::Symlink { .. } => (b'l', "symlink"),
            Self::Fifo => (b'p', "FIFO"),
            Self::CharacterDevice { .. } => (b'c', "character device"),
            Self::BlockDevice { .. } => (b'b', "block device"),
            Self::Socket => (b's', "socket"),
        }
    }
}

/// Digests a tree, entry by entry in canonical order; the encoding is in the documentation of [`super`].
#[derive(Default)]
pub struct TreeHasher {
    hasher: blake3::Hasher,
    encoded: Vec<u8>,
}

impl TreeHasher {
    /// A tree with no entry yet.
    #[must_use]
    pub fn new() -> Self {
        let mut this = Self::default();
        this.hasher.update(b"kubectl-migrate tree 1\n");
        this
    }

    /// Takes the next entry in.
    pub fn add(&mut self, entry: &Entry) {
        let out = &mut self.encoded;
        out.clear();
        put_bytes(out, entry.path.as_bytes());
        out.push(entry.kind.letter_and_name().0);
        let metadata = &entry.metadata;
        for number in [metadata.mode, metadata.uid, metadata.gid] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&metadata.modified.seconds.to_le_bytes());
        out.extend_from_slice(&metadata.modified.nanoseconds.to_le_bytes());
        put_length(out, metadata.xattrs.len());
        for xattr in &metadata.xattrs {
            put_bytes(out, &xattr.name);
            put_bytes(out, &xattr.value);
        }
        match &entry.kind {
            Kind::File { size, digest } => {
                out.extend_from_slice(&size.to_le_bytes());
                out.extend_from_slice(digest.as_ref().map_or(&[], |digest| &digest.0[..]));
            }
            Kind::HardLink { to } => put_bytes(out, to.as_bytes()),
            Kind::Symlink { to } => put_bytes(out, to),
            Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                out.extend_from_slice(&major.to_le_bytes());
                out.extend_from_slice(&minor.to_le_bytes());
            }
            Kind::Directory | Kind::Fifo | Kind::Socket => {}
        }
        self.hasher.update(out);
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // A name or value of 4 GiB does not exist: the kernel's limits are 4 KiB and 64 KiB.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Ok(Self(<[u8; 32]>::deserialize(deserializer)?));
        }
        let text = String::deserialize(deserializer)?;
        blake3::Hash::from_hex(&text)
            .map(Self::from)
            .map_err(|_| de::Error::custom("not a digest of 64 hexadecimal digits"))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::new(self.seconds, self.nanoseconds.cast_signed()) {
            // The file system's floor and jiff's agree: nanoseconds count up from the second, also before 1970.
            Ok(timestamp) if self.seconds >= 0 => write!(formatter, "{timestamp:.9}"),
            _ => write!(formatter, "{}.{:09}", self.seconds, self.nanoseconds),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn file(path: &str, content: &[u8]) -> Entry {
        Entry {
            path: TreePath::new(path.as_bytes()).unwrap(),
            kind: Kind::File {
                size: content.len() as u64,
                digest: Some(blake3::hash(content).into()),
            },
            metadata: Metadata {
                mode: 0o640,
                uid: 999,
                gid: 999,
                modified: Time {
                    seconds: 1,
                    nanoseconds: 2,
                },
                accessed: Time::default(),
                xattrs: vec![Xattr {
                    name: b"user.a".into(),
                    value: b"1".into(),
                }],
            },
        }
    }

    fn digest(entries: &[Entry]) -> Digest {
        let mut hasher = TreeHasher::new();
        for entry in entries {
            hasher.add(entry);
        }
        hasher.finish()
    }

    /// Receipts are kept for years: the encoding is not to change without a new version in its first line.
    #[test]
    fn tree_digest_is_the_documented_encoding() {
        let entry = file("d/é", b"hello");
        let mut encoded = b"kubectl-migrate tree 1\n".to_vec();
        encoded.extend([4, 0, 0, 0]);
        encoded.extend("d/é".as_bytes());
        encoded.push(b'f');
        encoded.extend([0xa0, 1, 0, 0, 0xe7, 3, 0, 0, 0xe7, 3, 0, 0]);
        encoded.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
        encoded.extend([1, 0, 0, 0, 6, 0, 0, 0]);
        encoded.extend(b"user.a");
        encoded.extend([1, 0, 0, 0, b'1']);
        encoded.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        encoded.extend(blake3::hash(b"hello").as_bytes());
        assert_eq!(digest(&[entry]), Digest::from(blake3::hash(&encoded)));
    }

    #[test]
    fn tree_digest_sees_everything_but_reading_time() {
        let plain = digest(&[file("a", b"x")]);
        let mut changed = file("a", b"x");
        changed.metadata.accessed.seconds = 7;
        assert_eq!(digest(&[changed.clone()]), plain);
        changed.metadata.xattrs[0].value = b"2".into();
        assert_ne!(digest(&[changed]), plain);
        assert_ne!(digest(&[file("a", b"y")]), plain);
        assert_ne!(digest(&[file("b", b"x")]), plain);
    }

    #[test]
    fn digest_is_hexadecimal_in_json() {
        let digest = Digest::from(blake3::hash(b""));
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{}\"", blake3::hash(b"").to_hex()));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }
}
