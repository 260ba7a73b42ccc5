//! Why a mover could not do what it was asked to.
use super::archive::StoreError;
use super::entry::Digest;
use super::path::TreePath;
use super::side::Side;
use serde::{Deserialize, Serialize};

/// What a mover reports instead of a result. Nothing is lost by any of them: what was complete on the target stays,
/// and the same command goes on from there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Fault {
    /// Another client took over with a higher fencing number.
    #[error(
        "another client holds this transfer: its fencing number is {highest}, ours is {yours}; look at its status first"
    )]
    Fenced {
        /// The number of the refused request.
        yours: u64,
        /// The highest that the mover has seen.
        highest: u64,
    },
    /// A newer control connection took the operation's place.
    #[error(
        "a newer connection took over this mover, and the operation was stopped; run it again if that was not you"
    )]
    Superseded,
    /// The operation was stopped: the mover ends, or its control connection was lost.
    #[error("the operation was stopped at a safe point; run it again to go on")]
    Stopped,
    /// The operation before does not come to its end.
    #[error(
        "the operation before still runs after {seconds} s of waiting for its end; restart the mover of the {side}"
    )]
    Busy {
        /// The mover.
        side: Side,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The command belongs to the other side.
    #[error("this is the mover of the {side}; ask the {} one", side.other())]
    WrongSide {
        /// The side that was asked.
        side: Side,
    },
    /// The mover belongs to another run.
    #[error(
        "the mover belongs to run `{theirs}`, not to `{yours}`; check which pod the port-forward leads to"
    )]
    OtherRun {
        /// The run that was asked for.
        yours: String,
        /// The run of the mover.
        theirs: String,
    },
    /// There is no connection to the other mover.
    #[error("the movers are not connected to each other; let one of them reach the other first")]
    NoPeer,
    /// The connection to the other mover was lost.
    #[error(
        "the connection to the other mover was lost ({reason}); run the command again to go on"
    )]
    PeerLost {
        /// What was seen.
        reason: String,
    },
    /// The target volume holds data that this run did not write.
    #[error(
        "the target holds {entries} entries that this run did not write, such as {}; empty it or choose another volume",
        list(examples)
    )]
    Foreign {
        /// How many entries there are, in all directories.
        entries: u64,
        /// The first few names in the root.
        examples: Vec<TreePath>,
    },
    /// The source holds an entry with the name of the working directory.
    #[error(
        "the source holds an entry named {path}, the name of this run's working directory on the target; move it away or start a new run"
    )]
    NameTaken {
        /// The entry.
        path: TreePath,
    },
    /// No space, no inode or no quota is left on the target.
    #[error(
        "no space is left on the target at {path} ({free_bytes} bytes and {free_inodes} inodes free); enlarge the volume or the quota, then run again to go on"
    )]
    Full {
        /// What was being written.
        path: TreePath,
        /// Bytes that the file system still gives.
        free_bytes: u64,
        /// Inodes that the file system still gives.
        free_inodes: u64,
    },
    /// The mover lacks the right to an entry.
    #[error(
        "the {side} mover runs as uid {uid} and has no right to {call} {path}; run it as the owner of the data"
    )]
    NoRight {
        /// The mover.
        side: Side,
        /// The entry.
        path: TreePath,
        /// The system call that was refused.
        call: String,
        /// The uid that the mover runs as.
        uid: u32,
    },
    /// A system call failed.
    #[error("{call} of {path} on the {side} failed: {}", std::io::Error::from_raw_os_error(*errno))]
    Io {
        /// The mover.
        side: Side,
        /// The entry.
        path: TreePath,
        /// The system call.
        call: String,
        /// Its error number.
        errno: i32,
    },
    /// Files changed in the last round, when nothing may write any more.
    #[error(
        "{count} files changed while they were read, though the source is to be frozen, such as {}; find what still writes to it",
        list(examples)
    )]
    Changed {
        /// How many.
        count: u64,
        /// The first few.
        examples: Vec<TreePath>,
    },
    /// What arrived is not what was read.
    #[error(
        "{path} arrived with the digest {received} and was read with {sent}; run again, and suspect the memory of a node"
    )]
    Corrupt {
        /// The file.
        path: TreePath,
        /// Digest of what was read.
        sent: Digest,
        /// Digest of what arrived.
        received: Digest,
    },
    /// The target device is smaller than the source.
    #[error(
        "the target device has {target_bytes} bytes and the source {source_bytes}; choose a volume that is not smaller"
    )]
    TooSmall {
        /// Size of the source.
        source_bytes: u64,
        /// Size of the target.
        target_bytes: u64,
    },
    /// One side is a directory, the other a device.
    #[error(
        "the source is a {source_shape} and the target a {target_shape}; both must have the same volume mode"
    )]
    ShapeDiffers {
        /// `directory` or `device`.
        source_shape: String,
        /// `directory` or `device`.
        target_shape: String,
    },
    /// An object of a snapshot is not what it was made as.
    #[error("{object} is damaged: {what}")]
    Damaged {
        /// The object.
        object: String,
        /// What was seen, and where.
        what: String,
    },
    /// An object of a snapshot is of a format that is not known here.
    #[error(
        "{object} has format {format}, and this version reads {reads}: it was made by a newer version of this program, which reads it"
    )]
    Newer {
        /// The object.
        object: String,
        /// Its format.
        format: u32,
        /// The one that is read.
        reads: u32,
    },
    /// Where snapshots are kept does not do what it was asked to.
    #[error(transparent)]
    Store(StoreError),
    /// An archive would have more parts than a bucket takes.
    #[error(
        "the archive would have more than {parts} parts, which no bucket takes; keep less on one volume, or copy it to another volume"
    )]
    TooLarge {
        /// The most.
        parts: u32,
    },
    /// The other mover broke the protocol.
    #[error(
        "the other mover sent what does not belong there ({what}); both must be of the same version"
    )]
    Protocol {
        /// What was expected, and what came.
        what: String,
    },
}

/// The first names of many, for a message.
fn list(paths: &[TreePath]) -> String {
    paths
        .iter()
        .map(|path| format!("`{path}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Fault {
    /// Whether the same command may succeed when it is just given again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::PeerLost { .. } | Self::NoPeer | Self::Stopped | Self::Busy { .. }
        )
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol { what: what.into() }
    }

    pub(crate) fn peer_lost(reason: impl std::fmt::Display) -> Self {
        Self::PeerLost {
            reason: reason.to_string(),
        }
    }
}
