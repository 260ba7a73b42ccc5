//! The program is killed with -9 at each point of a list, once, and started again.
use std::{
    collections::BTreeSet,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};

use super::{
    proxy::{Fate, Proxy, Seen},
    support::{Ended, On},
};

/// Points by their names: the journal's writes as step and record.
pub type Cuts = BTreeSet<String>;

/// A proxy that kills at each point where it has not killed before.
pub struct Kills {
    pub proxy: Proxy,
    cuts: Arc<Mutex<Cuts>>,
}

impl Kills {
    /// `kill` is how; none only takes notes. `point` names the requests that count.
    pub fn new(
        kill: Option<Fate>,
        point: impl Fn(&Seen) -> Option<String> + Send + 'static,
    ) -> Result<Self> {
        let cuts = Arc::new(Mutex::new(Cuts::new()));
        let proxy = Proxy::new(On::A, {
            let cuts = Arc::clone(&cuts);
            move |seen| {
                let Some(point) = point(seen) else {
                    return Fate::Pass;
                };
                let new = cuts
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(point);
                match &kill {
                    Some(kill) if new => kill.clone(),
                    _ => Fate::Pass,
                }
            }
        })?;
        Ok(Self { proxy, cuts })
    }

    /// Runs it again and again until it is not killed any more, and ends with this code; gives where it was
    /// killed.
    pub fn until_code(&self, code: i32, next: impl Fn() -> Result<Command>) -> Result<Cuts> {
        loop {
            let ended = self.once(next()?)?;
            if ended.code.is_some() {
                ended.with_code(code)?;
                return Ok(self.taken());
            }
        }
    }

    /// Runs it again and again until it is killed at this point; gives where it was killed.
    pub fn until_cut(&self, cut: &str, next: impl Fn() -> Result<Command>) -> Result<Cuts> {
        loop {
            let ended = self.once(next()?)?;
            if self.cuts().contains(cut) {
                return Ok(self.taken());
            }
            ensure!(
                ended.code.is_none(),
                "it ended before it came to {cut}: {ended:?}"
            );
        }
    }

    fn once(&self, command: Command) -> Result<Ended> {
        let before = self.cuts().len();
        let ended = self.proxy.end(command)?;
        ensure!(
            ended.code.is_some() || self.cuts().len() == before + 1,
            "killed by somebody else"
        );
        Ok(ended)
    }

    fn taken(&self) -> Cuts {
        std::mem::take(&mut *self.cuts())
    }

    fn cuts(&self) -> std::sync::MutexGuard<'_, Cuts> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
