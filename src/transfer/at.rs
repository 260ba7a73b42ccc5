//! An entry of a tree, as the calls that read and set what belongs to it take it.
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Where the entry is. Nothing here goes through a symlink that the entry is, or became.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    /// An open file, which need not have a name.
    File(BorrowedFd<'a>),
    /// The name of anything, in an open directory.
    Name(BorrowedFd<'a>, &'a [u8]),
}

impl At<'_> {
    /// What it is.
    pub(crate) fn stat(self) -> Result<Stat, Errno> {
        match self {
            Self::File(file) => rustix::fs::fstat(file),
            Self::Name(directory, name) => {
                rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    pub(crate) fn chown(self, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
        match self {
            Self::File(file) => rustix::fs::fchown(file, uid, gid),
            Self::Name(directory, name) => {
                rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    /// Not of a symlink, which has no mode of its own.
    pub(crate) fn chmod(self, mode: Mode) -> Result<(), Errno> {
        let (directory, name) = match self {
            Self::File(file) => return rustix::fs::fchmod(file, mode),
            Self::Name(directory, name) => (directory, name),
        };
        // `fchmodat` follows what became a symlink.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        let number = entry.as_raw_fd();
        rustix::fs::chmod(format!("/proc/self/fd/{number}"), mode)
    }

    pub(crate) fn set_times(self, times: &Timestamps) -> Result<(), Errno> {
        match self {
            Self::File(file) => rustix::fs::futimens(file, times),
            Self::Name(directory, name) => {
                rustix::fs::utimensat(directory, name, times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    /// The names of its extended attributes, each with a 0 at its end; how many bytes they take.
    pub(super) fn list_xattrs(self, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::File(file) => rustix::fs::flistxattr(file, into),
            Self::Name(directory, name) => rustix::fs::llistxattr(proc_path(directory, name), into),
        }
    }

    /// The value of an extended attribute; how many bytes it has.
    pub(super) fn xattr(self, xattr: &[u8], into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::File(file) => rustix::fs::fgetxattr(file, xattr, into),
            Self::Name(directory, name) => {
                rustix::fs::lgetxattr(proc_path(directory, name), xattr, into)
            }
        }
    }

    pub(super) fn set_xattr(self, xattr: &[u8], value: &[u8]) -> Result<(), Errno> {
        let flags = XattrFlags::empty();
        match self {
            Self::File(file) => rustix::fs::fsetxattr(file, xattr, value, flags),
            Self::Name(directory, name) => {
                rustix::fs::lsetxattr(proc_path(directory, name), xattr, value, flags)
            }
        }
    }

    pub(super) fn remove_xattr(self, xattr: &[u8]) -> Result<(), Errno> {
        match self {
            Self::File(file) => rustix::fs::fremovexattr(file, xattr),
            Self::Name(directory, name) => {
                rustix::fs::lremovexattr(proc_path(directory, name), xattr)
            }
        }
    }

    /// An open file or directory of the file system that it is on.
    pub(super) fn on(&self) -> BorrowedFd<'_> {
        match self {
            Self::File(open) | Self::Name(open, _) => *open,
        }
    }
}

/// The path of an entry by its open directory; the kernel has no `getxattrat` before 6.13.
fn proc_path(directory: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}
