//! The root of a volume, and ways to what is in it that cannot lead out of it.
use super::fault::Fault;
use super::path::TreePath;
use super::report::Room;
use super::side::Side;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::path::Path;

/// How directories are opened: never through a symlink.
pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An open volume root.
pub(crate) struct Root {
    directory: OwnedFd,
    side: Side,
}

impl Root {
    pub(crate) fn open(path: &Path, side: Side) -> Result<Self, Errno> {
        // The mount point itself may be reached by any path: it is the operator's, not the tree's.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            directory: rustix::fs::openat(CWD, path, flags, Mode::empty())?,
            side,
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(crate) fn room(&self) -> Result<Room, Errno> {
        room(self.fd())
    }

    /// Opens a directory of the volume.
    pub(crate) fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        if path.is_empty() {
            return rustix::fs::openat(&self.directory, ".", DIRECTORY, Mode::empty());
        }
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.directory, path, DIRECTORY, Mode::empty(), resolve) {
            // Old kernels and strict seccomp profiles lack openat2; a path may be longer than the kernel takes.
            Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG | Errno::AGAIN | Errno::INVAL) => {
                self.walk_to(path)
            }
            result => result,
        }
    }

    fn walk_to(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut names = path.split(|byte| *byte == b'/');
        let first = names.next().unwrap_or(b".");
        let mut directory = rustix::fs::openat(&self.directory, first, DIRECTORY, Mode::empty())?;
        for name in names {
            directory = rustix::fs::openat(&directory, name, DIRECTORY, Mode::empty())?;
        }
        Ok(directory)
    }

    /// Says what a failed system call means.
    pub(crate) fn fault(&self, path: &TreePath, call: &str, errno: Errno) -> Fault {
        let (side, path, call) = (self.side, path.clone(), call.to_owned());
        match errno {
            Errno::NOSPC | Errno::DQUOT => {
                let room = self.room().unwrap_or_default();
                Fault::Full {
                    path,
                    free_bytes: room.free_bytes,
                    free_inodes: room.free_inodes,
                }
            }
            Errno::ACCESS => Fault::NoRight {
                side,
                path,
                call,
                uid: rustix::process::geteuid().as_raw(),
            },
            other => Fault::Io {
                side,
                path,
                call,
                errno: other.raw_os_error(),
            },
        }
    }
}

/// The room of the file system that this is open on.
pub(crate) fn room(fd: BorrowedFd<'_>) -> Result<Room, Errno> {
    let stat = rustix::fs::fstatvfs(fd)?;
    Ok(Room {
        bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: stat.f_files,
        free_inodes: stat.f_favail,
    })
}

/// Opens parents of entries, keeping the last: listings come directory by directory.
pub(crate) struct Parents<'root> {
    root: &'root Root,
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl<'root> Parents<'root> {
    pub(crate) fn new(root: &'root Root) -> Self {
        Self { root, last: None }
    }

    /// The open directory that the entry is in. The entry's name comes from [`TreePath::split`].
    pub(crate) fn of(&mut self, path: &TreePath) -> Result<BorrowedFd<'_>, Errno> {
        let (parent, _) = path.split();
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            self.last = Some((parent.to_vec(), self.root.open_directory(parent)?));
        }
        self.last
            .as_ref()
            .map(|(_, directory)| directory.as_fd())
            .ok_or(Errno::NOENT)
    }

    /// Forgets the last one: it may be deleted and made anew.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// What is at the path, itself, not where it points.
    pub(crate) fn stat(&mut self, path: &TreePath) -> Result<Stat, Errno> {
        let parent = self.of(path)?;
        rustix::fs::statat(parent, path.split().1, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens a file to read it, without touching its time of reading where that is allowed, and without waiting should
    /// it have become a pipe.
    pub(crate) fn open_file(&mut self, path: &TreePath) -> Result<OwnedFd, Errno> {
        let parent = self.of(path)?;
        let name = path.split().1;
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => rustix::fs::openat(parent, name, flags, Mode::empty()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_symlink_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("secret")).unwrap();
        let volume = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(volume.path().join("a/b")).unwrap();
        symlink(outside.path(), volume.path().join("a/out")).unwrap();
        symlink("b", volume.path().join("a/in")).unwrap();
        let root = Root::open(volume.path(), Side::Target).unwrap();
        root.open_directory(b"a/b").unwrap();
        root.walk_to(b"a/b").unwrap();
        for path in [&b"a/out"[..], b"a/out/secret", b"a/in"] {
            root.open_directory(path).unwrap_err();
            root.walk_to(path).unwrap_err();
        }
        let link = TreePath::new(&b"a/out"[..]).unwrap();
        assert_eq!(
            Parents::new(&root).open_file(&link).unwrap_err(),
            Errno::LOOP
        );
    }

    #[test]
    fn a_failed_call_is_told_by_what_it_means() {
        let volume = tempfile::tempdir().unwrap();
        let root = Root::open(volume.path(), Side::Source).unwrap();
        let path = TreePath::new(&b"a\nb"[..]).unwrap();
        let no_right = root.fault(&path, "open", Errno::ACCESS).to_string();
        let uid = rustix::process::geteuid().as_raw();
        assert!(
            no_right.contains(&format!("uid {uid} ")) && no_right.contains("open a\\nb"),
            "{no_right}"
        );
        assert!(matches!(
            root.fault(&path, "write", Errno::DQUOT),
            Fault::Full { .. }
        ));
        let failed = root.fault(&path, "read", Errno::IO).to_string();
        assert!(
            failed.starts_with("read of a\\nb on the source failed: Input/output error"),
            "{failed}"
        );
    }
}
