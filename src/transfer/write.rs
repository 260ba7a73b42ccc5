//! Writes files to the target: under a temporary name, synced, then renamed into place.
use super::counters::{Counters, add};
use super::entry::{Kind, Metadata};
use super::fault::Fault;
use super::findings::Findings;
use super::metadata::{Before, Place, apply, chmod_itself};
use super::path::TreePath;
use super::report::What;
use super::root::{Parents, Root};
use super::work::Work;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Advice, AtFlags, FallocateFlags, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use std::cell::Cell;
use std::ops::Range;

/// Small files are synced together: at most so many
const COMMIT_FILES: usize = 2048;
/// or so many bytes at once. More is faster, and is what a crash makes us send again.
const COMMIT_BYTES: u64 = 64 << 20;
/// Files from this size on are synced and put in place by themselves.
pub(crate) const LARGE: u64 = 8 << 20;

struct Written {
    number: u64,
    path: TreePath,
    size: u64,
}

/// One thread's desk in the working directory, and what lies on it ready to be put in place.
pub(crate) struct Writer<'a> {
    root: &'a Root,
    counters: &'a Counters,
    findings: &'a Findings,
    desk: OwnedFd,
    next: u64,
    ready: Vec<Written>,
    /// How many of them, in bytes, are not synced by themselves.
    unsynced: u64,
    parents: Parents<'a>,
}

