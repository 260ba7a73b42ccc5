//! Walks a tree in canonical order, entry by entry, with the memory of one directory's names per level.
use super::at::At;
use super::entry::{Entry, Kind, Metadata, Time};
use super::fault::Fault;
use super::path::TreePath;
use super::root::{DIRECTORY, Root};
use super::xattr::XattrReader;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, RawDir, Stat, major, minor};
use rustix::io::Errno;
use std::collections::HashMap;

/// The names of one directory, in one allocation, sorted.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    places: Vec<(u32, u16)>,
    next: usize,
}

impl Names {
    fn push(&mut self, name: &[u8]) -> Result<(), Errno> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        self.bytes.extend_from_slice(name);
        self.places.push((start, length));
        Ok(())
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places
            .sort_unstable_by_key(|(start, length)| name_at(bytes, *start, *length));
    }

    fn take(&mut self) -> Option<&[u8]> {
        let (start, length) = *self.places.get(self.next)?;
        self.next += 1;
        Some(name_at(&self.bytes, start, length))
    }
}

fn name_at(bytes: &[u8], start: u32, length: u16) -> &[u8] {
    &bytes[start as usize..][..usize::from(length)]
}

struct Level {
    directory: OwnedFd,
    path: TreePath,
    names: Names,
}

/// See the module.
pub(crate) struct Walker<'root> {
    root: &'root Root,
    /// A name in the root that is passed over, besides `lost+found`.
    passed_over: Vec<u8>,
    levels: Vec<Level>,
    /// A directory that was returned and will be entered next.
    pending: Option<TreePath>,
    begun: bool,
    first_names: HashMap<(u64, u64), TreePath>,
    xattrs: XattrReader,
    buffer: Vec<u8>,
}

impl<'root> Walker<'root> {
    pub(crate) fn new(root: &'root Root, passed_over: &[u8]) -> Self {
        Self {
            root,
            passed_over: passed_over.to_vec(),
            levels: Vec::new(),
            pending: None,
            begun: false,
            first_names: HashMap::new(),
            xattrs: XattrReader::default(),
            buffer: Vec::with_capacity(64 << 10),
        }
    }

    /// Does not enter the directory that was returned last.
    pub(crate) fn skip(&mut self) {
        self.pending = None;
    }

    /// The next entry. What goes while the tree is walked is left out.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        if !self.begun {
            self.begun = true;
            let stat = rustix::fs::fstat(self.root.fd())
                .map_err(|errno| self.root.fault(&TreePath::root(), "fstat", errno))?;
            let xattrs = self.xattrs.read(At::Name(self.root.fd(), b"."));
            let xattrs =
                xattrs.map_err(|errno| self.root.fault(&TreePath::root(), "listxattr", errno))?;
            self.pending = Some(TreePath::root());
            let metadata = metadata(&stat, xattrs);
            return Ok(Some(Entry {
                path: TreePath::root(),
                kind: Kind::Directory,
                metadata,
            }));
        }
        if let Some(path) = self.pending.take() {
            self.enter(path)?;
        }
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.take() else {
                self.levels.pop();
                continue;
            };
            let path = level.path.join(name);
            match describe(
                &mut self.xattrs,
                &level.directory,
                name,
                &path,
                &mut self.first_names,
            ) {
                Ok(entry) => {
                    if entry.kind == Kind::Directory {
                        self.pending = Some(entry.path.clone());
                    }
                    return Ok(Some(entry));
                }
                Err((_, Errno::NOENT)) => {}
                Err((call, errno)) => return Err(self.root.fault(&path, call, errno)),
            }
        }
        Ok(None)
    }

    fn enter(&mut self, path: TreePath) -> Result<(), Fault> {
        let opened = match self.levels.last() {
            Some(level) => {
                rustix::fs::openat(&level.directory, path.split().1, DIRECTORY, Mode::empty())
            }
            None => self.root.open_directory(b""),
        };
        let directory = match opened {
            Ok(directory) => directory,
            // Went, or became something else: the next round sees it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(self.root.fault(&path, "open", errno)),
        };
        let mut names = Names::default();
        read_names(&directory, &mut self.buffer, |name| {
            let hidden = path.is_root() && (name == b"lost+found" || name == self.passed_over);
            if hidden { Ok(()) } else { names.push(name) }
        })
        .map_err(|errno| self.root.fault(&path, "getdents", errno))?;
        names.sort();
        self.levels.push(Level {
            directory,
            path,
            names,
        });
        Ok(())
    }
}

/// Calls for each name in the directory but `.` and `..`.
pub(crate) fn read_names(
    directory: &OwnedFd,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    buffer.clear();
    buffer.reserve(64 << 10);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            each(name)?;
        }
    }
    Ok(())
}

fn describe(
    reader: &mut XattrReader,
    directory: &OwnedFd,
    name: &[u8],
    path: &TreePath,
    first_names: &mut HashMap<(u64, u64), TreePath>,
) -> Result<Entry, (&'static str, Errno)> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| ("stat", errno))?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File {
            size: stat.st_size.cast_unsigned(),
            digest: None,
        },
        FileType::Symlink => {
            let to = rustix::fs::readlinkat(directory, name, Vec::new())
                .map_err(|errno| ("readlink", errno))?;
            Kind::Symlink {
                to: to.into_bytes(),
            }
        }
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharacterDevice {
            major: major(stat.st_rdev),
            minor: minor(stat.st_rdev),
        },
        FileType::BlockDevice => Kind::BlockDevice {
            major: major(stat.st_rdev),
            minor: minor(stat.st_rdev),
        },
        FileType::Socket => Kind::Socket,
        FileType::Unknown => return Err(("stat", Errno::INVAL)),
    };
    let shared = stat.st_nlink > 1 && !matches!(kind, Kind::Directory | Kind::Socket);
    let kind = match (shared, first_names.get(&(stat.st_dev, stat.st_ino))) {
        (true, Some(first)) => Kind::HardLink { to: first.clone() },
        (true, None) => {
            first_names.insert((stat.st_dev, stat.st_ino), path.clone());
            kind
        }
        (false, _) => kind,
    };
    let xattrs = reader
        .read(At::Name(directory.as_fd(), name))
        .map_err(|errno| ("listxattr", errno))?;
    Ok(Entry {
        path: path.clone(),
        kind,
        metadata: metadata(&stat, xattrs),
    })
}

/// Metadata as the kernel tells it.
pub(crate) fn metadata(stat: &Stat, xattrs: Vec<super::entry::Xattr>) -> Metadata {
    Metadata {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        accessed: time(stat.st_atime, stat.st_atime_nsec),
        xattrs,
    }
}

pub(crate) fn time(seconds: i64, nanoseconds: impl TryInto<u32>) -> Time {
    Time {
        seconds,
        nanoseconds: nanoseconds.try_into().unwrap_or(0),
    }
}
