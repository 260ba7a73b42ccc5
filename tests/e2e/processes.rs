//! The movers' processes: the clusters' nodes are this machine.
use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::support::Namespace;

/// The id of a migration's run, by which everything of it is marked.
pub fn run_of(namespace: &Namespace, migration: &str) -> Result<String> {
    let report = namespace.report(migration)?;
    Ok(report["run"].as_str().context("no run")?.to_owned())
}

/// The processes of a run's movers on one side, `source` or `target`.
pub fn movers(run: &str, side: &str) -> Result<Vec<Pid>> {
    let (run, side) = (format!("--run={run}-"), format!("--side={side}"));
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(number) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        // A process may end while it is looked at.
        let Ok(words) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let words = String::from_utf8_lossy(&words).into_owned();
        let has = |wanted: &str| words.split('\0').any(|word| word.starts_with(wanted));
        if has(&run) && has(&side) {
            found.extend(Pid::from_raw(number));
        }
    }
    Ok(found)
}

/// Processes that stand still until this is dropped.
pub struct Held(Vec<Pid>);

impl Held {
    pub fn new(processes: &[Pid]) -> Self {
        let this = Self(processes.to_vec());
        this.tell(Signal::STOP);
        this
    }

    /// Lets them run for a moment, and holds them again.
    pub fn let_run(&self, moment: Duration) {
        self.tell(Signal::CONT);
        std::thread::sleep(moment);
        self.tell(Signal::STOP);
    }

    fn tell(&self, signal: Signal) {
        for process in &self.0 {
            kill_process(*process, signal).ok();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tell(Signal::CONT);
    }
}
