//! Who holds a lock: enough to recognise a dead process of this machine, and nothing to guess about others.
use std::{fmt, fs, str::FromStr};

use rustix::{
    io::Errno,
    process::{Pid, getpid, test_kill_process},
    system::uname,
};

/// First part of the written form; a reader that does not know it treats the holder as foreign and alive.
const VERSION: &str = "v1";

/// One process, as it writes itself into a Lease: `v1:host:boot:pid-namespace:pid:start:random`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderIdentity {
    /// Host name; two machines may share one, so it alone proves nothing.
    pub host: String,
    /// Id of this boot of the machine's kernel; empty where the system has none.
    pub boot: String,
    /// Containers of one machine share its boot but not its process numbers; empty where the system has none.
    pub pid_namespace: String,
    /// Process number.
    pub pid: i32,
    /// Start of the process in clock ticks since boot: process numbers are used again.
    pub start: u64,
    /// Tells two holders in one process apart, and our own half-done acquisition from anybody else's.
    pub random: String,
}

impl HolderIdentity {
    /// This process, with a fresh random part.
    #[must_use]
    pub fn of_this_process() -> Self {
        let pid = getpid().as_raw_nonzero().get();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let pid_namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: plain(&uname().nodename().to_string_lossy()),
            boot: plain(boot.trim()),
            pid_namespace: pid_namespace
                .to_string_lossy()
                .chars()
                .filter(char::is_ascii_digit)
                .collect(),
            pid,
            start: life(pid).and_then(|life| life.start).unwrap_or_default(),
            random: format!("{:016x}", fastrand::u64(..)),
        }
    }

    /// True only when the other is a process of this very machine, boot and process space, and is gone.
    #[must_use]
    pub fn sees_dead(&self, other: &Self) -> bool {
        let same_place = !self.boot.is_empty()
            && !self.pid_namespace.is_empty()
            && (&self.host, &self.boot, &self.pid_namespace)
                == (&other.host, &other.boot, &other.pid_namespace);
        same_place && is_dead(other.pid, other.start)
    }
}

impl fmt::Display for HolderIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            boot,
            pid_namespace,
            pid,
            start,
            random,
        } = self;
        write!(
            f,
            "{VERSION}:{host}:{boot}:{pid_namespace}:{pid}:{start}:{random}"
        )
    }
}

impl FromStr for HolderIdentity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let [VERSION, host, boot, pid_namespace, pid, start, random] =
            text.split(':').collect::<Vec<_>>()[..]
        else {
            return Err(());
        };
        Ok(Self {
            host: host.to_owned(),
            boot: boot.to_owned(),
            pid_namespace: pid_namespace.to_owned(),
            pid: pid.parse().map_err(|_| ())?,
            start: start.parse().map_err(|_| ())?,
            random: random.to_owned(),
        })
    }
}

/// The separator of the written form may not be inside a part.
fn plain(text: &str) -> String {
    text.replace(':', "-")
}

/// What `/proc` says about a process.
struct Life {
    ended: bool,
    start: Option<u64>,
}

/// A process that may not be seen (`hidepid`) counts as alive: only the kernel's "no such process" is proof.
fn is_dead(pid: i32, start: u64) -> bool {
    let Some(process) = Pid::from_raw(pid) else {
        return false;
    };
    if test_kill_process(process) == Err(Errno::SRCH) {
        return true;
    }
    life(pid).is_some_and(|life| life.ended || life.start.is_some_and(|found| found != start))
}

/// Reads `/proc/PID/stat`: the name may hold spaces and brackets, so fields count from the last bracket.
fn life(pid: i32) -> Option<Life> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // proc(5): the state is field 3, the start time field 22.
    let ended = matches!(*fields.first()?, "Z" | "X");
    Some(Life {
        ended,
        start: fields.get(19).and_then(|start| start.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_form_reads_back() {
        let holder = HolderIdentity::of_this_process();
        assert_eq!(holder.to_string().parse(), Ok(holder));
        assert!("v2:a:b:c:1:2:d".parse::<HolderIdentity>().is_err());
        assert!("laptop_1234".parse::<HolderIdentity>().is_err());
    }

    #[test]
    fn a_living_process_is_not_dead() {
        let here = HolderIdentity::of_this_process();
        assert!(!here.sees_dead(&here));
    }

    #[test]
    fn an_ended_process_of_this_machine_is_dead() {
        let here = HolderIdentity::of_this_process();
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        let pid = i32::try_from(child.id()).expect("a small number");
        child.wait().expect("it ends");
        assert!(here.sees_dead(&HolderIdentity {
            pid,
            start: 1,
            ..here.clone()
        }));
    }

    #[test]
    fn a_process_number_used_again_is_dead() {
        let here = HolderIdentity::of_this_process();
        assert!(here.sees_dead(&HolderIdentity {
            start: here.start + 1,
            ..here.clone()
        }));
    }

    #[test]
    fn nobody_elsewhere_is_ever_seen_dead() {
        let here = HolderIdentity::of_this_process();
        let gone = HolderIdentity {
            start: here.start + 1,
            ..here.clone()
        };
        for other in [
            HolderIdentity {
                host: "other".to_owned(),
                ..gone.clone()
            },
            HolderIdentity {
                boot: "other".to_owned(),
                ..gone.clone()
            },
            HolderIdentity {
                pid_namespace: "1".to_owned(),
                ..gone.clone()
            },
        ] {
            assert!(!here.sees_dead(&other), "{other}");
        }
    }
}
