//! Writes files to the target: aside, synced, then put in place.
use super::at::At;
use super::counters::{Counters, add};
use super::draft::{Desk, Draft, Waiting};
use super::entry::{Kind, Metadata};
use super::fault::Fault;
use super::findings::Findings;
use super::metadata::{Before, CallError, Place, apply};
use super::path::TreePath;
use super::report::What;
use super::root::{Parents, Root};
use super::work::Work;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Advice, AtFlags, FallocateFlags, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use std::ops::Range;

/// Small files are synced together: at most so many
const COMMIT_FILES: usize = 2048;
/// or so many bytes at once. More is faster, and is what a crash makes us send again.
const COMMIT_BYTES: u64 = 64 << 20;
/// Files from this size on are synced and put in place by themselves.
pub(crate) const LARGE: u64 = 8 << 20;

struct Written {
    waiting: Waiting,
    path: TreePath,
    size: u64,
}

/// One thread's desk in the working directory, and what lies on it ready to be put in place.
pub(crate) struct Writer<'a> {
    root: &'a Root,
    counters: &'a Counters,
    findings: &'a Findings,
    desk: Desk,
    ready: Vec<Written>,
    /// How many of them, in bytes, are not synced by themselves.
    unsynced: u64,
    parents: Parents<'a>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        root: &'a Root,
        work: &Work,
        number: usize,
        counters: &'a Counters,
        findings: &'a Findings,
    ) -> Result<Self, Fault> {
        let desk = Desk::new(work.desk(root, number)?, COMMIT_FILES);
        let parents = Parents::new(root);
        Ok(Self {
            root,
            counters,
            findings,
            desk,
            ready: Vec::new(),
            unsynced: 0,
            parents,
        })
    }

    /// Begins a file.
    pub(crate) fn begin(&mut self, path: &TreePath) -> Result<Draft, Fault> {
        let draft = self.desk.begin();
        draft.map_err(|errno| self.root.fault(path, "create", errno))
    }

    /// Throws a file away.
    pub(crate) fn discard(&self, draft: Draft) {
        self.desk.discard(draft);
    }

    /// Ends a file: its length, its metadata; large ones are synced.
    pub(crate) fn end(
        &mut self,
        draft: Draft,
        path: TreePath,
        size: u64,
        metadata: &Metadata,
    ) -> Result<(), Fault> {
        let fault = |(call, errno): (&'static str, Errno)| self.root.fault(&path, call, errno);
        draft
            .finish(size)
            .map_err(|errno| fault(("ftruncate", errno)))?;
        let place = Place {
            path: &path,
            at: At::File(draft.file()),
        };
        apply(&place, metadata, Before::None, self.findings).map_err(fault)?;
        if size >= LARGE {
            rustix::fs::fsync(draft.file()).map_err(|errno| fault(("fsync", errno)))?;
            // What verifies it is to read the disk. Advice only.
            let _ = rustix::fs::fadvise(draft.file(), 0, None, Advice::DontNeed);
        } else {
            self.unsynced += size.max(1);
        }
        self.ready.push(Written {
            waiting: draft.wait(),
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
            rustix::fs::syncfs(self.desk.directory())
                .map_err(|errno| self.root.fault(&first.path, "syncfs", errno))?;
            self.unsynced = 0;
        }
        for written in &ready {
            self.put(&written.waiting, &written.path)?;
            add(&self.counters.files_moved, 1);
            add(&self.counters.bytes_moved, written.size);
        }
        Ok(())
    }

    fn put(&mut self, waiting: &Waiting, path: &TreePath) -> Result<(), Fault> {
        self.place(path, |desk, parent, name| desk.put(waiting, parent, name))
    }

    /// The same of what has a name on the desk.
    fn put_name(&mut self, own: &str, path: &TreePath) -> Result<(), Fault> {
        self.place(path, |desk, parent, name| desk.put_name(own, parent, name))
    }

    fn place(
        &mut self,
        path: &TreePath,
        put: impl FnOnce(&mut Desk, BorrowedFd<'_>, &[u8]) -> Result<(), CallError>,
    ) -> Result<(), Fault> {
        let parent = self
            .parents
            .of(path)
            .map_err(|errno| self.root.fault(path, "open", errno))?;
        put(&mut self.desk, parent, path.split().1)
            .map_err(|(call, errno)| self.root.fault(path, call, errno))
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
                let own = Mode::RUSR | Mode::WUSR;
                At::Name(parent, name).chmod(own).and_then(|()| open())
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
        draft
            .finish(size)
            .map_err(|errno| self.root.fault(path, "ftruncate", errno))?;
        let file = draft.file().try_clone_to_owned().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::MFILE);
            self.root.fault(path, "dup", errno)
        })?;
        self.put(&draft.wait(), path)?;
        Ok(file)
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
        let at = At::File(file.as_fd());
        let place = Place { path, at };
        apply(&place, metadata, before, self.findings).map_err(fault)
    }

    /// Makes a symlink, pipe or device node; in the place of what is there, unless that is a directory.
    pub(crate) fn make_special(
        &mut self,
        path: &TreePath,
        kind: &Kind,
        metadata: &Metadata,
    ) -> Result<(), Fault> {
        let name = self.desk.take_name();
        let node = |kind, major, minor| {
            rustix::fs::mknodat(
                self.desk.directory(),
                &name[..],
                kind,
                Mode::RUSR | Mode::WUSR,
                makedev(major, minor),
            )
        };
        let (call, made) = match kind {
            Kind::Symlink { to } => (
                "symlink",
                rustix::fs::symlinkat(&to[..], self.desk.directory(), &name[..]),
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
        let at = At::Name(self.desk.directory(), name.as_bytes());
        let place = Place { path, at };
        apply(&place, metadata, Before::None, self.findings)
            .map_err(|(call, errno)| self.root.fault(path, call, errno))?;
        self.put_name(&name, path)?;
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
        let name = self.desk.take_name();
        let directory = parents
            .of(first)
            .map_err(|errno| self.root.fault(first, "open", errno))?;
        match rustix::fs::linkat(
            directory,
            first.split().1,
            self.desk.directory(),
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
        self.put_name(&name, path)?;
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
        let xattrs = super::xattr::XattrReader::default().read(At::File(from.as_fd()));
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
        self.end(draft, path.clone(), position, &metadata)?;
        self.commit()
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

/// Has the kernel begin to write what was put here to the disk, and does not wait for it: else the disk has nothing to do
/// until the file is synced, and whoever syncs it nothing but to wait. Advice only, whose first effect is this one
/// (`generic_fadvise` in Linux's `mm/fadvise.c`); its other is meant, too: what verifies a copy is to read the disk.
pub(crate) fn begin_writeback(file: BorrowedFd<'_>, range: Range<u64>) {
    let length = std::num::NonZeroU64::new(range.end - range.start);
    let _ = rustix::fs::fadvise(file, range.start, length, Advice::DontNeed);
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
