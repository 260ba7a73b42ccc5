//! Sets the metadata of an entry, and finds what this target cannot keep.
use super::at::At;
use super::entry::{Metadata, Time, Xattr};
use super::findings::Findings;
use super::path::TreePath;
use super::report::What;
use super::xattr::{self, XattrReader};
use rustix::fs::{FileType, Gid, Mode, Timespec, Timestamps, Uid};
use rustix::io::Errno;

/// A system call that failed.
pub(crate) type CallError = (&'static str, Errno);

/// The entry, and what it is called in the tree, whatever its name is now.
pub(crate) struct Place<'a> {
    pub(crate) path: &'a TreePath,
    pub(crate) at: At<'a>,
}

/// Which extended attributes an entry may have already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// None: it was just made in the working directory.
    None,
    /// Any: those that do not belong are removed.
    Any,
    /// Exactly those that are wanted.
    Same,
}

/// Makes the metadata what it is on the source. The order matters: a change of owner takes setuid and capabilities away,
/// an ACL and the mode share bits, and everything changes the times.
pub(crate) fn apply(
    place: &Place<'_>,
    wanted: &Metadata,
    before: Before,
    findings: &Findings,
) -> Result<(), CallError> {
    let now = place.at.stat().map_err(|errno| ("stat", errno))?;
    let owned = (now.st_uid, now.st_gid) == (wanted.uid, wanted.gid);
    if !owned {
        set_owner(place, wanted, findings)?;
    }
    // A change of owner removes `security.capability`, even where it was right before.
    set_xattrs(
        place,
        &wanted.xattrs,
        if owned { before } else { before.changed() },
        findings,
    )?;
    let symlink = FileType::from_raw_mode(now.st_mode) == FileType::Symlink;
    if !symlink && (!owned || !wanted.xattrs.is_empty() || now.st_mode & 0o7777 != wanted.mode) {
        set_mode(place, wanted.mode, findings)?;
    }
    set_times(place, wanted, findings)
}

impl Before {
    fn changed(self) -> Self {
        if self == Self::Same { Self::Any } else { self }
    }
}

fn set_owner(place: &Place<'_>, wanted: &Metadata, findings: &Findings) -> Result<(), CallError> {
    let (uid, gid) = (Uid::from_raw(wanted.uid), Gid::from_raw(wanted.gid));
    match place.at.chown(Some(uid), Some(gid)) {
        Err(errno @ (Errno::PERM | Errno::INVAL | Errno::NOTSUP)) => {
            // A group of our own may be set without any right; the owner is the finding either way.
            let _ = place.at.chown(None, Some(gid));
            findings.add(place.path, What::Owner, refused("chown", errno));
            Ok(())
        }
        result => result.map_err(|errno| ("chown", errno)),
    }
}

fn set_xattrs(
    place: &Place<'_>,
    wanted: &[Xattr],
    before: Before,
    findings: &Findings,
) -> Result<(), CallError> {
    if before == Before::Same {
        return Ok(());
    }
    let present = match before {
        Before::None => Vec::new(),
        Before::Any | Before::Same => XattrReader::default()
            .read(place.at)
            .map_err(|errno| ("listxattr", errno))?,
    };
    for extra in present
        .iter()
        .filter(|has| wanted.iter().all(|wants| wants.name != has.name))
    {
        match xattr::remove(place.at, &extra.name) {
            Err(errno @ (Errno::PERM | Errno::ACCESS)) => {
                findings.add(
                    place.path,
                    What::Xattr(extra.name.clone()),
                    refused("removexattr", errno),
                );
            }
            result => result.map_err(|errno| ("removexattr", errno))?,
        }
    }
    for missing in wanted.iter().filter(|wants| !present.contains(wants)) {
        match place.at.set_xattr(&missing.name, &missing.value) {
            Err(errno) if is_refusal(place, errno) => {
                findings.add(
                    place.path,
                    What::Xattr(missing.name.clone()),
                    refused("setxattr", errno),
                );
            }
            result => result.map_err(|errno| ("setxattr", errno))?,
        }
    }
    Ok(())
}

/// Whether the file system refuses this attribute, rather than being full: ext4 says "no space" to both.
fn is_refusal(place: &Place<'_>, errno: Errno) -> bool {
    let full = || super::root::room(place.at.on()).is_ok_and(|room| room.free_bytes < 1 << 20);
    match errno {
        Errno::PERM
        | Errno::NOTSUP
        | Errno::INVAL
        | Errno::TOOBIG
        | Errno::RANGE
        | Errno::ACCESS => true,
        Errno::NOSPC => !full(),
        _ => false,
    }
}

fn set_mode(place: &Place<'_>, mode: u32, findings: &Findings) -> Result<(), CallError> {
    let wanted = Mode::from_raw_mode(mode);
    match place.at.chmod(wanted) {
        Err(errno @ (Errno::PERM | Errno::NOTSUP)) => {
            findings.add(place.path, What::Mode, refused("chmod", errno));
            return Ok(());
        }
        result => result.map_err(|errno| ("chmod", errno))?,
    }
    if mode & 0o6000 != 0 {
        // The kernel drops setgid silently where the group is not ours.
        let now = place.at.stat();
        if now.map_err(|errno| ("stat", errno))?.st_mode & 0o7777 != mode {
            findings.add(
                place.path,
                What::Mode,
                "chmod: the kernel dropped setuid or setgid",
            );
        }
    }
    Ok(())
}

fn set_times(place: &Place<'_>, wanted: &Metadata, findings: &Findings) -> Result<(), CallError> {
    let times = Timestamps {
        last_access: timespec(wanted.accessed),
        last_modification: timespec(wanted.modified),
    };
    match place.at.set_times(&times) {
        Err(errno @ (Errno::PERM | Errno::NOTSUP)) => {
            findings.add(place.path, What::Time, refused("utimensat", errno));
            Ok(())
        }
        result => result.map_err(|errno| ("utimensat", errno)),
    }
}

fn timespec(time: Time) -> Timespec {
    Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    }
}

fn refused(call: &str, errno: Errno) -> String {
    format!("{call}: {errno}")
}
