//! In what two entries of the same path differ.
use super::entry::{Entry, Kind, Metadata, Xattr};
use super::escaped::escape;
use super::findings::Findings;
use super::path::TreePath;
use super::report::{Difference, DifferenceKind, Excuse, TreeSummary, What};
use super::summing::Summing;

/// So many differences are named; the rest is counted.
const NAMED: usize = 200;

/// Whether only the permission bits, owner, attributes or time of an entry must be set: what a symlink has none of
/// is left out.
pub(crate) fn same_metadata(kind: &Kind, source: &Metadata, target: &Metadata) -> bool {
    let symlink = matches!(kind, Kind::Symlink { .. });
    (symlink || source.mode == target.mode)
        && (source.uid, source.gid, source.modified) == (target.uid, target.gid, target.modified)
        && source.xattrs == target.xattrs
}

/// All differences, each with both values.
pub(crate) fn differences(source: &Entry, target: &Entry) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |kind: DifferenceKind, source_value: String, target_value: String| {
        found.push(Difference {
            path: source.path.clone(),
            kind,
            source: source_value,
            target: target_value,
        });
    };
    match (&source.kind, &target.kind) {
        (
            Kind::File { size, digest },
            Kind::File {
                size: other_size,
                digest: other_digest,
            },
        ) => {
            if size != other_size {
                add(
                    DifferenceKind::Size,
                    size.to_string(),
                    other_size.to_string(),
                );
            } else if digest.is_none() || digest != other_digest {
                let show = |digest: &Option<_>| match digest {
                    Some(digest) => format!("{digest:?}"),
                    None => "changed while it was read".to_owned(),
                };
                add(DifferenceKind::Content, show(digest), show(other_digest));
            }
        }
        (Kind::HardLink { to }, Kind::HardLink { to: other }) => {
            if to != other {
                add(DifferenceKind::HardLink, to.to_string(), other.to_string());
            }
        }
        (Kind::HardLink { to }, other) => {
            add(
                DifferenceKind::HardLink,
                to.to_string(),
                format!("a {} of its own", other.letter_and_name().1),
            );
        }
        (kind, Kind::HardLink { to }) => {
            add(
                DifferenceKind::HardLink,
                format!("a {} of its own", kind.letter_and_name().1),
                to.to_string(),
            );
        }
        (Kind::Symlink { to }, Kind::Symlink { to: other }) => {
            if to != other {
                add(DifferenceKind::LinkTarget, escape(to), escape(other));
            }
        }
        (
            Kind::CharacterDevice { major, minor },
            Kind::CharacterDevice {
                major: other_major,
                minor: other_minor,
            },
        )
        | (
            Kind::BlockDevice { major, minor },
            Kind::BlockDevice {
                major: other_major,
                minor: other_minor,
            },
        ) => {
            if (major, minor) != (other_major, other_minor) {
                add(
                    DifferenceKind::Device,
                    format!("{major}:{minor}"),
                    format!("{other_major}:{other_minor}"),
                );
            }
        }
        (kind, other) => {
            let (name, other_name) = (kind.letter_and_name().1, other.letter_and_name().1);
            if name != other_name {
                add(DifferenceKind::Type, name.to_owned(), other_name.to_owned());
                return found;
            }
        }
    }
    metadata_differences(source, target, &mut add);
    found
}

fn metadata_differences(
    source: &Entry,
    target: &Entry,
    add: &mut impl FnMut(DifferenceKind, String, String),
) {
    let (one, other) = (&source.metadata, &target.metadata);
    let symlink = matches!(source.kind, Kind::Symlink { .. });
    if !symlink && one.mode != other.mode {
        add(
            DifferenceKind::Mode,
            format!("{:04o}", one.mode),
            format!("{:04o}", other.mode),
        );
    }
    if (one.uid, one.gid) != (other.uid, other.gid) {
        let show = |metadata: &Metadata| format!("{}:{}", metadata.uid, metadata.gid);
        add(DifferenceKind::Owner, show(one), show(other));
    }
    if one.modified != other.modified {
        add(
            DifferenceKind::Time,
            one.modified.to_string(),
            other.modified.to_string(),
        );
    }
    let value = |xattrs: &[Xattr], name: &[u8]| {
        xattrs
            .iter()
            .find(|xattr| xattr.name == name)
            .map_or_else(String::new, |xattr| shown(&xattr.value))
    };
    let mut names: Vec<&[u8]> = one
        .xattrs
        .iter()
        .chain(&other.xattrs)
        .map(|xattr| &xattr.name[..])
        .collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let find = |xattrs: &[Xattr]| xattrs.iter().find(|xattr| xattr.name == name).cloned();
        if find(&one.xattrs) != find(&other.xattrs) {
            add(
                DifferenceKind::Xattr(name.to_vec()),
                value(&one.xattrs, name),
                value(&other.xattrs, name),
            );
        }
    }
}

