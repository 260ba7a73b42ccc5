//! What the movers tell: progress, and the results of their operations. Plain data, for the journal and the report.
use super::activity::Activity;
use super::entry::Digest;
use super::escaped;
use super::path::TreePath;
use super::side::Side;
use serde::{Deserialize, Serialize};

/// How many examples are kept of anything that is counted.
pub const EXAMPLES: usize = 20;

/// What a mover is and where it stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MoverInfo {
    /// Version of its executable.
    pub version: String,
    /// The volume that it serves.
    pub side: Side,
    /// The run that it belongs to.
    pub run: String,
    /// The user that it runs as.
    pub uid: u32,
    /// The group that it runs as.
    pub gid: u32,
    /// Which of the capabilities that matter to a copy it has: `CAP_CHOWN`, `CAP_DAC_OVERRIDE`, …
    pub capabilities: Vec<String>,
    /// A directory tree, or one device.
    pub shape: Shape,
    /// The room of the volume.
    pub room: Room,
}

/// What a volume is to its mover.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A mounted file system.
    Directory,
    /// A block device (or the image of one), copied as one file.
    Device,
}

/// The size of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Room {
    /// Size in bytes.
    pub bytes: u64,
    /// Free bytes, as an unprivileged user sees them.
    pub free_bytes: u64,
    /// Inodes; 0 where the file system makes them as needed.
    pub inodes: u64,
    /// Free inodes; 0 where the file system makes them as needed.
    pub free_inodes: u64,
}

/// Whose data a volume holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ownership {
    /// Nothing is there (`lost+found` does not count).
    Empty,
    /// This run wrote it.
    Ours,
    /// Another run of ours wrote it and did not finish.
    OtherRun(String),
    /// Something else wrote it.
    Foreign,
}

/// What a volume holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inspection {
    /// Whose it is.
    pub ownership: Ownership,
    /// Entries in all directories, without the root, working directories and `lost+found`.
    pub entries: u64,
    /// Length of all regular files together, each hard-linked one once.
    pub bytes: u64,
    /// The first names in the root.
    pub examples: Vec<TreePath>,
}

/// Whether a mover reached the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// It did.
    Reached {
        /// How many connections are ready.
        connections: usize,
    },
    /// It did not; the other direction may work.
    Declined {
        /// Why.
        reason: String,
    },
}

/// By what two entries are taken for the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoundKind {
    /// While the workload runs: files differ when type, length or time of change do.
    Warm,
    /// When it is frozen: files differ when their contents do.
    Final,
}

/// What a mover is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Listing, comparing and moving, all at once.
    #[default]
    Moving,
    /// Everything was listed; the rest is moved.
    Draining,
    /// Links and directory metadata are put in place, and the file system is synced.
    Settling,
    /// Both sides are read back and compared.
    Verifying,
    /// Entries are deleted.
    Deleting,
}

/// How far an operation is. Every number only grows, and is of this operation alone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Entries of the source that were listed and compared.
    pub entries: u64,
    /// Files that must be moved, as far as is known.
    pub files_to_move: u64,
    /// The length of what is moved of them.
    pub bytes_to_move: u64,
    /// Files that are in place.
    pub files_moved: u64,
    /// Bytes received (holes count as received).
    pub bytes_moved: u64,
    /// Files whose contents were compared.
    pub files_checked: u64,
    /// Bytes that this mover read to compare them, or remembered.
    pub bytes_checked: u64,
    /// What was begun last.
    pub path: Option<TreePath>,
    /// What the workers were at.
    pub activity: Activity,
}

/// Something that the target cannot keep as it is on the source.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The numeric owner or group.
    Owner,
    /// Permission bits, setuid, setgid or sticky.
    Mode,
    /// A time.
    Time,
    /// The part of a second of a time, which a plain tar does not tell; nor is it compared then.
    Fraction,
    /// A time of a symlink, which a plain tar does not set; it alone is not compared then.
    LinkTime,
    /// An extended attribute or ACL of this name.
    Xattr(#[serde(with = "escaped")] Vec<u8>),
    /// A device node, which was left out.
    Device,
    /// A hard link, which became a file of its own.
    HardLink,
    /// A socket, which was left out: its server makes it anew.
    Socket,
    /// Holes of a file, which take room as zeros.
    Holes,
}

/// What explains differences between two sides: a target that could not keep something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Excuse {
    /// What could not be kept.
    pub what: What,
    /// At these entries; anywhere, if there are none.
    pub only: Vec<TreePath>,
}

/// Wherever it is.
#[cfg(test)]
impl From<What> for Excuse {
    fn from(what: What) -> Self {
        Self {
            what,
            only: Vec::new(),
        }
    }
}

