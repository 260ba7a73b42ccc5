//! Files while they are written: nobody sees them in the tree before they are put in place, and nothing of them is left
//! when the mover dies.
use super::metadata::CallError;
use super::write::{begin_writeback, write_at};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FsWord, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::cell::Cell;

const OWN: Mode = Mode::RUSR.union(Mode::WUSR);
const NEW: OFlags = OFlags::RDWR
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// So much of a file is sent to the disk at a time while more of it comes.
const WRITEBACK: u64 = 16 << 20;

/// ext2 to ext4, XFS, Btrfs and tmpfs, by their numbers in Linux's `magic.h`. ZFS names such files as well, and waits for all
/// that it has to write with each (`zfs_link` in its `zfs_vnops_os.c`).
const NAMED_AT_ONCE: [FsWord; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994];
/// Movers have at most 17 desks, and other files open beside what waits on them.
const DESKS: u64 = 32;

/// One thread's directory for what has no place yet: threads that share one wait for each other in the kernel.
pub(crate) struct Desk {
    directory: OwnedFd,
    next: u64,
    /// Whether files have no name before they are put in place: of the three changes of a directory that a file costs
    /// with a number on the desk, one is left. ext4 copies 100,000 files of 4 KiB so in three quarters of the time.
    nameless: bool,
}

/// A file that is being written.
pub(crate) struct Draft {
    held: Held,
    /// How long what was written makes it.
    length: Cell<u64>,
    /// Up to where it is on its way to the disk.
    on_its_way: Cell<u64>,
}

enum Held {
    Nameless(OwnedFd),
    Numbered(OwnedFd, u64),
}

/// A file that is written, and waits for its place.
pub(crate) enum Waiting {
    /// Without its being open it would be gone.
    Nameless(OwnedFd),
    Numbered(u64),
}

impl Desk {
    /// As many files as `waiting` are put in place together.
    pub(crate) fn new(directory: OwnedFd, waiting: usize) -> Self {
        let mut this = Self {
            directory,
            next: 0,
            nameless: false,
        };
        let room = getrlimit(Resource::Nofile)
            .current
            .is_none_or(|most| most / DESKS >= waiting as u64);
        let known = |magic| NAMED_AT_ONCE.contains(&magic);
        let at_once = rustix::fs::fstatfs(&this.directory).is_ok_and(|told| known(told.f_type));
        this.nameless = room && at_once && this.names_what_had_none();
        this
    }