/// A value of up to 64 KiB is shown by its beginning, so that a report of many stays short.
fn shown(value: &[u8]) -> String {
    const BEGINNING: usize = 256;
    match value.get(..BEGINNING) {
        Some(beginning) if value.len() > BEGINNING => {
            format!("{}… ({} bytes)", escape(beginning), value.len())
        }
        _ => escape(value),
    }
}

/// The finding of a round that explains such a difference, if any can.
pub(crate) fn explanation(difference: &Difference, source: Option<&Kind>) -> Option<What> {
    match &difference.kind {
        DifferenceKind::Owner => Some(What::Owner),
        DifferenceKind::Mode => Some(What::Mode),
        DifferenceKind::Time => Some(What::Time),
        DifferenceKind::Xattr(name) => Some(What::Xattr(name.clone())),
        DifferenceKind::HardLink => Some(What::HardLink),
        DifferenceKind::Missing => match source {
            Some(Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo) => {
                Some(What::Device)
            }
            _ => None,
        },
        DifferenceKind::Extra
        | DifferenceKind::Type
        | DifferenceKind::Size
        | DifferenceKind::Content
        | DifferenceKind::LinkTarget
        | DifferenceKind::Device => None,
    }
}

/// Two listings that are compared entry by entry, in canonical order, and summed up.
pub(crate) struct Merged<'a> {
    findings: &'a Findings,
    excused: &'a [Excuse],
    source: Summing,
    target: Summing,
    count: u64,
    differences: Vec<Difference>,
}

impl<'a> Merged<'a> {
    /// What is excused a finding of the copy has explained before.
    pub(crate) fn new(findings: &'a Findings, excused: &'a [Excuse]) -> Self {
        Self {
            findings,
            excused,
            source: Summing::new(),
            target: Summing::new(),
            count: 0,
            differences: Vec::new(),
        }
    }

    /// Takes in the next entry of both sides, or of one alone.
    pub(crate) fn take(&mut self, source: Option<&Entry>, target: Option<&Entry>) {
        if let Some(entry) = source {
            self.source.add(entry);
        }
        if let Some(entry) = target {
            self.target.add(entry);
        }
        let found = match (source, target) {
            (Some(source), Some(target)) => differences(source, target),
            (Some(source), None) => vec![alone(source, DifferenceKind::Missing)],
            (None, Some(target)) => vec![alone(target, DifferenceKind::Extra)],
            (None, None) => Vec::new(),
        };
        for difference in found {
            match explanation(&difference, source.map(|entry| &entry.kind)) {
                Some(what) if self.is_excused(&what, &difference.path, source) => {
                    self.findings.add(
                        &difference.path,
                        what,
                        "the target could not keep it when it was copied",
                    );
                }
                _ => {
                    self.count += 1;
                    if self.differences.len() < NAMED {
                        self.differences.push(difference);
                    }
                }
            }
        }
    }

    /// What a further name of a file shows was found at the file's first name.
    fn is_excused(&self, what: &What, path: &TreePath, source: Option<&Entry>) -> bool {
        let first = match source.map(|entry| &entry.kind) {
            Some(Kind::HardLink { to }) => Some(to),
            _ => None,
        };
        let covers = |path| self.excused.iter().any(|excuse| excuse.covers(what, path));
        covers(path) || first.is_some_and(covers)
    }

    /// Both sides, how many differences there are, and the first of them.
    pub(crate) fn finish(self) -> (TreeSummary, TreeSummary, (u64, Vec<Difference>)) {
        let differences = (self.count, self.differences);
        (self.source.finish(), self.target.finish(), differences)
    }
}

fn alone(entry: &Entry, kind: DifferenceKind) -> Difference {
    let name = entry.kind.letter_and_name().1.to_owned();
    let (source, target) = if kind == DifferenceKind::Missing {
        (name, String::new())
    } else {
        (String::new(), name)
    };
    Difference {
        path: entry.path.clone(),
        kind,
        source,
        target,
    }
}
