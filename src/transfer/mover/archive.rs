//! Archives, from and to this mover's volume.
use super::operation::Operation;
use super::round::fix;
use super::settle::{Later, settle};
use super::source::name_is_free;
use super::{prune, verify};
use crate::transfer::activity::Station;
use crate::transfer::archive::{
    self, Archive, IndexReader, Listed, ObjectStore, Objects, members, missing_members,
};
use crate::transfer::counters::add;
use crate::transfer::entry::{Digest, Entry, Kind};
use crate::transfer::fault::Fault;
use crate::transfer::limit::Limiter;
use crate::transfer::metadata::Before;
use crate::transfer::path::TreePath;
use crate::transfer::read::{How, Piece, ToDigest};
use crate::transfer::recollection::Reading;
use crate::transfer::report::{Excuse, Phase, Verification};
use crate::transfer::root::{Parents, Root};
use crate::transfer::volume::{Device, Opener, Volume};
use crate::transfer::work::Work;
use crate::transfer::write::{Writer, write_at};
use rustix::fd::AsFd as _;
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

/// Beside a file there has to be this much for those that wait to be put in place.
const SPARE: u64 = 128 << 20;
/// Zeros are written in pieces of so many bytes.
const ZEROS: usize = 1 << 20;

/// What a client wants of an archive.
pub(super) struct Making<'a> {
    pub(super) store: &'a dyn ObjectStore,
    pub(super) objects: &'a Objects,
    pub(super) mark: &'a str,
    pub(super) frozen: bool,
    pub(super) limiter: &'a Limiter,
}

/// Makes an archive of the volume.
pub(super) fn make(operation: &Operation<'_>, making: &Making<'_>) -> Result<Archive, Fault> {
    if let Volume::Directory(root) = operation.volume {
        name_is_free(root, operation.run)?;
    }
    archive::make(&archive::Making {
        volume: operation.volume,
        cancel: operation.cancel,
        counters: operation.counters,
        limiter: making.limiter,
        store: making.store,
        objects: making.objects,
        mark: making.mark,
        frozen: making.frozen,
    })
}

/// Reads all of the volume, and puts what it is into a bucket.
pub(super) fn index(
    operation: &Operation<'_>,
    store: &dyn ObjectStore,
    objects: &Objects,
    mark: &str,
) -> Result<Archive, Fault> {
    let Volume::Directory(root) = operation.volume else {
        return Err(Fault::protocol("a directory"));
    };
    name_is_free(root, operation.run)?;
    operation.counters.set_phase(Phase::Verifying);
    archive::list(&Listed {
        volume: operation.volume,
        cancel: operation.cancel,
        counters: operation.counters,
        store,
        objects,
        mark,
    })
}

/// Reads an archive out of the bucket, and compares it with what was made.
pub(super) fn read_back(
    operation: &Operation<'_>,
    store: &dyn ObjectStore,
    objects: &Objects,
    archive: &Archive,
) -> Result<(), Fault> {
    operation.counters.set_phase(Phase::Verifying);
    let (cancel, counters) = (operation.cancel, operation.counters);
    members(store, objects, archive, cancel, counters, |_, contents| {
        contents.read(|_| cancel.check())
    })
}

