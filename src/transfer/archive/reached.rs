//! Where an archive has to be read from, when the first of what it holds is there already.
//!
//! An index does not tell where a member begins, but how long one is follows from its entry, unless its file has holes:
//! what the tar leaves out of it is known to the tar alone. So nothing is passed over where the members, taken without
//! holes, make another length than the tar has; nor before the next member was found where it should begin.
use super::head::{BLOCK, END, head};
use super::index::IndexReader;
use super::store::ObjectStore;
use super::unpack::{begin_of, unpack};
use super::{Archive, Objects, Part, as_member};
use crate::transfer::cancel::Cancel;
use crate::transfer::entry::{Entry, Kind};
use crate::transfer::fault::Fault;

/// A member's header may go on in the next part.
const PARTS_OF_A_HEADER: usize = 2;

/// Where to begin.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Start {
    /// The byte of the tar.
    pub(super) at: u64,
    /// How many entries have their members before it.
    pub(super) before: u64,
    /// How many entries, from the first one on, are there already.
    pub(super) had: u64,
}

/// How long an entry's member is, if its file has no holes.
fn length(entry: &Entry) -> u64 {
    let contents = match entry.kind {
        Kind::File { size, .. } => size.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64),
        _ => 0,
    };
    contents.saturating_add(head(&as_member(entry), None).len() as u64)
}

/// The parts of an archive, and whether it has no file with holes.
pub(super) fn parts(mut index: IndexReader<'_>) -> Result<(Vec<Part>, bool), Fault> {
    let mut whole = END.len() as u64;
    while let Some(entry) = index.next()? {
        whole = whole.saturating_add(length(&entry));
    }
    let parts = index.into_parts()?;
    let tar: u64 = parts.iter().map(|part| part.tar).sum();
    Ok((parts, tar == whole))
}

/// Asks of one entry after the other whether it is there, to the first that is not: where its member is.
pub(super) fn reached(
    store: &dyn ObjectStore,
    objects: &Objects,
    archive: &Archive,
    parts: &[Part],
    cancel: &Cancel,
    mut has: impl FnMut(&Entry) -> Result<bool, Fault>,
) -> Result<Start, Fault> {
    let mut index = IndexReader::open(store, &objects.index, archive)?;
    let (mut at, mut had) = (0, 0);
    let next = loop {
        cancel.check()?;
        match index.next()? {
            Some(entry) if has(&entry)? => (at, had) = (at + length(&entry), had + 1),
            next => break next,
        }
    };
    let (part, _) = begin_of(parts, at);
    if part > 0 && begins(store, &objects.data, parts, at, next.as_ref())? {
        let before = had;
        return Ok(Start { at, before, had });
    }
    Ok(Start {
        had,
        ..Start::default()
    })
}

/// Whether the member of this entry begins at that byte of the tar, or its end, if there is none.
fn begins(
    store: &dyn ObjectStore,
    key: &str,
    parts: &[Part],
    at: u64,
    entry: Option<&Entry>,
) -> Result<bool, Fault> {
    let (first, _) = begin_of(parts, at);
    let parts = &parts[..parts.len().min(first + PARTS_OF_A_HEADER)];
    // What is no member there says nothing of the work.
    let looking = Cancel::default();
    let found = unpack(store, key, parts, at, &looking, |tar| {
        Ok(match (tar.next()?, entry) {
            (Some(member), Some(entry)) => member.is_of(entry),
            (member, entry) => member.is_none() && entry.is_none(),
        })
    });
    match found {
        Err(Fault::Damaged { .. }) => Ok(false),
        found => found,
    }
}
