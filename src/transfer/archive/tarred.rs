//! A volume as the `tar` of a stranger tells it: where nothing of ours runs next to it.
//!
//! What comes is read strictly: every member is in a directory that came before it, comes once, and a further name is
//! one of a file that came before. So what is made of it for another `tar` leads nowhere but into its volume. The
//! entries are put into canonical order, and the first of several names is the file, so that the digest of the tree is
//! the one that a mover would give.
use super::head::{BLOCK, END, head};
use super::plain;
use super::tar::{Member, NextBytes, Tar};
use crate::transfer::compare::Merged;
use crate::transfer::entry::{Entry, Kind, Metadata};
use crate::transfer::fault::Fault;
use crate::transfer::findings::Findings;
use crate::transfer::path::TreePath;
use crate::transfer::read::Piece;
use crate::transfer::report::{Excuse, Finding, Recalled, TreeSummary, Verification, What};
use crate::transfer::side::Side;
use crate::transfer::summing::Summing;
use crate::transfer::work;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What fsck finds is no file of anybody.
const LOST_AND_FOUND: &[u8] = b"lost+found";
/// What is made is given away in pieces of about so many bytes.
const PIECE: usize = 1 << 20;

/// The highest owner that a plain `tar` tells: eight octal digits.
const MOST_OF_PLAIN: u32 = 0o77_777_777;

/// What a `tar` knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// GNU's: pax headers, nanoseconds, extended attributes, holes.
    Gnu,
    /// Another, such as busybox's: nothing of these.
    Plain,
}

/// Whose volume a tar is of.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// What it is called in messages.
    pub object: &'a str,
    /// The side.
    pub side: Side,
    /// The run, whose working directory on the target is passed over.
    pub run: &'a str,
}

/// Every entry of a volume.
#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<TreePath, Entry>,
    /// Further names, by the name that came first.
    links: BTreeMap<TreePath, Vec<TreePath>>,
    /// Files with holes.
    sparse: Vec<TreePath>,
}

/// How far a tar was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Read {
    /// Entries.
    pub entries: u64,
    /// Bytes of files, holes included.
    pub bytes: u64,
}

/// Reads a tar; `each` hears how far it has come.
///
/// # Errors
///
/// It is damaged, or not one of a volume; or no more comes.
pub fn read(
    origin: Origin<'_>,
    next: &mut NextBytes<'_>,
    each: &mut dyn FnMut(Read),
) -> Result<Tree, Fault> {
    members(origin, next, each, &mut |_, _| Ok(()), &mut |_| Ok(()))
}

/// Reads a tar, and makes one of it that another program is to unpack into an empty volume; `emit` is given that. A plain
/// `tar` has to unpack [`Tree::directories`] then.
///
/// # Errors
///
/// It is damaged, or not one of a volume; no more comes, or nobody takes what is made.
pub fn remake(
    origin: Origin<'_>,
    dialect: Dialect,
    next: &mut NextBytes<'_>,
    each: &mut dyn FnMut(Read),
    emit: &mut dyn FnMut(Vec<u8>) -> Result<(), Fault>,
) -> Result<Tree, Fault> {
    let out = std::cell::RefCell::new(Out {
        dialect,
        made: Vec::new(),
        written: 0,
        emit,
    });
    let tree = members(
        origin,
        next,
        each,
        &mut |entry, member| out.borrow_mut().begin(entry, member),
        &mut |piece| out.borrow_mut().piece(piece),
    )?;
    let mut out = out.into_inner();
    out.pad()?;
    out.write(&END)?;
    out.give()?;
    Ok(tree)
}

/// What is made of the members.
struct Out<'a> {
    dialect: Dialect,
    made: Vec<u8>,
    /// Bytes of contents since the last header.
    written: u64,
    emit: &'a mut dyn FnMut(Vec<u8>) -> Result<(), Fault>,
}