impl Excuse {
    /// What a finding explains: where it names all entries that it is of, nothing at any other.
    #[must_use]
    pub fn of(finding: &Finding) -> Self {
        let all = finding.count == finding.examples.len() as u64;
        Self {
            what: finding.what.clone(),
            only: if all {
                finding.examples.clone()
            } else {
                Vec::new()
            },
        }
    }

    /// Whether it explains this difference of an entry. A device or a hard link may be missed at another name.
    pub(crate) fn covers(&self, what: &What, path: &TreePath) -> bool {
        let anywhere = self.only.is_empty() || matches!(what, What::Device | What::HardLink);
        self.what == *what && (anywhere || self.only.contains(path))
    }
}

/// Findings of one sort.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What could not be kept.
    pub what: What,
    /// Why: the system call and what it said.
    pub why: String,
    /// At how many entries.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<TreePath>,
}

/// Why a socket is left out.
pub(crate) const SOCKET: &str = "a socket lives as long as its server, which makes it anew";

impl Finding {
    /// So many sockets were left out; none if there were none.
    #[must_use]
    pub fn of_sockets(count: u64) -> Option<Self> {
        (count > 0).then(|| Self {
            what: What::Socket,
            why: SOCKET.to_owned(),
            count,
            examples: Vec::new(),
        })
    }
}

/// What a round did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoundSummary {
    /// By what it compared.
    pub kind: RoundKind,
    /// Entries of the source, the root included.
    pub entries: u64,
    /// Length of all its files together, each hard-linked one once.
    pub bytes: u64,
    /// Files that were on the target already.
    pub files_same: u64,
    /// Files whose contents were moved.
    pub files_moved: u64,
    /// Length of what was moved: whole files, and of large ones the blocks that differed.
    pub bytes_moved: u64,
    /// Bytes of them that crossed the network: holes do not.
    pub bytes_sent: u64,
    /// Directories, links, pipes and nodes that were made.
    pub others_made: u64,
    /// Entries of which only metadata was set.
    pub metadata_fixed: u64,
    /// Entries that were deleted on the target, as the source has them no more.
    pub deleted: u64,
    /// Files that changed or went while they were read, so that the next round looks at them again. Of large ones what
    /// was read was moved.
    pub changed: u64,
    /// The first of them.
    pub changed_examples: Vec<TreePath>,
    /// What the target cannot keep.
    pub findings: Vec<Finding>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// In what an entry differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// The target lacks it.
    Missing,
    /// Only the target has it.
    Extra,
    /// It is another type of entry.
    Type,
    /// Its length.
    Size,
    /// Its contents, at the same length.
    Content,
    /// Its permission bits.
    Mode,
    /// Its owner or group.
    Owner,
    /// When it was changed.
    Time,
    /// Where the symlink points.
    LinkTarget,
    /// Which file the name shares.
    HardLink,
    /// The extended attribute of this name.
    Xattr(#[serde(with = "escaped")] Vec<u8>),
    /// Its device number.
    Device,
}

/// One difference between source and target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// Where.
    pub path: TreePath,
    /// In what.
    pub kind: DifferenceKind,
    /// What the source has, printable; empty where it has nothing.
    pub source: String,
    /// What the target has, printable; empty where it has nothing.
    pub target: String,
}

/// The digest of one side, read back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeSummary {
    /// Digest over all entries; the encoding is in the documentation of [`super`].
    pub digest: Digest,
    /// Entries, the root included.
    pub entries: u64,
    /// Regular files, each hard-linked one once.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Directories, the root included.
    pub directories: u64,
    /// Symlinks, and further names of files.
    pub links: u64,
}

/// How much of a side was read before, while its workload ran, and has not changed since.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recalled {
    /// Whether its file system is one that tells of every change; nothing is remembered where it is not.
    pub possible: bool,
    /// Files that were not read again.
    pub files: u64,
    /// Their length in bytes.
    pub bytes: u64,
}

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verification {
    /// The source.
    pub source: TreeSummary,
    /// The target.
    pub target: TreeSummary,
    /// What was not read again of the source.
    #[serde(default)]
    pub source_recalled: Recalled,
    /// What was not read again of the target.
    #[serde(default)]
    pub target_recalled: Recalled,
    /// How many differences there are.
    pub difference_count: u64,
    /// The first of them, at most 200.
    pub differences: Vec<Difference>,
    /// Differences that a finding of a round explains.
    pub findings: Vec<Finding>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

impl Verification {
    /// Whether the target holds what the source holds, but for what the findings name.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.difference_count == 0
    }
}
