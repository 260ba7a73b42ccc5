//! An archive is read back: each member has to be the next entry of the index, with the contents that it names.
use super::index::IndexReader;
use super::reached::{self, Start};
use super::store::ObjectStore;
use super::tar::{Member, Tar};
use super::unpack::unpack;
use super::{Archive, Objects, Part, as_member};
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

impl Member {
    /// Whether it is the one of this entry of the index.
    pub(super) fn is_of(&self, entry: &Entry) -> bool {
        is_same(&self.entry, &as_member(entry))
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
    let parts = IndexReader::open(store, &objects.index, archive)?.into_parts()?;
    let reading = Reading {
        store,
        objects,
        archive,
        cancel,
        counters,
    };
    reading.from(Start::default(), &parts, &mut each)
}

/// The same of what is missing where it should come to: `each` is asked of one entry after the other without its
/// contents, whether it can do without them, and gets what it has first said no to, and all that comes after, with
/// them. The parts that hold nothing of that are not read.
pub(crate) fn missing_members(
    store: &dyn ObjectStore,
    objects: &Objects,
    archive: &Archive,
    cancel: &Cancel,
    counters: &Counters,
    mut each: impl FnMut(&Entry, Option<&mut Contents<'_, '_>>) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let (parts, dense) = reached::parts(IndexReader::open(store, &objects.index, archive)?)?;
    let start = if dense && parts.len() > 1 {
        reached::reached(store, objects, archive, &parts, cancel, |entry| {
            each(entry, None)
        })?
    } else {
        Start::default()
    };
    let reading = Reading {
        store,
        objects,
        archive,
        cancel,
        counters,
    };
    reading.from(start, &parts, &mut |entry, contents| {
        each(entry, Some(contents)).map(drop)
    })
}

/// An archive that is read.
struct Reading<'a> {
    store: &'a dyn ObjectStore,
    objects: &'a Objects,
    archive: &'a Archive,
    cancel: &'a Cancel,
    counters: &'a Counters,
}

impl Reading<'_> {
    /// From a member on. What is there already is compared with the index, and nobody hears of it.
    fn from(
        &self,
        start: Start,
        parts: &[Part],
        each: &mut dyn FnMut(&Entry, &mut Contents<'_, '_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Self {
            store,
            objects,
            archive,
            cancel,
            counters,
        } = *self;
        let damaged = |what: String| Fault::Damaged {
            object: objects.data.clone(),
            what,
        };
        let mut summing = Summing::new();
        let mut take = |entry: &Entry| {
            summing.add(entry);
            add(&counters.entries, 1);
            if let Kind::File { size, .. } = entry.kind {
                add(&counters.files_checked, 1);
                add(&counters.bytes_checked, size);
            }
        };
        unpack(store, &objects.data, parts, start.at, cancel, |tar| {
            // Once more: it is small, and a million entries need not be held.
            let mut index = IndexReader::open(store, &objects.index, archive)?;
            let mut number = 0;
            loop {
                cancel.check()?;
                let entry = index.next()?;
                if let Some(entry) = entry.as_ref().filter(|_| number < start.before) {
                    take(entry);
                    number += 1;
                    continue;
                }
                let (member, entry) = match (tar.next()?, entry) {
                    (None, None) => return Ok(()),
                    (Some(member), Some(entry)) => (member, entry),
                    (Some(Member { entry, .. }), None) | (None, Some(entry)) => {
                        return Err(damaged(format!(
                            "{} is either in it or in its index alone",
                            entry.path
                        )));
                    }
                };
                if !member.is_of(&entry) {
                    return Err(damaged(format!(
                        "its member {} is not what the index has in its place, {}",
                        member.entry.path, entry.path
                    )));
                }
                let mut contents = Contents {
                    tar,
                    member: &member,
                    entry: &entry,
                    object: &objects.data,
                    read: false,
                };
                if number >= start.had {
                    each(&entry, &mut contents)?;
                }
                if !contents.read {
                    contents.read(|_| Ok(()))?;
                }
                take(&entry);
                number += 1;
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
