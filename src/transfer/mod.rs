//! The data plane: listing, comparing, moving and verifying a volume, mover to mover.
//!
//! One [`mover`] runs next to each volume. A client holds a [`control`] connection to both, lets one of them dial the
//! other, and gives the target's mover its commands: rounds, which pull from the source what differs, and the
//! verification, in which both sides read everything back. All connections are TLS 1.3 with the [`keys`] of the run.
//! Movers that never meet go by an [`archive`] in a bucket, and are compared by an index there. Where no mover can run,
//! the client reads and makes the tars of other programs ([`archive::Tree`]).
//!
//! # The canonical order
//!
//! Both sides list their tree in one order, so that two listings are merged without keeping either: the root, then
//! depth first, the entries of a directory by the bytes of their names ([`path::TreePath`]'s `Ord`). Left out are
//! `lost+found` in the root, the working directory of the run on the target, and sockets on the source. Of several
//! names of one file the first is the file, the others are hard links to it.
//!
//! # The digest of a tree
//!
//! A receipt names a tree by a BLAKE3 digest over these bytes: the line `kubectl-migrate tree 1` with its newline, then
//! for each entry in canonical order (numbers little-endian, every string as its length in 32 bits and its bytes):
//!
//! 1. the path, a string with `/` between the names, empty for the root;
//! 2. one letter: `d` directory, `f` file, `h` hard link, `l` symlink, `p` FIFO, `c` and `b` devices, `s` socket;
//! 3. mode (`& 07777`), uid and gid, 32 bits each;
//! 4. the time of change: seconds, 64 bits signed, and nanoseconds, 32 bits;
//! 5. the number of extended attributes, 32 bits, and each one's name and value, strings, sorted by name, without
//!    `security.selinux`; POSIX ACLs and capabilities are among them;
//! 6. of a file its length, 64 bits, and the BLAKE3 digest of its contents, 32 bytes (what `b3sum` prints; holes read
//!    as zeros); of a hard link the path of the file, of a symlink where it points, strings; of a device major and
//!    minor, 32 bits each.
//!
//! A device is a tree of one file with the empty path, mode, owner and times 0.
pub mod archive;
pub mod control;
pub mod entry;
pub mod escaped;
pub mod fault;
pub mod frame;
pub mod keys;
pub mod mover;
pub mod path;
pub mod report;
pub mod side;

mod activity;
mod at;
mod blocks;
mod bottleneck;
mod cancel;
mod channel;
mod compare;
mod counters;
mod draft;
mod findings;
mod limit;
mod listing;
mod metadata;
mod protocol;
mod read;
mod recollection;
mod relay;
mod remove;
mod root;
mod summing;
mod tls;
mod volume;
mod walk;
mod work;
mod write;
mod xattr;

pub use activity::{Activity, Load};
pub use bottleneck::{Bottleneck, Cause, bottleneck};
pub use control::{Control, ControlError};
pub use fault::Fault;
pub use keys::{ClientKeys, RunKeys};
pub use mover::DEFAULT_CONNECTIONS;
pub use recollection::Reading;
pub use relay::Relay;
pub use report::{
    Difference, DifferenceKind, EXAMPLES, Excuse, Finding, Inspection, Ownership, Progress, Reach,
    Recalled, Room, RoundKind, RoundSummary, TreeSummary, Verification, What,
};
pub use side::Side;

#[cfg(test)]
mod tests;
