//! The path of an entry inside a volume: bytes, relative to the volume's root.
use super::escaped;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::cmp::Ordering;
use std::fmt;

/// A path below the volume's root, as bytes; the root itself is the empty path and prints as `.`.
///
/// It never begins or ends with a slash and holds no empty component, `.`, `..` or NUL: one that comes over the
/// wire is checked. The order is the canonical one of a listing: depth first, names by their bytes.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root of the volume.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// This path, if it is one that can name an entry inside a volume.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        let sound = bytes.is_empty()
            || bytes.split(|byte| *byte == b'/').all(|name| {
                !name.is_empty() && name != b"." && name != b".." && !name.contains(&0)
            });
        sound.then_some(Self(bytes))
    }

    /// The bytes, with `/` between the names.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the volume's root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of the entry of this name in this directory. The name is one the kernel gave.
    #[must_use]
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// The directory that the entry is in, and its name there. The root's name is `.`, in itself.
    #[must_use]
    pub fn split(&self) -> (&[u8], &[u8]) {
        if self.0.is_empty() {
            return (b"", b".");
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (b"", &self.0),
        }
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        let same = self
            .0
            .iter()
            .zip(&other.0)
            .take_while(|(mine, theirs)| mine == theirs)
            .count();
        // The end of a path comes first, then the slash (what is inside a directory follows it), then the bytes.
        let rank = |bytes: &[u8]| match bytes.get(same) {
            None => 0,
            Some(b'/') => 1,
            Some(byte) => u16::from(*byte) + 2,
        };
        rank(&self.0).cmp(&rank(&other.0))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            formatter.write_str(".")
        } else {
            formatter.write_str(&escaped::escape(&self.0))
        }
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{self}`")
    }
}

impl Serialize for TreePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for TreePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let human = deserializer.is_human_readable();
        let bytes = escaped::deserialize(deserializer)?;
        if human && bytes == b"." {
            return Ok(Self::root());
        }
        Self::new(bytes).ok_or_else(|| de::Error::custom("not a path inside a volume"))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn order_is_depth_first_by_bytes() {
        let mut paths: Vec<_> = ["b", "a/z", "a", "a.txt", "a/b/c", "a-b", "a/b", ""]
            .map(path)
            .into();
        paths.sort();
        assert_eq!(
            paths,
            ["", "a", "a/b", "a/b/c", "a/z", "a-b", "a.txt", "b"].map(path)
        );
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for bytes in ["/a", "a/", "a//b", "..", "a/../b", ".", "a/.", "a\0b"] {
            assert_eq!(TreePath::new(bytes.as_bytes()), None, "{bytes:?}");
        }
        let wire = postcard::to_allocvec(&TreePath(b"a/../../etc".to_vec())).unwrap();
        postcard::from_bytes::<TreePath>(&wire).unwrap_err();
    }

    #[test]
    fn json_and_wire_keep_every_byte() {
        for bytes in [&b""[..], b"a\nb/\xff", b"x\\y"] {
            let path = TreePath::new(bytes).unwrap();
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<TreePath>(&json).unwrap(), path);
            let wire = postcard::to_allocvec(&path).unwrap();
            assert_eq!(postcard::from_bytes::<TreePath>(&wire).unwrap(), path);
        }
        assert_eq!(path("d/e").split(), (&b"d"[..], &b"e"[..]));
        assert_eq!(TreePath::root().split(), (&b""[..], &b"."[..]));
    }
}
