//! A volume as its mover sees it: a directory tree, or a device that is treated as one file at the root.
use super::entry::{Entry, Kind, Metadata, Time};
use super::fault::Fault;
use super::path::TreePath;
use super::report::{Room, Shape};
use super::root::{Parents, Root};
use super::side::Side;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// See the module.
pub(crate) enum Volume {
    Directory(Root),
    Device(Device),
}

/// A block device, or the image of one.
#[derive(Clone)]
pub(crate) struct Device {
    path: PathBuf,
    side: Side,
    pub(crate) bytes: u64,
}

impl Device {
    fn open(path: &Path, side: Side) -> Result<Self, Errno> {
        let mut this = Self {
            path: path.to_owned(),
            side,
            bytes: 0,
        };
        this.bytes = rustix::fs::seek(this.reopen(side == Side::Target)?, SeekFrom::End(0))?;
        Ok(this)
    }

    /// The same as if it ended after so many bytes: a target that is larger than its source keeps its rest.
    pub(crate) fn front(&self, bytes: u64) -> Self {
        Self {
            bytes: self.bytes.min(bytes),
            ..self.clone()
        }
    }

    pub(crate) fn reopen(&self, write: bool) -> Result<OwnedFd, Errno> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        rustix::fs::openat(CWD, &self.path, access | OFlags::CLOEXEC, Mode::empty())
    }

    pub(crate) fn fault(&self, call: &str, errno: Errno) -> Fault {
        let (side, path, call) = (self.side, TreePath::root(), call.to_owned());
        match errno {
            Errno::ACCESS | Errno::PERM => Fault::NoRight {
                side,
                path,
                call,
                uid: rustix::process::geteuid().as_raw(),
            },
            errno => Fault::Io {
                side,
                path,
                call,
                errno: errno.raw_os_error(),
            },
        }
    }

    /// The one entry of a device. Its node's owner and times belong to the node, not to the data.
    pub(crate) fn entry(&self) -> Entry {
        let metadata = Metadata {
            mode: 0,
            uid: 0,
            gid: 0,
            modified: Time::default(),
            accessed: Time::default(),
            xattrs: Vec::new(),
        };
        Entry {
            path: TreePath::root(),
            kind: Kind::File {
                size: self.bytes,
                digest: None,
            },
            metadata,
        }
    }
}

impl Volume {
    pub(crate) fn open(path: &Path, shape: Shape, side: Side) -> Result<Self, Errno> {
        match shape {
            Shape::Directory => Root::open(path, side).map(Self::Directory),
            Shape::Device => Device::open(path, side).map(Self::Device),
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Directory(_) => Shape::Directory,
            Self::Device(_) => Shape::Device,
        }
    }

    pub(crate) fn room(&self) -> Result<Room, Errno> {
        match self {
            Self::Directory(root) => root.room(),
            Self::Device(device) => Ok(Room {
                bytes: device.bytes,
                free_bytes: device.bytes,
                ..Room::default()
            }),
        }
    }

    pub(crate) fn fault(&self, path: &TreePath, call: &str, errno: Errno) -> Fault {
        match self {
            Self::Directory(root) => root.fault(path, call, errno),
            Self::Device(device) => device.fault(call, errno),
        }
    }

    /// What opens the files of this volume; one for each thread.
    pub(crate) fn opener(&self) -> Opener<'_> {
        match self {
            Self::Directory(root) => Opener::Directory(Parents::new(root)),
            Self::Device(device) => Opener::Device(device),
        }
    }
}

/// Opens files to read them.
pub(crate) enum Opener<'volume> {
    Directory(Parents<'volume>),
    Device(&'volume Device),
}

impl Opener<'_> {
    pub(crate) fn open(&mut self, path: &TreePath) -> Result<OwnedFd, Errno> {
        match self {
            Self::Directory(parents) => parents.open_file(path),
            Self::Device(device) if path.is_root() => device.reopen(false),
            Self::Device(_) => Err(Errno::NOENT),
        }
    }
}
