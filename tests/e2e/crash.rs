//! The program is killed with -9 right before and right after every write of its journal.
use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    kills::{Cuts, Kills},
    proxy::Fate,
    small::{NAME, Small},
};

/// A world, and a proxy that kills at each write of the journal.
struct Chain {
    small: Small,
    kills: Kills,
}

impl Chain {
    /// `kill` is how; none only takes notes.
    fn new(name: &str, kill: Option<Fate>) -> Result<Self> {
        Ok(Self {
            small: Small::new(name)?,
            kills: Kills::new(kill, |seen| seen.journal_write(NAME))?,
        })
    }

    /// A whole run and a whole rollback: where they were killed, and how the world was after each.
    fn there_and_back(&self) -> Result<[(Cuts, Value); 2]> {
        let there = self.kills.until_code(13, || self.small.run())?;
        let moved = self.small.is_moved()?;
        let back = self.kills.until_code(0, || {
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
            let writes: Cuts = killed.0.iter().filter(again).cloned().collect();
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
