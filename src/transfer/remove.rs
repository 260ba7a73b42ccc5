//! Deletes entries of the target, whole directories too, without following anything and without recursion.
use super::at::At;
use super::cancel::Cancel;
use super::counters::{Counters, add};
use super::fault::Fault;
use super::path::TreePath;
use super::root::{DIRECTORY, Root};
use super::walk::read_names;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

struct Level {
    directory: OwnedFd,
    /// Its name in the level above.
    name: Vec<u8>,
    names: Vec<Vec<u8>>,
}

/// Deletes one entry and all below it. `path` is for messages.
pub(crate) fn remove(
    root: &Root,
    path: &TreePath,
    parent: BorrowedFd<'_>,
    name: &[u8],
    counters: &Counters,
    cancel: &Cancel,
) -> Result<(), Fault> {
    let fault = |call: &str, errno| root.fault(path, call, errno);
    if unlink(parent, name, counters).map_err(|errno| fault("unlink", errno))? {
        return Ok(());
    }
    let mut buffer = Vec::new();
    let mut levels = vec![enter(parent, name, &mut buffer).map_err(|errno| fault("open", errno))?];
    while let Some(level) = levels.last_mut() {
        cancel.check()?;
        if let Some(name) = level.names.pop() {
            if !unlink(level.directory.as_fd(), &name, counters)
                .map_err(|errno| fault("unlink", errno))?
            {
                let below = enter(level.directory.as_fd(), &name, &mut buffer);
                let below = below.map_err(|errno| fault("open", errno))?;
                levels.push(below);
            }
            continue;
        }
        let Some(done) = levels.pop() else { break };
        let above = levels
            .last()
            .map_or(parent, |level| level.directory.as_fd());
        rustix::fs::unlinkat(above, &done.name[..], AtFlags::REMOVEDIR)
            .map_err(|errno| fault("rmdir", errno))?;
        add(&counters.deleted, 1);
    }
    Ok(())
}

/// Deletes all entries of the root but `lost+found` and those to keep.
pub(crate) fn empty(
    root: &Root,
    keep: impl Fn(&[u8]) -> bool,
    counters: &Counters,
    cancel: &Cancel,
) -> Result<(), Fault> {
    let path = TreePath::root();
    let directory = root
        .open_directory(b"")
        .map_err(|errno| root.fault(&path, "open", errno))?;
    let mut names = Vec::new();
    read_names(&directory, &mut Vec::new(), |name| {
        names.push(name.to_vec());
        Ok(())
    })
    .map_err(|errno| root.fault(&path, "getdents", errno))?;
    for name in names
        .iter()
        .filter(|name| name[..] != b"lost+found"[..] && !keep(name))
    {
        remove(
            root,
            &path.join(name),
            directory.as_fd(),
            name,
            counters,
            cancel,
        )?;
    }
    Ok(())
}

/// Whether it could be deleted; not if it is a directory.
fn unlink(directory: BorrowedFd<'_>, name: &[u8], counters: &Counters) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => {
            add(&counters.deleted, 1);
            Ok(true)
        }
        Err(Errno::ISDIR) => Ok(false),
        // POSIX's word for a directory; and what is not there needs no deleting.
        Err(Errno::PERM) if is_directory(directory, name) => Ok(false),
        Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(errno),
    }
}

fn is_directory(directory: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
    })
}

fn enter(parent: BorrowedFd<'_>, name: &[u8], buffer: &mut Vec<u8>) -> Result<Level, Errno> {
    if !rustix::process::geteuid().is_root() {
        // The owner may have taken its own rights away. If this fails, what follows says why.
        let _ = At::Name(parent, name).chmod(Mode::RWXU);
    }
    let directory = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
    let mut names = Vec::new();
    read_names(&directory, buffer, |name| {
        names.push(name.to_vec());
        Ok(())
    })?;
    Ok(Level {
        directory,
        name: name.to_vec(),
        names,
    })
}