impl Out<'_> {
    fn begin(&mut self, entry: &Entry, member: &Member) -> Result<(), Fault> {
        self.pad()?;
        let header = match self.dialect {
            Dialect::Gnu => head(entry, member.map.as_ref()),
            Dialect::Plain => {
                let own = entry.metadata.mode;
                // Until its own is set, it has to be written to.
                let mode = match entry.kind {
                    Kind::Directory => own | 0o700,
                    _ => own,
                };
                plain::head(entry, mode)
            }
        };
        self.write(&header)
    }

    fn piece(&mut self, piece: Piece<'_>) -> Result<(), Fault> {
        match (piece, self.dialect) {
            (Piece::Data { bytes, .. }, _) => {
                self.written += bytes.len() as u64;
                self.write(bytes)
            }
            (Piece::Hole { .. }, Dialect::Gnu) => Ok(()),
            (Piece::Hole { length }, Dialect::Plain) => {
                self.written += length;
                self.zeros(length)
            }
        }
    }

    /// Fills the last block of the contents before.
    fn pad(&mut self) -> Result<(), Fault> {
        let rest = self.written.next_multiple_of(BLOCK as u64) - self.written;
        self.written = 0;
        self.zeros(rest)
    }

    fn zeros(&mut self, mut length: u64) -> Result<(), Fault> {
        let zeros = [0; 16 << 10];
        while length > 0 {
            let count = usize::try_from(length).map_or(zeros.len(), |left| left.min(zeros.len()));
            self.write(&zeros[..count])?;
            length -= count as u64;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.made.extend_from_slice(bytes);
        if self.made.len() >= PIECE {
            self.give()?;
        }
        Ok(())
    }

    fn give(&mut self) -> Result<(), Fault> {
        if self.made.is_empty() {
            return Ok(());
        }
        (self.emit)(std::mem::take(&mut self.made))
    }
}