/// Makes the volume what an archive holds. It is empty, or holds what this run has written before, out of the same
/// archive or an older one: what it should not hold goes, and a file that has the right contents already stays. Of an
/// archive that was written in part, the parts that are there whole are not read again.
pub(super) fn extract(
    operation: &Operation<'_>,
    store: &dyn ObjectStore,
    objects: &Objects,
    archive: &Archive,
) -> Result<(), Fault> {
    let root = match operation.volume {
        Volume::Directory(root) => root,
        Volume::Device(device) => return fill(operation, device, store, objects, archive),
    };
    let work = Work::open_or_make(root, operation.run, operation.cancel)?;
    let (cancel, counters) = (operation.cancel, operation.counters);
    prune::prune(operation, root, || {
        // Nothing is deleted by the word of an index that is not what was made.
        IndexReader::open(store, &objects.index, archive)?.into_parts()?;
        IndexReader::open(store, &objects.index, archive)
    })?;
    let mut extracting = Extracting {
        operation,
        root,
        writer: Writer::new(root, &work, 0, counters, &operation.findings)?,
        parents: Parents::new(root),
        opener: operation.volume.opener(),
        buffer: Vec::new(),
        later: Later::default(),
    };
    add(&counters.files_to_move, archive.tree.files);
    add(&counters.bytes_to_move, archive.tree.bytes);
    missing_members(
        store,
        objects,
        archive,
        cancel,
        counters,
        |entry, contents| match &entry.kind {
            Kind::File { .. } if entry.path.is_root() => Err(Fault::ShapeDiffers {
                source_shape: "device".into(),
                target_shape: "directory".into(),
            }),
            Kind::File { size, digest } => {
                if extracting.has(entry, *size, *digest)? {
                    return Ok(true);
                }
                let Some(contents) = contents else {
                    return Ok(false);
                };
                let made = extracting.file(entry, *size, |each| contents.read(each));
                made.map(|()| true)
            }
            _ => extracting.other(entry).map(|()| true),
        },
    )?;
    extracting.writer.commit()?;
    counters.set_phase(Phase::Settling);
    settle(operation, root, &extracting.later, &mut extracting.writer)
}

/// Fills a device, which the client has seen to be empty before the first byte.
fn fill(
    operation: &Operation<'_>,
    device: &Device,
    store: &dyn ObjectStore,
    objects: &Objects,
    archive: &Archive,
) -> Result<(), Fault> {
    let (cancel, counters) = (operation.cancel, operation.counters);
    let source_bytes = archive.tree.bytes;
    if source_bytes > device.bytes {
        return Err(Fault::TooSmall {
            source_bytes,
            target_bytes: device.bytes,
        });
    }
    let file = device
        .reopen(true)
        .map_err(|errno| device.fault("open", errno))?;
    let write = |offset: u64, bytes: &[u8]| {
        cancel.check()?;
        write_at(file.as_fd(), offset, bytes).map_err(|errno| device.fault("write", errno))
    };
    add(&counters.files_to_move, 1);
    add(&counters.bytes_to_move, source_bytes);
    let zeros = vec![0; ZEROS];
    members(
        store,
        objects,
        archive,
        cancel,
        counters,
        |entry, contents| {
            if !(entry.path.is_root() && matches!(entry.kind, Kind::File { .. })) {
                return Err(Fault::ShapeDiffers {
                    source_shape: "directory".into(),
                    target_shape: "device".into(),
                });
            }
            let mut position = 0;
            contents.read(|piece| match piece {
                Piece::Data { offset, bytes } => {
                    position = offset + bytes.len() as u64;
                    add(&counters.bytes_moved, bytes.len() as u64);
                    write(offset, bytes)
                }
                // What a device holds where nothing was written is not known.
                Piece::Hole { mut length } => {
                    add(&counters.bytes_moved, length);
                    while length > 0 {
                        let now = length.min(ZEROS as u64);
                        write(position, &zeros[..usize::try_from(now).unwrap_or(ZEROS)])?;
                        (position, length) = (position + now, length - now);
                    }
                    Ok(())
                }
            })
        },
    )?;
    add(&counters.files_moved, 1);
    counters.set_phase(Phase::Settling);
    rustix::fs::fsync(&file).map_err(|errno| device.fault("fsync", errno))
}

/// Compares what the volume holds with an archive's index.
pub(super) fn compare(
    operation: &Operation<'_>,
    store: &dyn ObjectStore,
    objects: &Objects,
    archive: &Archive,
    excused: &[Excuse],
) -> Result<Verification, Fault> {
    let mut index = IndexReader::open(store, &objects.index, archive)?;
    // A device may be larger than what it was filled with.
    let front = match operation.volume {
        Volume::Directory(_) => None,
        Volume::Device(device) => Some(Volume::Device(device.front(archive.tree.bytes))),
    };
    let compared = verify::against(
        operation,
        front.as_ref().unwrap_or(operation.volume),
        excused,
        Reading::Afresh,
        &Station::default(),
        || index.next(),
    )?;
    if compared.source == archive.tree {
        return Ok(compared);
    }
    let (found, wanted) = (compared.source.digest, archive.tree.digest);
    Err(Fault::Damaged {
        object: objects.index.clone(),
        what: format!("the digest of its tree is {found}, and should be {wanted}"),
    })
}