/// A file that is being written.
pub(crate) struct Draft {
    file: OwnedFd,
    number: u64,
    /// How long what was written makes it.
    length: Cell<u64>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        root: &'a Root,
        work: &Work,
        number: usize,
        counters: &'a Counters,
        findings: &'a Findings,
    ) -> Result<Self, Fault> {
        let desk = work.desk(root, number)?;
        let parents = Parents::new(root);
        Ok(Self {
            root,
            counters,
            findings,
            desk,
            next: 0,
            ready: Vec::new(),
            unsynced: 0,
            parents,
        })
    }

    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Begins a file.
    pub(crate) fn begin(&mut self, path: &TreePath) -> Result<Draft, Fault> {
        let number = self.take_number();
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(
            &self.desk,
            number.to_string(),
            flags,
            Mode::RUSR | Mode::WUSR,
        );
        Ok(Draft {
            file: file.map_err(|errno| self.root.fault(path, "create", errno))?,
            number,
            length: Cell::new(0),
        })
    }

    /// Throws a file away.
    pub(crate) fn discard(&self, draft: &Draft) {
        // If it stays, the next round clears it away.
        let _ = rustix::fs::unlinkat(&self.desk, draft.number.to_string(), AtFlags::empty());
    }

    /// Ends a file: its length, its metadata; large ones are synced.
    pub(crate) fn end(
        &mut self,
        draft: &Draft,
        path: TreePath,
        size: u64,
        metadata: &Metadata,
    ) -> Result<(), Fault> {
        let fault = |(call, errno): (&'static str, Errno)| self.root.fault(&path, call, errno);
        // A hole at the end has no data that would have made the file so long.
        if draft.length.get() != size {
            rustix::fs::ftruncate(&draft.file, size)
                .map_err(|errno| fault(("ftruncate", errno)))?;
        }
        let name = draft.number.to_string();
        let place = Place {
            path: &path,
            directory: self.desk.as_fd(),
            name: name.as_bytes(),
            file: Some(draft.file.as_fd()),
        };
        apply(&place, metadata, Before::None, self.findings).map_err(fault)?;
        if size >= LARGE {
            rustix::fs::fsync(&draft.file).map_err(|errno| fault(("fsync", errno)))?;
            // What verifies it is to read the disk. Advice only.
            let _ = rustix::fs::fadvise(&draft.file, 0, None, Advice::DontNeed);
        } else {
            self.unsynced += size.max(1);
        }
        self.ready.push(Written {
            number: draft.number,
            path,
            size,
        });
        if self.ready.len() >= COMMIT_FILES || self.unsynced >= COMMIT_BYTES || size >= LARGE {
            self.commit()
        } else {
            Ok(())
        }
    }

    /// Syncs what is ready and puts it in place.
    pub(crate) fn commit(&mut self) -> Result<(), Fault> {
        let ready = std::mem::take(&mut self.ready);
        let Some(first) = ready.first() else {
            return Ok(());
        };
        if self.unsynced > 0 {
            rustix::fs::syncfs(&self.desk)
                .map_err(|errno| self.root.fault(&first.path, "syncfs", errno))?;
            self.unsynced = 0;
        }
        for written in &ready {
            self.put(written.number, &written.path)?;
            add(&self.counters.files_moved, 1);
            add(&self.counters.bytes_moved, written.size);
        }
        Ok(())
    }

    fn put(&mut self, number: u64, path: &TreePath) -> Result<(), Fault> {
        let parent = self
            .parents
            .of(path)
            .map_err(|errno| self.root.fault(path, "open", errno))?;
        rustix::fs::renameat(&self.desk, number.to_string(), parent, path.split().1)
            .map_err(|errno| self.root.fault(path, "rename", errno))
    }

    /// Opens a file that is there, to write into it. None where that may not be: then it is made anew.
    pub(crate) fn open_in_place(&mut self, path: &TreePath) -> Result<Option<OwnedFd>, Fault> {
        let fault = |call: &str, errno| self.root.fault(path, call, errno);
        let parent = self
            .parents
            .of(path)
            .map_err(|errno| fault("open", errno))?;
        let name = path.split().1;
        let flags =
            OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || match rustix::fs::openat(parent, name, flags | OFlags::NOATIME, Mode::empty())
        {
            Err(Errno::PERM) => rustix::fs::openat(parent, name, flags, Mode::empty()),
            result => result,
        };
        let opened = match open() {
            // Its owner may have taken the right away. It goes again with the rest of the metadata.
            Err(Errno::ACCESS) => {
                chmod_itself(parent, name, Mode::RUSR | Mode::WUSR).and_then(|()| open())
            }
            result => result,
        };
        let file = match opened {
            Ok(file) => file,
            Err(Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::LOOP | Errno::NXIO) => {
                return Ok(None);
            }
            Err(errno) => return Err(fault("open", errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| fault("fstat", errno))?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(regular.then_some(file))
    }

    /// Makes a file of one hole and puts it in place, where it is filled. It is made in the working directory, so that
    /// it inherits no ACL.
    pub(crate) fn make_in_place(&mut self, path: &TreePath, size: u64) -> Result<OwnedFd, Fault> {
        let draft = self.begin(path)?;
        rustix::fs::ftruncate(&draft.file, size)
            .map_err(|errno| self.root.fault(path, "ftruncate", errno))?;
        self.put(draft.number, path)?;
        Ok(draft.file)
    }

    /// Sets the metadata of a file that is in place.
    pub(crate) fn describe(
        &mut self,
        file: &OwnedFd,
        path: &TreePath,
        metadata: &Metadata,
        before: Before,
    ) -> Result<(), Fault> {
        let fault = |(call, errno): (&'static str, Errno)| self.root.fault(path, call, errno);
        let directory = self
            .parents
            .of(path)
            .map_err(|errno| fault(("open", errno)))?;
        let place = Place {
            path,
            directory,
            name: path.split().1,
            file: Some(file.as_fd()),
        };
        apply(&place, metadata, before, self.findings).map_err(fault)
    }

    /// Makes a symlink, pipe or device node; in the place of what is there, unless that is a directory.
    pub(crate) fn make_special(
        &mut self,
        path: &TreePath,
        kind: &Kind,
        metadata: &Metadata,
    ) -> Result<(), Fault> {
        let number = self.take_number();
        let name = number.to_string();
        let node = |kind, major, minor| {
            rustix::fs::mknodat(
                &self.desk,
                &name[..],
                kind,
                Mode::RUSR | Mode::WUSR,
                makedev(major, minor),
            )
        };
        let (call, made) = match kind {
            Kind::Symlink { to } => (
                "symlink",
                rustix::fs::symlinkat(&to[..], &self.desk, &name[..]),
            ),
            Kind::Fifo => ("mkfifo", node(FileType::Fifo, 0, 0)),
            Kind::CharacterDevice { major, minor } => {
                ("mknod", node(FileType::CharacterDevice, *major, *minor))
            }
            Kind::BlockDevice { major, minor } => {
                ("mknod", node(FileType::BlockDevice, *major, *minor))
            }
            Kind::Directory | Kind::File { .. } | Kind::HardLink { .. } | Kind::Socket => {
                return Ok(());
            }
        };
        match made {
            Err(errno @ Errno::PERM) if !matches!(kind, Kind::Symlink { .. }) => {
                self.findings
                    .add(path, What::Device, format!("{call}: {errno}"));
                return Ok(());
            }
            made => made.map_err(|errno| self.root.fault(path, call, errno))?,
        }
        let place = Place {
            path,
            directory: self.desk.as_fd(),
            name: name.as_bytes(),
            file: None,
        };
        apply(&place, metadata, Before::None, self.findings)
            .map_err(|(call, errno)| self.root.fault(path, call, errno))?;
        self.put(number, path)?;
        add(&self.counters.others_made, 1);
        Ok(())
    }

    /// Makes `path` one more name of `first`. Where the file system has no hard links it becomes a copy, and a finding.
    pub(crate) fn link(
        &mut self,
        path: &TreePath,
        first: &TreePath,
        parents: &mut Parents<'_>,
    ) -> Result<(), Fault> {
        let number = self.take_number();
        let name = number.to_string();
        let directory = parents
            .of(first)
            .map_err(|errno| self.root.fault(first, "open", errno))?;
        match rustix::fs::linkat(
            directory,
            first.split().1,
            &self.desk,
            &name[..],
            AtFlags::empty(),
        ) {
            Err(errno @ (Errno::PERM | Errno::MLINK | Errno::NOTSUP | Errno::XDEV)) => {
                self.findings
                    .add(path, What::HardLink, format!("link: {errno}"));
                return self.copy(path, first, parents);
            }
            linked => linked.map_err(|errno| self.root.fault(path, "link", errno))?,
        }
        self.put(number, path)?;
        add(&self.counters.others_made, 1);
        Ok(())
    }

    fn copy(
        &mut self,
        path: &TreePath,
        first: &TreePath,
        parents: &mut Parents<'_>,
    ) -> Result<(), Fault> {
        let fault = |call: &str, errno| self.root.fault(path, call, errno);
        let from = parents
            .open_file(first)
            .map_err(|errno| fault("open", errno))?;
        let stat = rustix::fs::fstat(&from).map_err(|errno| fault("fstat", errno))?;
        let directory = parents.of(first).map_err(|errno| fault("open", errno))?;
        let xattrs = super::xattr::XattrReader::default().read(directory, first.split().1);
        let metadata =
            super::walk::metadata(&stat, xattrs.map_err(|errno| fault("listxattr", errno))?);
        let draft = self.begin(path)?;
        let (mut buffer, mut position) = (vec![0; super::read::PIECE], 0);
        loop {
            let count = rustix::io::pread(&from, &mut buffer[..], position);
            let count = count.map_err(|errno| self.root.fault(path, "read", errno))?;
            if count == 0 {
                break;
            }
            draft
                .write(position, &buffer[..count])
                .map_err(|errno| self.root.fault(path, "write", errno))?;
            position += count as u64;
        }
        self.end(&draft, path.clone(), position, &metadata)?;
        self.commit()
    }
}

impl Draft {
    /// Writes a piece.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        write_at(self.file.as_fd(), offset, bytes)?;
        let end = offset + bytes.len() as u64;
        self.length.set(self.length.get().max(end));
        Ok(())
    }
}

/// Writes all of it, at this place.
pub(crate) fn write_at(
    file: BorrowedFd<'_>,
    mut offset: u64,
    mut bytes: &[u8],
) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Writes zeros.
pub(crate) fn zero(file: BorrowedFd<'_>, mut range: Range<u64>) -> Result<(), Errno> {
    static ZEROS: [u8; 128 << 10] = [0; 128 << 10];
    while range.start < range.end {
        let length = usize::try_from(range.end - range.start)
            .unwrap_or(ZEROS.len())
            .min(ZEROS.len());
        write_at(file, range.start, &ZEROS[..length])?;
        range.start += length as u64;
    }
    Ok(())
}

/// Makes a hole; false where there can be none.
pub(crate) fn punch(file: BorrowedFd<'_>, range: Range<u64>) -> Result<bool, Errno> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    loop {
        match rustix::fs::fallocate(file, flags, range.start, range.end - range.start) {
            Ok(()) => return Ok(true),
            // This file system, or this device, cannot; or not at these offsets.
            Err(Errno::NOTSUP | Errno::NOSYS | Errno::NODEV | Errno::INVAL | Errno::PERM) => {
                return Ok(false);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