/// Reads all members, and hears of each of them and of its contents.
fn members(
    origin: Origin<'_>,
    next: &mut NextBytes<'_>,
    each: &mut dyn FnMut(Read),
    begin: &mut dyn FnMut(&Entry, &Member) -> Result<(), Fault>,
    piece: &mut dyn FnMut(Piece<'_>) -> Result<(), Fault>,
) -> Result<Tree, Fault> {
    let own = work::name(origin.run);
    let mut tar = Tar::new(origin.object, next);
    let mut tree = Tree::default();
    let mut read = Read::default();
    while let Some(member) = tar.next_foreign()? {
        let path = &member.entry.path;
        let first = path.as_bytes().split(|byte| *byte == b'/').next();
        let own = first == Some(&own[..]);
        if own && origin.side == Side::Source {
            return Err(Fault::NameTaken { path: path.clone() });
        }
        if own || first == Some(LOST_AND_FOUND) {
            tar.contents(&member, |_| Ok(()))?;
            continue;
        }
        if let Err(why) = tree.admits(&member.entry) {
            let what = format!("its member {path} {why}");
            return Err(tar.damaged(&what));
        }
        begin(&member.entry, &member)?;
        if member.map.is_some() {
            tree.sparse.push(path.clone());
        }
        let mut entry = member.entry.clone();
        if let Kind::File { size, digest } = &mut entry.kind {
            let before = read.bytes;
            let found = tar.contents(&member, |part| {
                read.bytes += match part {
                    Piece::Data { bytes, .. } => bytes.len() as u64,
                    Piece::Hole { length } => length,
                };
                each(read);
                piece(part)
            })?;
            read.bytes = before + *size;
            *digest = Some(found);
        }
        read.entries += 1;
        each(read);
        tree.add(entry);
    }
    if !tree.entries.contains_key(&TreePath::root()) {
        return Err(tar.damaged("it has no root"));
    }
    tree.settle();
    Ok(tree)
}

impl Tree {
    /// Why an entry cannot come next.
    fn admits(&self, entry: &Entry) -> Result<(), &'static str> {
        let parent = TreePath::new(entry.path.split().0);
        let parent = parent.and_then(|parent| self.entries.get(&parent));
        let within = parent.is_some_and(|parent| parent.kind == Kind::Directory);
        if self.entries.contains_key(&entry.path) {
            return Err("comes twice");
        }
        if !within && !entry.path.is_root() {
            return Err("is in no directory that came before");
        }
        match &entry.kind {
            Kind::HardLink { to } => match self.entries.get(to).map(|file| &file.kind) {
                Some(Kind::Directory | Kind::HardLink { .. }) | None => {
                    Err("is a further name of no file that came before")
                }
                Some(_) => Ok(()),
            },
            kind if entry.path.is_root() && *kind != Kind::Directory => {
                Err("is its root, and no directory")
            }
            _ => Ok(()),
        }
    }

    /// Whether an entry is a symlink, or a further name of one.
    fn is_symlink(&self, entry: &Entry) -> bool {
        let kind = match &entry.kind {
            Kind::HardLink { to } => self.entries.get(to).map(|file| &file.kind),
            kind => Some(kind),
        };
        matches!(kind, Some(Kind::Symlink { .. }))
    }

    fn add(&mut self, entry: Entry) {
        if let Kind::HardLink { to } = &entry.kind {
            let names = self.links.entry(to.clone()).or_default();
            names.push(entry.path.clone());
        }
        self.entries.insert(entry.path.clone(), entry);
    }

    /// Of several names the first in canonical order is the file, and all have what the file has.
    fn settle(&mut self) {
        for (came_first, mut names) in std::mem::take(&mut self.links) {
            let Some(file) = self.entries.get(&came_first).cloned() else {
                continue;
            };
            names.push(came_first);
            names.sort();
            for name in &names {
                let kind = match (&names[0], &file.kind) {
                    (first, kind) if name == first => kind.clone(),
                    (first, _) => Kind::HardLink { to: first.clone() },
                };
                let entry = Entry {
                    path: name.clone(),
                    kind,
                    metadata: file.metadata.clone(),
                };
                self.entries.insert(name.clone(), entry);
            }
        }
    }

    /// A tar of the directories alone, for a plain `tar` to unpack when all is there: it sets a directory's mode and time
    /// when it meets it, and makes symlinks last.
    #[must_use]
    pub fn directories(&self) -> Vec<u8> {
        let all = self.entries.values().rev();
        let all = all.filter(|entry| entry.kind == Kind::Directory);
        let mut tar: Vec<u8> = all
            .flat_map(|entry| plain::head(entry, entry.metadata.mode))
            .collect();
        tar.extend(END);
        tar
    }

    /// The sum of it.
    #[must_use]
    pub fn summary(&self) -> TreeSummary {
        let mut summing = Summing::new();
        for entry in self.entries.values() {
            summing.add(entry);
        }
        summing.finish()
    }

    /// What of it a `tar` that is no GNU tar cannot tell again once it has unpacked it, and says nothing: an owner or a
    /// time.
    #[must_use]
    pub fn untold(&self) -> Option<String> {
        let mut entries = self.entries.values();
        entries.find_map(|entry| {
            let Metadata { uid, gid, .. } = entry.metadata;
            let seconds = entry.metadata.modified.seconds;
            if uid.max(gid) > MOST_OF_PLAIN {
                Some(format!("the owner {uid}:{gid} of {}", entry.path))
            } else {
                (seconds < 0).then(|| format!("the time {seconds} of {}", entry.path))
            }
        })
    }

    /// What a `tar` that is no GNU tar loses of it: what it did not tell of the source, and what it does not keep on the
    /// target.
    #[must_use]
    pub fn lost(&self, source: Dialect, target: Dialect) -> Vec<Finding> {
        let findings = Findings::default();
        if source == Dialect::Plain {
            let root = TreePath::root();
            let why = "the source's `tar` tells whole seconds, not what is finer";
            findings.add(&root, What::Fraction, why);
            findings.more(&What::Fraction, why, self.entries.len() as u64);
            let any = What::Xattr(b"*".to_vec());
            let why = "the source's `tar` tells no extended attributes, ACLs and capabilities: whether there were any is not known";
            findings.add(&root, any.clone(), why);
            findings.more(&any, why, self.entries.len() as u64);
            let why = "the source's `tar` tells no holes, which became zeros";
            findings.add(&root, What::Holes, why);
        }
        if target == Dialect::Plain {
            for entry in self.entries.values() {
                let (path, metadata) = (&entry.path, &entry.metadata);
                if metadata.modified.nanoseconds != 0 {
                    let why = "the target's `tar` keeps whole seconds, not what is finer";
                    findings.add(path, What::Fraction, why);
                }
                for xattr in &metadata.xattrs {
                    let why = "the target's `tar` keeps no extended attributes";
                    findings.add(path, What::Xattr(xattr.name.clone()), why);
                }
                let symlink = matches!(entry.kind, Kind::Symlink { .. });
                if symlink {
                    let why = "the target's `tar` sets no times of symlinks";
                    findings.add(path, What::LinkTime, why);
                }
            }
            for path in &self.sparse {
                let why = "the target's `tar` keeps no holes, which became zeros";
                findings.add(path, What::Holes, why);
            }
        }
        findings.list()
    }
}

