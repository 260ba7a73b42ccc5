//! A volume becomes an archive and its index: read once, from the first entry to the last.
use super::head::{BLOCK, END, head};
use super::index::IndexWriter;
use super::map::{Map, Stretch};
use super::pack::{Frames, pack};
use super::store::{ObjectStore, Upload};
use super::{Archive, FRAME, MOST_PARTS, MOST_TAR, Md5, Objects, Part, as_member, etag};
use crate::transfer::cancel::Cancel;
use crate::transfer::counters::{Counters, add};
use crate::transfer::entry::{Digest, Entry, Kind};
use crate::transfer::fault::Fault;
use crate::transfer::limit::Limiter;
use crate::transfer::path::TreePath;
use crate::transfer::read::{OpenFile, Opened, PIECE, hash_zeros};
use crate::transfer::report::{EXAMPLES, TreeSummary};
use crate::transfer::root::{Parents, Root};
use crate::transfer::summing::Summing;
use crate::transfer::volume::{Device, Opener, Volume};
use crate::transfer::walk::{Walker, metadata};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use std::collections::HashMap;
use std::time::Duration;

/// How often somebody who waits for his limit looks whether all was stopped.
const LOOK: Duration = Duration::from_millis(200);

/// What an archive is made with.
pub(crate) struct Making<'a> {
    pub(crate) volume: &'a Volume,
    pub(crate) cancel: &'a Cancel,
    pub(crate) counters: &'a Counters,
    /// Of what is read.
    pub(crate) limiter: &'a Limiter,
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) objects: &'a Objects,
    /// By which what was sent before is known to be of the same snapshot.
    pub(crate) mark: &'a str,
    /// Whether nobody should write: then a file that changes is an error.
    pub(crate) frozen: bool,
}

/// Makes both objects. What an earlier try has sent of them is not sent again.
pub(crate) fn make(making: &Making<'_>) -> Result<Archive, Fault> {
    make_of(making, tree)
}

fn make_of<F>(making: &Making<'_>, fill: F) -> Result<Archive, Fault>
where
    F: FnOnce(&mut Maker<'_, '_>) -> Result<(), Fault>,
{
    let data = making.store.begin(&making.objects.data, making.mark)?;
    let index = making.store.begin(&making.objects.index, making.mark)?;
    let produce = |frames: &Frames<'_>| {
        let mut maker = Maker::new(making, frames, &*index)?;
        fill(&mut maker)?;
        maker.finish()
    };
    let (made, parts) = pack(&*data, making.cancel, making.counters, produce)?;
    let indexed = made.index.finish(&parts)?;
    making.cancel.check()?;
    let sums: Vec<_> = parts.iter().map(|part| part.md5).collect();
    data.finish(&sums)?;
    index.finish(&indexed.sums)?;
    Ok(Archive {
        size: parts.iter().map(|part| part.size).sum(),
        parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
        etag: etag(sums.into_iter()),
        index_size: indexed.size,
        index_digest: indexed.hasher.finalize().into(),
        tree: made.tree,
        changed: made.changed.0,
        changed_examples: made.changed.1,
        sockets: made.sockets,
    })
}

/// Puts the whole volume.
fn tree(maker: &mut Maker<'_, '_>) -> Result<(), Fault> {
    let root = match maker.making.volume {
        Volume::Directory(root) => root,
        Volume::Device(device) => return maker.device(device),
    };
    fits(root, maker.making.cancel, MOST_TAR)?;
    let mut walker = Walker::new(root, b"");
    let mut parents = Parents::new(root);
    let mut opener = maker.making.volume.opener();
    while let Some(entry) = walker.next()? {
        maker.making.cancel.check()?;
        add(&maker.making.counters.entries, 1);
        maker.take(entry, &mut parents, &mut opener)?;
    }
    Ok(())
}

