//! An archive is read back: each member has to be the next entry of the index, with the contents that it names.
use super::index::IndexReader;
use super::store::ObjectStore;
use super::tar::{Member, Tar};
use super::unpack::unpack;
use super::{Archive, Objects, as_member};
use crate::transfer::cancel::Cancel;
use crate::transfer::counters::{Counters, add};
use crate::transfer::entry::{Entry, Kind};
use crate::transfer::fault::Fault;
use crate::transfer::read::Piece;
use crate::transfer::report::TreeSummary;
use crate::transfer::summing::Summing;

/// The contents of a member, to be read once.
pub(crate) struct Contents<'a, 't> {
    tar: &'a mut Tar<'t>,
    member: &'a Member,
    entry: &'a Entry,
    object: &'a str,
    read: bool,
}

impl Contents<'_, '_> {
    /// Hears of all of it; an error, if it is not what the index says.
    pub(crate) fn read(
        &mut self,
        each: impl FnMut(Piece<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.read = true;
        let found = self.tar.contents(self.member, each)?;
        match &self.entry.kind {
            Kind::File {
                digest: Some(wanted),
                ..
            } if *wanted != found => Err(Fault::Damaged {
                object: self.object.to_owned(),
                what: format!(
                    "its file {} has the digest {found}, and should have {wanted}",
                    self.entry.path
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// Reads an archive, member by member, and compares it with its index and what the manifest says of both.
pub(crate) fn members(
    store: &dyn ObjectStore,
    objects: &Objects,
    archive: &Archive,
    cancel: &Cancel,
    counters: &Counters,
    mut each: impl FnMut(&Entry, &mut Contents<'_, '_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let damaged = |what: String| Fault::Damaged {
        object: objects.data.clone(),
        what,
    };
    let mut summing = Summing::new();
    // Twice: it is small, and a million entries need not be held.
    let parts = IndexReader::open(store, &objects.index, archive)?.into_parts()?;
    unpack(store, &objects.data, &parts, cancel, |tar| {
        let mut index = IndexReader::open(store, &objects.index, archive)?;
        loop {
            cancel.check()?;
            let (member, entry) = match (tar.next()?, index.next()?) {
                (None, None) => return Ok(()),
                (Some(member), Some(entry)) => (member, entry),
                (Some(Member { entry, .. }), None) | (None, Some(entry)) => {
                    return Err(damaged(format!(
                        "{} is either in it or in its index alone",
                        entry.path
                    )));
                }
            };
            if !is_same(&member.entry, &as_member(&entry)) {
                return Err(damaged(format!(
                    "its member {} is not what the index has in its place, {}",
                    member.entry.path, entry.path
                )));
            }
            summing.add(&entry);
            add(&counters.entries, 1);
            let mut contents = Contents {
                tar,
                member: &member,
                entry: &entry,
                object: &objects.data,
                read: false,
            };
            each(&entry, &mut contents)?;
            if !contents.read {
                contents.read(|_| Ok(()))?;
            }
            if let Kind::File { size, .. } = entry.kind {
                add(&counters.files_checked, 1);
                add(&counters.bytes_checked, size);
            }
        }
    })?;
    let found = summing.finish();
    if found == archive.tree {
        Ok(())
    } else {
        let (found, wanted) = (found.digest, archive.tree.digest);
        Err(damaged(format!(
            "the digest of its tree is {found}, and should be {wanted}"
        )))
    }
}

/// Reads all of an archive and compares it with its manifest; `each` hears how many bytes of files were compared, and
/// may stop it.
///
/// # Errors
///
/// It is damaged, and where; or it cannot be read.
pub fn check(
    store: &dyn ObjectStore,
    objects: &Objects,
    archive: &Archive,
    mut each: impl FnMut(u64) -> Result<(), Fault>,
) -> Result<TreeSummary, Fault> {
    let (cancel, counters) = (Cancel::default(), Counters::default());
    members(
        store,
        objects,
        archive,
        &cancel,
        &counters,
        |_, contents| {
            contents.read(|piece| {
                each(match piece {
                    Piece::Data { bytes, .. } => bytes.len() as u64,
                    Piece::Hole { length } => length,
                })
            })
        },
    )?;
    Ok(archive.tree.clone())
}

/// Whether a member is this entry, but for its digest. A further name of a file has the file's attributes.
fn is_same(member: &Entry, entry: &Entry) -> bool {
    let kinds = match (&member.kind, &entry.kind) {
        (Kind::File { size, .. }, Kind::File { size: other, .. }) => size == other,
        (one, other) => one == other,
    };
    let (mut one, mut other) = (member.metadata.clone(), entry.metadata.clone());
    if matches!(entry.kind, Kind::HardLink { .. }) {
        (one.xattrs, other.xattrs) = (Vec::new(), Vec::new());
    }
    kinds && member.path == entry.path && one == other
}