/// Takes from two entries of a path what the tars between them do not know.
fn known_to(
    dialects: [Dialect; 2],
    trees: [&Tree; 2],
    pair: &mut [Option<Entry>; 2],
    findings: &Findings,
) {
    if !dialects.contains(&Dialect::Plain) {
        return;
    }
    for entry in pair.iter_mut().flatten() {
        entry.metadata.modified.nanoseconds = 0;
    }
    let [Some(source), Some(target)] = pair else {
        return;
    };
    if dialects[0] == Dialect::Plain {
        // Whether the source has any is not known; a finding says so.
        target.metadata.xattrs.clear();
    }
    let [one, other] = trees;
    let symlinks = [one.is_symlink(source), other.is_symlink(target)];
    if dialects[1] != Dialect::Plain || symlinks != [true, true] {
        return;
    }
    let (one, other) = (&source.metadata, &mut target.metadata);
    if one.modified != other.modified {
        let why = "the target's `tar` sets no times of symlinks";
        findings.add(&source.path, What::LinkTime, why);
        other.modified = one.modified;
    }
    if (one.uid, one.gid) != (other.uid, other.gid) {
        let why = "the target's `tar` sets no owners of symlinks";
        findings.add(&source.path, What::Owner, why);
        (other.uid, other.gid) = (one.uid, one.gid);
    }
}

/// Compares what two tars of these dialects told, entry by entry. What the target could not keep is a finding. What a plain
/// `tar` does not know is left out, and excuses nothing else.
#[must_use]
pub fn compare(
    source: &Tree,
    target: &Tree,
    dialects: [Dialect; 2],
    excused: &[Excuse],
) -> Verification {
    let findings = Findings::default();
    let trees = [source, target];
    let mut merged = Merged::new(&findings, excused);
    let (mut sources, mut targets) = (source.entries.values(), target.entries.values());
    let (mut one, mut other) = (sources.next(), targets.next());
    loop {
        let order = match (one, other) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.path.cmp(&other.path),
        };
        let mut pair = [
            one.filter(|_| order != Ordering::Greater).cloned(),
            other.filter(|_| order != Ordering::Less).cloned(),
        ];
        known_to(dialects, trees, &mut pair, &findings);
        let [ours, theirs] = &pair;
        merged.take(ours.as_ref(), theirs.as_ref());
        if order != Ordering::Greater {
            one = sources.next();
        }
        if order != Ordering::Less {
            other = targets.next();
        }
    }
    let (source, target, differences) = merged.finish();
    Verification {
        source,
        target,
        source_recalled: Recalled::default(),
        target_recalled: Recalled::default(),
        difference_count: differences.0,
        differences: differences.1,
        findings: findings.list(),
        milliseconds: 0,
    }
}
