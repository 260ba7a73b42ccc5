//! What a mover does besides copying: tell what is there, finish, wipe.
use super::device;
use super::operation::Operation;
use super::state::State;
use crate::transfer::counters::{Counters, get};
use crate::transfer::fault::Fault;
use crate::transfer::frame::VERSION;
use crate::transfer::path::TreePath;
use crate::transfer::remove;
use crate::transfer::report::{Inspection, MoverInfo, Phase};
use crate::transfer::volume::Volume;
use crate::transfer::work;
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

/// The capabilities that decide what a copy can keep, by their number in `/proc/self/status`.
const CAPABILITIES: [(u32, &str); 7] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (2, "CAP_DAC_READ_SEARCH"),
    (3, "CAP_FOWNER"),
    (4, "CAP_FSETID"),
    (27, "CAP_MKNOD"),
    (31, "CAP_SETFCAP"),
];

/// What this mover is.
pub(crate) fn info(state: &State) -> Result<MoverInfo, Fault> {
    let room = state
        .volume
        .room()
        .map_err(|errno| state.volume.fault(&TreePath::root(), "statvfs", errno))?;
    Ok(MoverInfo {
        version: VERSION.to_owned(),
        side: state.side,
        run: state.run.clone(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        capabilities: capabilities(),
        shape: state.volume.shape(),
        room,
    })
}

fn capabilities() -> Vec<String> {
    // Without /proc nothing is known, and nothing is claimed.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0);
    CAPABILITIES
        .iter()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// What the volume holds.
pub(crate) fn inspect(operation: &Operation<'_>) -> Result<Inspection, Fault> {
    match operation.volume {
        Volume::Directory(root) => {
            work::inspect(root, operation.run, operation.counters, operation.cancel)
        }
        Volume::Device(device) => device::inspect(device),
    }
}

/// Removes what only the transfer needed. The root keeps its time.
pub(crate) fn finish(operation: &Operation<'_>) -> Result<(), Fault> {
    let Volume::Directory(root) = operation.volume else {
        return Ok(());
    };
    let fault = |call: &str, errno| root.fault(&TreePath::root(), call, errno);
    let before = rustix::fs::fstat(root.fd()).map_err(|errno| fault("fstat", errno))?;
    if work::remove_own(root, operation.run, operation.cancel)? {
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: before.st_mtime,
                tv_nsec: before.st_mtime_nsec.try_into().unwrap_or(0),
            },
        };
        match rustix::fs::utimensat(root.fd(), ".", &times, AtFlags::empty()) {
            // The root belongs to somebody else: that its time is not kept was found when it was copied.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(fault("utimensat", errno)),
        }
    }
    rustix::fs::syncfs(root.fd()).map_err(|errno| fault("syncfs", errno))
}

/// Deletes everything that this run wrote; refuses what it did not. How many entries went.
pub(crate) fn wipe(operation: &Operation<'_>) -> Result<u64, Fault> {
    operation.counters.set_phase(Phase::Deleting);
    let root = match operation.volume {
        Volume::Directory(root) => root,
        Volume::Device(device) => return device::wipe(device).map(|()| 1),
    };
    let found = work::inspect(root, operation.run, &Counters::default(), operation.cancel)?;
    match found.ownership {
        crate::transfer::report::Ownership::Empty => return Ok(0),
        crate::transfer::report::Ownership::Ours => {}
        _ => {
            return Err(Fault::Foreign {
                entries: found.entries,
                examples: found.examples,
            });
        }
    }
    // The mark goes last: a wipe that was cut off can be given again.
    let own = work::name(operation.run);
    remove::empty(
        root,
        |name| name == own,
        operation.counters,
        operation.cancel,
    )?;
    work::remove_own(root, operation.run, operation.cancel)?;
    rustix::fs::syncfs(root.fd())
        .map_err(|errno| root.fault(&TreePath::root(), "syncfs", errno))?;
    Ok(get(&operation.counters.deleted))
}