/// Refuses a volume that is known before to have too much on it. Its file system says how much is taken, by others than
/// this volume as well where they share one; only where that is too much all files are looked at.
fn fits(root: &Root, cancel: &Cancel, most: u64) -> Result<(), Fault> {
    let room = root
        .room()
        .map_err(|errno| root.fault(&TreePath::root(), "statvfs", errno))?;
    if room.bytes.saturating_sub(room.free_bytes) <= most {
        return Ok(());
    }
    let (mut walker, mut parents) = (Walker::new(root, b""), Parents::new(root));
    let mut sum: u64 = 0;
    while let Some(entry) = walker.next()? {
        cancel.check()?;
        if let Kind::File { size, .. } = entry.kind {
            // What went meanwhile counts for nothing, and holes take no room.
            let taken = parents
                .stat(&entry.path)
                .map_or(0, |stat| stat.st_blocks.cast_unsigned().saturating_mul(512));
            sum = sum.saturating_add(taken.min(size));
        }
        if sum > most {
            return Err(Fault::TooLarge { parts: MOST_PARTS });
        }
    }
    Ok(())
}

struct Made<'a> {
    tree: TreeSummary,
    changed: (u64, Vec<TreePath>),
    sockets: u64,
    index: IndexUpload<'a>,
}

struct Maker<'a, 'f> {
    making: &'a Making<'a>,
    frames: &'f Frames<'f>,
    /// The tar that is not a whole frame yet.
    frame: Vec<u8>,
    /// How much tar there is, with it.
    written: u64,
    index: IndexUpload<'a>,
    summing: Summing,
    changed: (u64, Vec<TreePath>),
    sockets: u64,
    buffer: Vec<u8>,
    /// Files of several names, by the first one that the walker saw.
    firsts: HashMap<TreePath, First>,
}

/// Where the contents of a file of several names are.
#[derive(Clone)]
struct First {
    path: TreePath,
    inode: Inode,
}

/// What tells a file from every other while it is there: its device and number.
type Inode = (u64, u64);

impl<'a, 'f> Maker<'a, 'f> {
    fn new(
        making: &'a Making<'a>,
        frames: &'f Frames<'f>,
        index: &'a dyn Upload,
    ) -> Result<Self, Fault> {
        Ok(Self {
            making,
            frames,
            frame: Vec::with_capacity(FRAME),
            written: 0,
            index: IndexUpload::new(index)?,
            summing: Summing::new(),
            changed: (0, Vec::new()),
            sockets: 0,
            buffer: vec![0; PIECE],
            firsts: HashMap::new(),
        })
    }

    /// Puts the next entry, as the walker saw it a moment ago.
    fn take(
        &mut self,
        entry: Entry,
        parents: &mut Parents<'_>,
        opener: &mut Opener<'_>,
    ) -> Result<(), Fault> {
        match entry.kind {
            Kind::Socket => {
                self.sockets += 1;
                Ok(())
            }
            Kind::File { .. } => self.file(entry, opener),
            Kind::HardLink { .. } => self.link(entry, parents, opener),
            _ => self.head_alone(entry),
        }
    }

    /// A device is one file.
    fn device(&mut self, device: &Device) -> Result<(), Fault> {
        if device.bytes > MOST_TAR {
            return Err(Fault::TooLarge { parts: MOST_PARTS });
        }
        add(&self.making.counters.entries, 1);
        let mut opener = self.making.volume.opener();
        self.file(device.entry(), &mut opener)
    }

    fn head_alone(&mut self, entry: Entry) -> Result<(), Fault> {
        self.put(&head(&entry, None))?;
        self.done(entry)
    }