    /// Whether a file without a name can be made here, and given one: not without `/proc`. Nor where files can be given
    /// away by somebody who may not name them then, which is asked of one with setuid (`protected_hardlinks`).
    fn names_what_had_none(&mut self) -> bool {
        let name = self.take_name();
        self.make_nameless()
            .and_then(|file| {
                let (uid, gid) = (Uid::from_raw(1), Gid::from_raw(1));
                if rustix::fs::fchown(&file, Some(uid), Some(gid)).is_ok() {
                    // If this may not be done, neither may it later.
                    let _ = rustix::fs::fchmod(&file, Mode::from_raw_mode(0o6711));
                }
                name_it(&file, self.directory.as_fd(), name.as_bytes())
            })
            .and_then(|()| rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()))
            .is_ok()
    }

    fn make_nameless(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, ".", flags, OWN)
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// A name that nothing on the desk has.
    pub(crate) fn take_name(&mut self) -> String {
        self.take_number().to_string()
    }

    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Begins a file, which inherits no ACL: the desk has none to hand down.
    pub(crate) fn begin(&mut self) -> Result<Draft, Errno> {
        let held = if self.nameless {
            Held::Nameless(self.make_nameless()?)
        } else {
            let number = self.take_number();
            let file = rustix::fs::openat(&self.directory, number.to_string(), NEW, OWN)?;
            Held::Numbered(file, number)
        };
        Ok(Draft {
            held,
            length: Cell::new(0),
            on_its_way: Cell::new(0),
        })
    }

    /// Throws a file away.
    pub(crate) fn discard(&self, draft: Draft) {
        if let Waiting::Numbered(number) = draft.wait() {
            // If it stays, the next round clears it away.
            let _ = rustix::fs::unlinkat(&self.directory, number.to_string(), AtFlags::empty());
        }
    }

    /// Puts a file in place; in the place of what is there, unless that is a directory.
    pub(crate) fn put(
        &mut self,
        waiting: &Waiting,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<(), CallError> {
        let number = match waiting {
            Waiting::Numbered(number) => number.to_string(),
            Waiting::Nameless(file) => match name_it(file, parent, name) {
                // A new name takes nothing's place.
                Err(Errno::EXIST) => {
                    let number = self.take_name();
                    name_it(file, self.directory.as_fd(), number.as_bytes())
                        .map_err(|errno| ("link", errno))?;
                    number
                }
                named => return named.map_err(|errno| ("link", errno)),
            },
        };
        self.put_name(&number, parent, name)
    }

    /// Puts what has a name on the desk in place.
    pub(crate) fn put_name(
        &self,
        own: &str,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<(), CallError> {
        rustix::fs::renameat(&self.directory, own, parent, name).map_err(|errno| ("rename", errno))
    }
}

/// Gives an open file a name. By `/proc`, as `open(2)` shows it: `AT_EMPTY_PATH` asks for a capability more.
fn name_it(file: &OwnedFd, directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(
        rustix::fs::CWD,
        own,
        directory,
        name,
        AtFlags::SYMLINK_FOLLOW,
    )
}

impl Draft {
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        match &self.held {
            Held::Nameless(file) | Held::Numbered(file, _) => file.as_fd(),
        }
    }

    /// Writes a piece.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        write_at(self.file(), offset, bytes)?;
        let end = offset + bytes.len() as u64;
        self.length.set(self.length.get().max(end));
        let begun = self.on_its_way.get();
        if end >= begun + WRITEBACK {
            begin_writeback(self.file(), begun..end);
            self.on_its_way.set(end);
        }
        Ok(())
    }

    /// Makes it this long: a hole at the end has no data that would have done it.
    pub(crate) fn finish(&self, size: u64) -> Result<(), Errno> {
        if self.length.get() == size {
            return Ok(());
        }
        rustix::fs::ftruncate(self.file(), size)
    }

    /// Nothing more is written to it.
    pub(crate) fn wait(self) -> Waiting {
        match self.held {
            Held::Nameless(file) => Waiting::Nameless(file),
            Held::Numbered(_, number) => Waiting::Numbered(number),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::path::Path;

    fn desk(volume: &Path, waiting: usize) -> Desk {
        let own = volume.join("desk");
        std::fs::create_dir(&own).unwrap();
        Desk::new(std::fs::File::open(own).unwrap().into(), waiting)
    }

    fn written(desk: &mut Desk, bytes: &[u8]) -> Waiting {
        let draft = desk.begin().unwrap();
        draft.write(0, bytes).unwrap();
        draft.finish(bytes.len() as u64 + 1).unwrap();
        draft.wait()
    }

    /// With a number on the desk where so many files cannot be open.
    fn each_way(test: impl Fn(&Path, &mut Desk)) {
        for (waiting, nameless) in [(1, true), (usize::MAX, false)] {
            let volume = tempfile::tempdir().unwrap();
            let mut desk = desk(volume.path(), waiting);
            assert_eq!(desk.nameless, nameless);
            test(volume.path(), &mut desk);
            let left = std::fs::read_dir(volume.path().join("desk"))
                .unwrap()
                .count();
            assert_eq!(left, 0, "nameless: {nameless}");
        }
    }

    #[test]
    fn a_file_takes_the_place_of_anything_but_a_directory() {
        each_way(|volume, desk| {
            let root: OwnedFd = std::fs::File::open(volume).unwrap().into();
            std::fs::write(volume.join("elsewhere"), "whole").unwrap();
            std::fs::write(volume.join("file"), "before").unwrap();
            std::os::unix::fs::symlink("elsewhere", volume.join("link")).unwrap();
            std::fs::create_dir(volume.join("directory")).unwrap();
            for name in ["new", "file", "link"] {
                let waiting = written(desk, name.as_bytes());
                desk.put(&waiting, root.as_fd(), name.as_bytes()).unwrap();
                let now = std::fs::symlink_metadata(volume.join(name)).unwrap();
                assert!(now.is_file(), "{name}");
                assert_eq!(
                    std::fs::read(volume.join(name)).unwrap(),
                    format!("{name}\0").as_bytes()
                );
            }
            assert_eq!(std::fs::read(volume.join("elsewhere")).unwrap(), b"whole");
            let waiting = written(desk, b"file");
            let (_, refused) = desk.put(&waiting, root.as_fd(), b"directory").unwrap_err();
            assert_eq!(refused, Errno::ISDIR);
            for own in std::fs::read_dir(volume.join("desk")).unwrap() {
                std::fs::remove_file(own.unwrap().path()).unwrap();
            }
        });
    }

    #[test]
    fn a_file_that_is_thrown_away_is_gone() {
        each_way(|_, desk| {
            let draft = desk.begin().unwrap();
            draft.write(0, b"half").unwrap();
            desk.discard(draft);
        });
    }

    #[test]
    fn a_file_that_nobody_ends_takes_no_room() {
        let volume = tempfile::tempdir().unwrap();
        let mut desk = desk(volume.path(), 1);
        let draft = desk.begin().unwrap();
        draft.write(0, b"half").unwrap();
        // As when the process is killed.
        drop(draft);
        assert_eq!(
            std::fs::read_dir(volume.path().join("desk"))
                .unwrap()
                .count(),
            0
        );
    }
}
