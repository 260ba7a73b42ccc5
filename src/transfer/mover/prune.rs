//! Takes away what an archive does not have, or has as something else, before it is unpacked over what is there.
use super::operation::Operation;
use crate::transfer::archive::IndexReader;
use crate::transfer::at::At;
use crate::transfer::entry::{Entry, Kind};
use crate::transfer::fault::Fault;
use crate::transfer::path::TreePath;
use crate::transfer::remove;
use crate::transfer::root::{Parents, Root};
use crate::transfer::walk::Walker;
use crate::transfer::work;
use rustix::fs::Mode;
use std::cmp::Ordering;

/// Deletes what is on the volume and not in the index, and whatever is a directory on one side alone. All else is written
/// over in its place.
pub(super) fn prune<'a>(
    operation: &Operation<'_>,
    root: &Root,
    open: impl FnOnce() -> Result<IndexReader<'a>, Fault>,
) -> Result<(), Fault> {
    let mut walker = Walker::new(root, &work::name(operation.run));
    // The root is there, and in every archive.
    walker.next()?;
    let Some(first) = walker.next()? else {
        return Ok(());
    };
    let mut index = open()?;
    let mut pruning = Pruning {
        operation,
        root,
        parents: Parents::new(root),
    };
    let (mut wanted, mut there) = (index.next()?, Some(first));
    while let Some(old) = there.take() {
        operation.cancel.check()?;
        let order = match &wanted {
            Some(entry) => entry.path.cmp(&old.path),
            None => Ordering::Greater,
        };
        match order {
            Ordering::Less => {
                wanted = index.next()?;
                there = Some(old);
                continue;
            }
            Ordering::Greater => {
                walker.skip();
                pruning.delete(&old.path)?;
            }
            Ordering::Equal => {
                let directory = wanted.as_ref().map(|entry| entry.kind == Kind::Directory);
                match (directory, &old.kind) {
                    (Some(true), Kind::Directory) => pruning.open_up(&old)?,
                    (Some(false), Kind::Directory) => {
                        walker.skip();
                        pruning.delete(&old.path)?;
                    }
                    (Some(true), _) => pruning.delete(&old.path)?,
                    _ => {}
                }
                wanted = index.next()?;
            }
        }
        there = walker.next()?;
    }
    Ok(())
}

struct Pruning<'a> {
    operation: &'a Operation<'a>,
    root: &'a Root,
    parents: Parents<'a>,
}

impl Pruning<'_> {
    fn delete(&mut self, path: &TreePath) -> Result<(), Fault> {
        let (root, operation) = (self.root, self.operation);
        let parent = self.parents.of(path);
        let parent = parent.map_err(|errno| root.fault(path, "open", errno))?;
        let name = path.split().1;
        remove::remove(
            root,
            path,
            parent,
            name,
            operation.counters,
            operation.cancel,
        )?;
        // What is made in its place later is another directory.
        self.parents.forget();
        Ok(())
    }

    /// Lets us work in a directory whose owner may not.
    fn open_up(&mut self, old: &Entry) -> Result<(), Fault> {
        if rustix::process::geteuid().is_root() || old.metadata.mode & 0o700 == 0o700 {
            return Ok(());
        }
        let (root, path) = (self.root, &old.path);
        let parent = self.parents.of(path);
        let parent = parent.map_err(|errno| root.fault(path, "open", errno))?;
        At::Name(parent, path.split().1)
            .chmod(Mode::RWXU)
            .map_err(|errno| root.fault(path, "chmod", errno))
    }
}