    /// A further name of a file, as it is now: what had the first name when the walker was there may have gone or been
    /// replaced since, and then this name's contents are in the archive under no other.
    fn link(
        &mut self,
        mut entry: Entry,
        parents: &mut Parents<'_>,
        opener: &mut Opener<'_>,
    ) -> Result<(), Fault> {
        let Kind::HardLink { to } = &entry.kind else {
            return self.head_alone(entry);
        };
        let to = to.clone();
        let look = parents.of(&entry.path).and_then(|parent| {
            rustix::fs::statat(parent, entry.path.split().1, AtFlags::SYMLINK_NOFOLLOW)
        });
        let stat = match look {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.note_changed(entry.path);
                return Ok(());
            }
            Err(errno) => return Err(self.making.volume.fault(&entry.path, "stat", errno)),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return self.head_alone(entry);
        }
        match self.firsts.get(&to) {
            Some(first) if first.inode == (stat.st_dev, stat.st_ino) => {
                entry.kind = Kind::HardLink {
                    to: first.path.clone(),
                };
                self.head_alone(entry)
            }
            _ => {
                let path = entry.path.clone();
                self.note_changed(path.clone());
                entry.kind = Kind::File {
                    size: 0,
                    digest: None,
                };
                self.file(entry, opener)?;
                if let Some(first) = self.firsts.get(&path).cloned() {
                    self.firsts.insert(to, first);
                }
                Ok(())
            }
        }
    }

    /// A file as it is when it is opened, to its length of that moment. One that went since it was listed is left out.
    fn file(&mut self, mut entry: Entry, opener: &mut Opener<'_>) -> Result<(), Fault> {
        let volume = self.making.volume;
        let Opened::File(file) = OpenFile::open(volume, opener, &entry.path)? else {
            self.note_changed(entry.path);
            return Ok(());
        };
        if file.stat.st_nlink > 1 {
            let first = First {
                path: entry.path.clone(),
                inode: (file.stat.st_dev, file.stat.st_ino),
            };
            self.firsts.insert(entry.path.clone(), first);
        }
        let fault = |path: &TreePath, call: &str, errno| volume.fault(path, call, errno);
        if let Volume::Directory(_) = volume {
            entry.metadata = metadata(&file.stat, entry.metadata.xattrs);
        }
        entry.kind = Kind::File {
            size: file.size,
            digest: None,
        };
        let map = Map::of(&file).map_err(|(call, errno)| fault(&entry.path, call, errno))?;
        self.put(&head(&as_member(&entry), map.as_ref()))?;
        let whole = [Stretch {
            start: 0,
            length: file.size,
        }];
        let data = map.as_ref().map_or(&whole[..], |map| &map.data);
        add(&self.making.counters.bytes_to_move, file.size);
        self.making.counters.set_path(&entry.path);
        let (digest, whole) = self
            .contents(&file, data)
            .map_err(|error| error.into_fault(&|errno| fault(&entry.path, "read", errno)))?;
        let unchanged = file
            .is_unchanged()
            .map_err(|errno| fault(&entry.path, "fstat", errno))?;
        if !whole || !unchanged {
            self.note_changed(entry.path.clone());
        }
        let filled = self.written.next_multiple_of(BLOCK as u64) - self.written;
        self.zeros(filled)?;
        add(&self.making.counters.files_moved, 1);
        entry.kind = Kind::File {
            size: file.size,
            digest: Some(digest),
        };
        self.done(entry)
    }

    /// Puts a file's data; the digest of what was put, holes read as zeros, and whether all of it was there: zeros take
    /// the place of what went meanwhile.
    fn contents(&mut self, file: &OpenFile, data: &[Stretch]) -> Result<(Digest, bool), Failed> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = std::mem::take(&mut self.buffer);
        let (mut position, mut whole) = (0, true);
        for stretch in data {
            hash_zeros(&mut hasher, stretch.start - position);
            add(&self.making.counters.bytes_moved, stretch.start - position);
            position = stretch.start;
            let end = stretch.start + stretch.length;
            while position < end {
                self.making.cancel.check()?;
                let wanted = usize::try_from(end - position).map_or(PIECE, |left| left.min(PIECE));
                while !self.making.limiter.take(wanted as u64, LOOK) {
                    self.making.cancel.check()?;
                }
                let read = match rustix::io::pread(file.fd(), &mut buffer[..wanted], position) {
                    Err(Errno::INTR) => continue,
                    read => read?,
                };
                let read = if read == 0 {
                    whole = false;
                    buffer[..wanted].fill(0);
                    wanted
                } else {
                    read
                };
                hasher.update(&buffer[..read]);
                self.put(&buffer[..read])?;
                position += read as u64;
                add(&self.making.counters.bytes_moved, read as u64);
            }
        }
        hash_zeros(&mut hasher, file.size - position);
        add(&self.making.counters.bytes_moved, file.size - position);
        self.buffer = buffer;
        Ok((hasher.finalize().into(), whole))
    }

    fn done(&mut self, mut entry: Entry) -> Result<(), Fault> {
        // Reading changes it, so that the same tree would give another archive.
        entry.metadata.accessed = entry.metadata.modified;
        self.summing.add(&entry);
        self.index.add(entry)
    }

    fn note_changed(&mut self, path: TreePath) {
        self.changed.0 += 1;
        if self.changed.1.len() < EXAMPLES {
            self.changed.1.push(path);
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.frame.len()));
            self.frame.extend_from_slice(now);
            bytes = later;
            if self.frame.len() == FRAME {
                let full = std::mem::replace(&mut self.frame, Vec::with_capacity(FRAME));
                self.frames.put(full)?;
            }
        }
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> Result<(), Fault> {
        // Less than a block.
        self.put(&[0; BLOCK][..usize::try_from(count).unwrap_or(0)])
    }

    fn finish(mut self) -> Result<Made<'a>, Fault> {
        if self.making.frozen && self.changed.0 > 0 {
            let (count, examples) = self.changed;
            return Err(Fault::Changed { count, examples });
        }
        self.put(&END)?;
        let last = std::mem::take(&mut self.frame);
        if !last.is_empty() {
            self.frames.put(last)?;
        }
        Ok(Made {
            tree: self.summing.finish(),
            changed: self.changed,
            sockets: self.sockets,
            index: self.index,
        })
    }
}

