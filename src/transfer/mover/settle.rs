//! The end of a round: hard links, then directories with their times, then the sync that makes all of it last.
use super::operation::Operation;
use super::round::fix;
use crate::transfer::compare::same_metadata;
use crate::transfer::entry::{Kind, Metadata};
use crate::transfer::fault::Fault;
use crate::transfer::metadata::Before;
use crate::transfer::path::TreePath;
use crate::transfer::root::{Parents, Root};
use crate::transfer::walk;
use crate::transfer::write::Writer;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What waits for the end of a round. Kept encoded: a million directories take 100 MB as values, 50 MB so.
#[derive(Default)]
pub(crate) struct Later {
    links: Vec<u8>,
    directories: Vec<u8>,
    /// Where each directory begins.
    starts: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
struct Directory {
    path: TreePath,
    metadata: Metadata,
    /// The attributes may be others than those that are wanted.
    xattrs_differ: bool,
}

#[derive(Serialize, Deserialize)]
struct Link {
    path: TreePath,
    first: TreePath,
}

impl Later {
    pub(crate) fn directory(
        &mut self,
        path: &TreePath,
        metadata: &Metadata,
        xattrs_differ: bool,
    ) -> Result<(), Fault> {
        self.starts.push(self.directories.len());
        let directory = Directory {
            path: path.clone(),
            metadata: metadata.clone(),
            xattrs_differ,
        };
        put(&mut self.directories, &directory)
    }

    pub(crate) fn link(&mut self, path: &TreePath, first: &TreePath) -> Result<(), Fault> {
        put(
            &mut self.links,
            &Link {
                path: path.clone(),
                first: first.clone(),
            },
        )
    }
}

fn put<T: Serialize>(list: &mut Vec<u8>, value: &T) -> Result<(), Fault> {
    *list = postcard::to_extend(value, std::mem::take(list))
        .map_err(|error| Fault::protocol(error.to_string()))?;
    Ok(())
}

pub(crate) fn settle(
    operation: &Operation<'_>,
    root: &Root,
    later: &Later,
    writer: &mut Writer<'_>,
) -> Result<(), Fault> {
    let (mut parents, mut first_parents) = (Parents::new(root), Parents::new(root));
    let mut rest = &later.links[..];
    while !rest.is_empty() {
        operation.cancel.check()?;
        let (link, after) = postcard::take_from_bytes::<Link>(rest)
            .map_err(|error| Fault::protocol(error.to_string()))?;
        rest = after;
        let first = match first_parents.stat(&link.first) {
            Ok(first) => first,
            // It changed while it was read and is left to the next round, and so are its other names.
            Err(Errno::NOENT) => {
                operation.note_changed(&link.path);
                continue;
            }
            Err(errno) => return Err(root.fault(&link.first, "stat", errno)),
        };
        let there = parents
            .stat(&link.path)
            .is_ok_and(|own| (own.st_dev, own.st_ino) == (first.st_dev, first.st_ino));
        if !there {
            writer.link(&link.path, &link.first, &mut first_parents)?;
        }
    }
    // Deepest first: a directory may take away the right to enter it.
    for start in later.starts.iter().rev() {
        operation.cancel.check()?;
        let encoded = later.directories.get(*start..).unwrap_or_default();
        let (directory, _) = postcard::take_from_bytes::<Directory>(encoded)
            .map_err(|error| Fault::protocol(error.to_string()))?;
        let now = parents
            .stat(&directory.path)
            .map_err(|errno| root.fault(&directory.path, "stat", errno))?;
        let mut now = walk::metadata(&now, Vec::new());
        now.xattrs.clone_from(&directory.metadata.xattrs);
        if directory.xattrs_differ || !same_metadata(&Kind::Directory, &directory.metadata, &now) {
            let before = if directory.xattrs_differ {
                Before::Any
            } else {
                Before::Same
            };
            fix(
                operation,
                root,
                &mut parents,
                &directory.path,
                &directory.metadata,
                before,
            )?;
        }
    }
    rustix::fs::syncfs(root.fd()).map_err(|errno| root.fault(&TreePath::root(), "syncfs", errno))
}
