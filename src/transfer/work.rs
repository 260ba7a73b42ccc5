//! The working directory of a run at the root of its target: what is being written, and the mark that the target is ours.
use super::at::At;
use super::cancel::Cancel;
use super::counters::Counters;
use super::entry::Kind;
use super::fault::Fault;
use super::path::TreePath;
use super::remove;
use super::report::{EXAMPLES, Inspection, Ownership};
use super::root::{DIRECTORY, Root};
use super::walk::{Walker, read_names};
use super::xattr;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Every run's working directory begins so.
const PREFIX: &[u8] = b".kubectl-migrate-";
/// The file in it that says whose it is.
const MARK: &[u8] = b"mark";
/// The mark's first line; another one is of another version and not ours.
const FIRST_LINE: &str = "kubectl-migrate working directory 1\n";

/// The name of a run's working directory.
pub(crate) fn name(run: &str) -> Vec<u8> {
    [PREFIX, run.as_bytes()].concat()
}

fn mark(run: &str) -> String {
    format!("{FIRST_LINE}{run}\n")
}

/// The run whose mark is in this directory of the root, if there is one.
fn owner(root: &Root, name: &[u8]) -> Option<String> {
    let directory = rustix::fs::openat(root.fd(), name, DIRECTORY, Mode::empty()).ok()?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, MARK, flags, Mode::empty()).ok()?;
    let mut text = vec![0; 256];
    let length = rustix::io::pread(file, &mut text[..], 0).ok()?;
    let text = std::str::from_utf8(&text[..length]).ok()?;
    let run = text.strip_prefix(FIRST_LINE)?.strip_suffix('\n')?;
    (name == [PREFIX, run.as_bytes()].concat()).then(|| run.to_owned())
}

/// What the volume holds, and whose it is.
pub(crate) fn inspect(
    root: &Root,
    run: &str,
    counters: &Counters,
    cancel: &Cancel,
) -> Result<Inspection, Fault> {
    let path = TreePath::root();
    let directory = root
        .open_directory(b"")
        .map_err(|errno| root.fault(&path, "open", errno))?;
    let mut runs = Vec::new();
    read_names(&directory, &mut Vec::new(), |name| {
        runs.extend(
            name.starts_with(PREFIX)
                .then(|| owner(root, name))
                .flatten(),
        );
        Ok(())
    })
    .map_err(|errno| root.fault(&path, "getdents", errno))?;
    let mut walker = Walker::new(root, b"");
    let mut found = Inspection {
        ownership: Ownership::Empty,
        entries: 0,
        bytes: 0,
        examples: Vec::new(),
    };
    while let Some(entry) = walker.next()? {
        cancel.check()?;
        let bytes = entry.path.as_bytes();
        if bytes.is_empty() {
            continue;
        }
        if runs.iter().any(|run| name(run) == bytes) {
            walker.skip();
            continue;
        }
        found.entries += 1;
        super::counters::add(&counters.entries, 1);
        if let Kind::File { size, .. } = entry.kind {
            found.bytes += size;
        }
        if found.examples.len() < EXAMPLES && !bytes.contains(&b'/') {
            found.examples.push(entry.path);
        }
    }
    let another = runs.iter().find(|theirs| *theirs != run);
    found.ownership = match another {
        _ if runs.iter().any(|theirs| theirs == run) => Ownership::Ours,
        Some(theirs) => Ownership::OtherRun(theirs.clone()),
        None if found.entries == 0 => Ownership::Empty,
        None => Ownership::Foreign,
    };
    Ok(found)
}

/// An open working directory.
pub(crate) struct Work {
    directory: OwnedFd,
}