/// Why contents could not be put.
enum Failed {
    Fault(Fault),
    Read(Errno),
}

impl Failed {
    fn into_fault(self, read: &dyn Fn(Errno) -> Fault) -> Fault {
        match self {
            Self::Fault(fault) => fault,
            Self::Read(errno) => read(errno),
        }
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        Self::Read(errno)
    }
}

/// What was sent of an index.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) size: u64,
    pub(super) hasher: blake3::Hasher,
    pub(super) sums: Vec<Md5>,
}

/// Writes an index, and sends its parts as they come.
pub(super) struct IndexUpload<'a> {
    writer: IndexWriter,
    upload: &'a dyn Upload,
    sent: Sent,
}

impl<'a> IndexUpload<'a> {
    pub(super) fn new(upload: &'a dyn Upload) -> Result<Self, Fault> {
        Ok(Self {
            writer: IndexWriter::new()?,
            upload,
            sent: Sent::default(),
        })
    }

    pub(super) fn add(&mut self, entry: Entry) -> Result<(), Fault> {
        match self.writer.add(entry)? {
            Some(part) => send(self.upload, &mut self.sent, part),
            None => Ok(()),
        }
    }

    pub(super) fn finish(mut self, parts: &[Part]) -> Result<Sent, Fault> {
        send(self.upload, &mut self.sent, self.writer.finish(parts)?)?;
        Ok(self.sent)
    }
}

fn send(upload: &dyn Upload, sent: &mut Sent, part: Vec<u8>) -> Result<(), Fault> {
    let (size, md5) = (part.len() as u64, Md5::of(&part));
    sent.size += size;
    sent.hasher.update(&part);
    sent.sums.push(md5);
    let number = u32::try_from(sent.sums.len()).unwrap_or(u32::MAX);
    if !upload.has(number, size, md5) {
        upload.put(number, part, md5)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests/links.rs"]
mod tests;
