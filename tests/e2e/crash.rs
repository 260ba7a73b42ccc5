//! The program is killed with -9 right before and right after every write of its journal.
use std::{
    collections::BTreeSet,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    proxy::{Fate, Proxy},
    small::{NAME, Small},
    support::On,
};

/// The journal's writes by step and record.
type Writes = BTreeSet<String>;

/// A world with a proxy that kills at each write that it has not killed at before.
struct Chain {
    small: Small,
    proxy: Proxy,
    cuts: Arc<Mutex<Writes>>,
}

impl Chain {
    /// `kill` is how; none only takes notes.
    fn new(name: &str, kill: Option<Fate>) -> Result<Self> {
        let cuts = Arc::new(Mutex::new(Writes::new()));
        let proxy = Proxy::new(On::A, {
            let cuts = Arc::clone(&cuts);
            move |seen| {
                let Some(write) = seen.journal_write(NAME) else {
                    return Fate::Pass;
                };
                let new = cuts
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(write);
                match &kill {
                    Some(kill) if new => kill.clone(),
                    _ => Fate::Pass,
                }
            }
        })?;
        Ok(Self {
            small: Small::new(name)?,
            proxy,
            cuts,
        })
    }

    /// Runs it again and again until it is not killed any more; gives where it was killed.
    fn until_code(&self, code: i32, next: impl Fn() -> Result<Command>) -> Result<Writes> {
        loop {
            let before = self.count();
            let ended = self.proxy.end(next()?)?;
            if ended.code.is_some() {
                ended.with_code(code)?;
                break;
            }
            ensure!(self.count() == before + 1, "killed by somebody else");
        }
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *cuts))
    }

    fn count(&self) -> usize {
        self.cuts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// A whole run and a whole rollback: where they were killed, and how the world was after each.
    fn there_and_back(&self) -> Result<[(Writes, Value); 2]> {
        let there = self.until_code(13, || self.small.run())?;
        let moved = self.small.is_moved()?;
        let back = self.until_code(0, || {
            self.small.migrate(&["rollback", NAME, "--confirm", NAME])
        })?;
        Ok([(there, moved), (back, self.small.is_back()?)])
    }
}

#[test]
fn killed_at_every_write_of_the_journal_it_comes_to_the_same_end() -> Result<()> {
    let chain = |name, kill| std::thread::spawn(move || Chain::new(name, kill)?.there_and_back());
    let uncut = chain("uncut", None);
    let before = chain("before", Some(Fate::KillBefore));
    let after = chain("after", Some(Fate::KillAfter));
    let join = |thread: std::thread::JoinHandle<Result<_>>| {
        thread.join().map_err(|_| anyhow::anyhow!("a panic"))?
    };
    let (uncut, before, after) = (join(uncut), join(before), join(after));
    let (uncut, before, after) = (uncut?, before?, after?);
    let mut cuts = 0;
    for (way, expected) in uncut.iter().enumerate() {
        for (when, killed) in [("before", &before[way]), ("after", &after[way])] {
            // The next run reads again what nobody watched between the two.
            let again = |write: &&String| !write.ends_with(" broken");
            let writes: Writes = killed.0.iter().filter(again).cloned().collect();
            ensure!(
                writes == expected.0,
                "killed {when} {:#?}, and a whole one writes {:#?}",
                killed.0,
                expected.0
            );
            ensure!(
                killed.1 == expected.1,
                "killed {when} each write it ends with {:#}, and uncut with {:#}",
                killed.1,
                expected.1
            );
            cuts += killed.0.len();
        }
    }
    let (there, back) = (uncut[0].0.len(), uncut[1].0.len());
    println!(
        "{cuts} cuts: before and after each of {there} writes of a run and {back} of a rollback"
    );
    Ok(())
}