impl Work {
    /// Opens the run's working directory; makes it, if the target is empty. Refuses a target that is not ours.
    pub(crate) fn open_or_make(root: &Root, run: &str, cancel: &Cancel) -> Result<Self, Fault> {
        let name = name(run);
        let path = TreePath::root().join(&name);
        if owner(root, &name).as_deref() != Some(run) {
            Self::remove_half_made(root, &name, &path, cancel)?;
            let found = inspect(root, run, &Counters::default(), cancel)?;
            if found.ownership != Ownership::Empty {
                return Err(Fault::Foreign {
                    entries: found.entries.max(1),
                    examples: found.examples,
                });
            }
            make(root, &name, run).map_err(|(call, errno)| root.fault(&path, call, errno))?;
        }
        let directory = rustix::fs::openat(root.fd(), &name[..], DIRECTORY, Mode::empty());
        let this = Self {
            directory: directory.map_err(|errno| root.fault(&path, "open", errno))?,
        };
        this.clear(root, &path, cancel)?;
        Ok(this)
    }

    /// A crash between making the directory and its mark leaves an empty one, or one with an empty mark.
    fn remove_half_made(
        root: &Root,
        name: &[u8],
        path: &TreePath,
        cancel: &Cancel,
    ) -> Result<(), Fault> {
        let Ok(directory) = rustix::fs::openat(root.fd(), name, DIRECTORY, Mode::empty()) else {
            return Ok(());
        };
        let mut only_the_mark = true;
        read_names(&directory, &mut Vec::new(), |inside| {
            only_the_mark &= inside == MARK;
            Ok(())
        })
        .map_err(|errno| root.fault(path, "getdents", errno))?;
        if only_the_mark {
            remove::remove(root, path, root.fd(), name, &Counters::default(), cancel)
        } else {
            Ok(())
        }
    }

    /// Deletes what an interrupted round left half written.
    fn clear(&self, root: &Root, path: &TreePath, cancel: &Cancel) -> Result<(), Fault> {
        let mut names = Vec::new();
        read_names(&self.directory, &mut Vec::new(), |name| {
            names.push(name.to_vec());
            Ok(())
        })
        .map_err(|errno| root.fault(path, "getdents", errno))?;
        // Not counted: these were never entries of the tree.
        let uncounted = Counters::default();
        names
            .iter()
            .filter(|name| name[..] != *MARK)
            .try_for_each(|name| {
                remove::remove(root, path, self.directory.as_fd(), name, &uncounted, cancel)
            })
    }

    /// A directory of its own for one thread.
    pub(crate) fn desk(&self, root: &Root, number: usize) -> Result<OwnedFd, Fault> {
        let name = number.to_string();
        let open = || {
            rustix::fs::mkdirat(&self.directory, &name[..], Mode::RWXU)?;
            rustix::fs::openat(&self.directory, &name[..], DIRECTORY, Mode::empty())
        };
        open().map_err(|errno| root.fault(&TreePath::root().join(name.as_bytes()), "mkdir", errno))
    }
}

fn make(root: &Root, name: &[u8], run: &str) -> Result<(), (&'static str, Errno)> {
    rustix::fs::mkdirat(root.fd(), name, Mode::RWXU).map_err(|errno| ("mkdir", errno))?;
    // A default ACL of the root would be handed down to everything that is written here.
    for acl in ["system.posix_acl_default", "system.posix_acl_access"] {
        xattr::remove(At::Name(root.fd(), name), acl.as_bytes())
            .map_err(|errno| ("removexattr", errno))?;
    }
    let directory = rustix::fs::openat(root.fd(), name, DIRECTORY, Mode::empty())
        .map_err(|errno| ("open", errno))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, MARK, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| ("open", errno))?;
    let text = mark(run);
    if rustix::io::write(&file, text.as_bytes()).map_err(|errno| ("write", errno))? < text.len() {
        return Err(("write", Errno::NOSPC));
    }
    rustix::fs::syncfs(&directory).map_err(|errno| ("syncfs", errno))
}

/// Removes the working directory; says whether there was one of this run.
pub(crate) fn remove_own(root: &Root, run: &str, cancel: &Cancel) -> Result<bool, Fault> {
    let name = name(run);
    if owner(root, &name).as_deref() != Some(run) {
        return Ok(false);
    }
    let path = TreePath::root().join(&name);
    remove::remove(root, &path, root.fd(), &name, &Counters::default(), cancel)?;
    Ok(true)
}