struct Extracting<'a> {
    operation: &'a Operation<'a>,
    root: &'a Root,
    writer: Writer<'a>,
    parents: Parents<'a>,
    opener: Opener<'a>,
    buffer: Vec<u8>,
    later: Later,
}

impl Extracting<'_> {
    /// Whether a file is there with these contents, as it is itself compared: then it is given what else it should
    /// have. One with several names is written anew, since they may not be those that it should have.
    fn has(&mut self, entry: &Entry, size: u64, digest: Option<Digest>) -> Result<bool, Fault> {
        let (path, operation) = (&entry.path, self.operation);
        let counters = operation.counters;
        let Ok(stat) = self.parents.stat(path) else {
            return Ok(false);
        };
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !regular || stat.st_nlink != 1 || u64::try_from(stat.st_size) != Ok(size) {
            return Ok(false);
        }
        counters.set_path(path);
        let (volume, how) = (operation.volume, How::default());
        let found = ToDigest::open(volume, &mut self.opener, path, how)?.digest(
            &Station::default(),
            volume,
            path,
            how,
            &mut self.buffer,
            |_| operation.cancel.check(),
        )?;
        if found.is_none() || found.map(|found| found.digest) != digest {
            return Ok(false);
        }
        fix(
            operation,
            self.root,
            &mut self.parents,
            path,
            &entry.metadata,
            Before::Any,
        )?;
        add(&counters.files_same, 1);
        add(&counters.bytes_moved, size);
        Ok(true)
    }

    /// Makes room for a file where there is none for it beside the one that is there: that is ours, by the mark on the
    /// target, and the archive has all of what takes its place.
    fn make_room(&mut self, path: &TreePath, size: u64) -> Result<(), Fault> {
        let root = self.root;
        let room = root.room();
        let room = room.map_err(|errno| root.fault(path, "statvfs", errno))?;
        if room.free_bytes >= size.saturating_add(SPARE) {
            return Ok(());
        }
        // What waits takes room, too.
        self.writer.commit()?;
        let parent = self.parents.of(path);
        let parent = parent.map_err(|errno| root.fault(path, "open", errno))?;
        match rustix::fs::unlinkat(parent, path.split().1, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(root.fault(path, "unlink", errno)),
        }
    }

    /// A file is put in place when its contents were compared with the index.
    fn file(
        &mut self,
        entry: &Entry,
        size: u64,
        read: impl FnOnce(&mut dyn FnMut(Piece<'_>) -> Result<(), Fault>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let path = &entry.path;
        self.operation.counters.set_path(path);
        self.make_room(path, size)?;
        let draft = self.writer.begin(path)?;
        let written = read(&mut |piece| {
            self.operation.cancel.check()?;
            match piece {
                Piece::Data { offset, bytes } => draft
                    .write(offset, bytes)
                    .map_err(|errno| self.root.fault(path, "write", errno)),
                Piece::Hole { .. } => Ok(()),
            }
        });
        if let Err(fault) = written {
            self.writer.discard(draft);
            return Err(fault);
        }
        self.writer.end(draft, path.clone(), size, &entry.metadata)
    }

    fn other(&mut self, entry: &Entry) -> Result<(), Fault> {
        let (root, path) = (self.root, &entry.path);
        match &entry.kind {
            Kind::Directory => {
                if !path.is_root() {
                    let parent = self.parents.of(path);
                    let parent = parent.map_err(|errno| root.fault(path, "open", errno))?;
                    match rustix::fs::mkdirat(parent, path.split().1, Mode::RWXU) {
                        // An earlier try made it. Should it be something else, what is put into it fails.
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(root.fault(path, "mkdir", errno)),
                    }
                    add(&self.operation.counters.others_made, 1);
                }
                self.later.directory(path, &entry.metadata, true)
            }
            Kind::HardLink { to } => self.later.link(path, to),
            _ => self.writer.make_special(path, &entry.kind, &entry.metadata),
        }
    }
}
