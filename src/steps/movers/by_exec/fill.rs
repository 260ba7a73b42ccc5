//! A target is filled: what comes is digested there before it is unpacked.
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::anyhow;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::mpsc::Receiver,
    time::{sleep, timeout},
};

use super::{
    ANSWER, FENCE, FILL, FOLDER, LOSSES, POUR, Shell,
    complaints::{entry_of, says_nothing, unkept},
    hexadecimal, lacked, may_pass, shown, whole,
};
use crate::{
    engine::{Failure, Kind},
    steps::movers::retry::Loss,
    transfer::{ControlError, EXAMPLES, Fault, Finding, Inspection, Ownership, path::TreePath},
};

/// So much goes with one command.
const PIECE: usize = 8 << 20;
/// A piece that is there is unpacked within this: a disk that takes nothing for so long hangs.
const POURED: Duration = Duration::from_mins(10);
/// Everything that was unpacked is on the disk within this.
const SYNCED: Duration = Duration::from_mins(30);
/// A tar may complain of so much, in bytes: of each of some hundred thousand files.
const MOST_COMPLAINTS: u64 = 64 << 20;
/// An earlier tar comes to its end within this.
const FREED: Duration = Duration::from_mins(5);

/// So long nothing may come before the target is told that more will.
const STAYS: Duration = Duration::from_mins(2);

/// Of all commands to all targets: whoever fails and begins anew is not to be overtaken by what it gave up.
static TURNS: LazyLock<Arc<AtomicU64>> = LazyLock::new(Arc::default);

/// The shell next to a target.
#[derive(Clone, Debug)]
pub(in super::super) struct Target {
    pub(super) shell: Shell,
    /// Where the pod keeps what is on its way.
    pub(super) folder: String,
    /// The run that its mark is of.
    pub(super) run: String,
    /// Which of all clients before and after this one is.
    pub(super) fence: u64,
    /// How many commands this program sent: one that was lost on its way may come late, and is not obeyed then, whoever
    /// sent another meanwhile.
    pub(super) turn: Arc<AtomicU64>,
    /// So long nothing may come before it is told that more will.
    pub(super) stays: Duration,
    /// How much goes with one command.
    pub(super) piece: usize,
}

impl Target {
    /// One in a pod that waits.
    pub(super) fn new(shell: Shell, run: String, fence: u64) -> Self {
        Self {
            shell,
            folder: FOLDER.to_owned(),
            run,
            fence,
            turn: Arc::clone(&TURNS),
            stays: STAYS,
            piece: PIECE,
        }
    }

    pub(super) fn command(&self, words: &[&str]) -> Vec<String> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) + 1;
        let [fence, turn] = [self.fence, turn].map(|number| number.to_string());
        let begin = [&self.folder[..], &self.shell.root, &self.run, &fence, &turn];
        let (deeds, name) = match words.first() {
            Some(&("look" | "append" | "stay" | "close" | "ended")) => (POUR, "pour"),
            _ => (FILL, "fill"),
        };
        let text = [FENCE, deeds].concat();
        Shell::command(&text, name, &[&begin[..], words].concat())
    }

    /// Does a deed that may be done again, until its answer is whole.
    async fn ask(&self, words: &[&str]) -> Result<String, Loss> {
        let mut why = String::new();
        for tried in 0..LOSSES {
            if tried > 0 {
                sleep(self.shell.pause).await;
            }
            let doing = (self.shell.run)(self.command(words), Vec::new(), ANSWER);
            let within = 3 * self.shell.still;
            let Ok(said) = timeout(within, doing).await else {
                let (object, deed) = (&self.shell.object, words.first().unwrap_or(&""));
                return Err(Loss::Passing(anyhow!(
                    "{object}: `{deed}` does not come to its end within {} s",
                    within.as_secs()
                )));
            };
            match said {
                Ok(said) => match whole(&said.out) {
                    Some(answer) => {
                        let answer = String::from_utf8_lossy(answer).into_owned();
                        if self.obeyed(&answer)? {
                            return Ok(answer);
                        }
                        why = answer;
                    }
                    None => why = complained(&said.complaint),
                },
                Err(error) if may_pass(&error) => why = error.to_string(),
                Err(error) => return Err(error.into()),
            }
        }
        let (object, deed) = (&self.shell.object, words.first().unwrap_or(&""));
        Err(Loss::Passing(anyhow!(
            "{object}: `{deed}` was cut off {LOSSES} times: {why}"
        )))
    }

    /// Whether nothing was there that was sent later; no newer client was. What this client said by another of these
    /// counts, too.
    fn obeyed(&self, told: &str) -> Result<bool, Loss> {
        // What comes behind it may be names that somebody chose.
        let told = told.lines().next().unwrap_or_default();
        if let Some(highest) = number(told, "fenced") {
            let yours = self.fence;
            return Err(ControlError::Fault(Fault::Fenced { yours, highest }).into());
        }
        let last = number(told, "late");
        if let Some(last) = last {
            self.turn.fetch_max(last, Ordering::Relaxed);
        }
        Ok(last.is_none())
    }

    /// The programs that the image lacks.
    pub(super) async fn missing(&self) -> Result<Vec<String>, Loss> {
        let told = self.ask(&["look"]).await?;
        let missing = told
            .lines()
            .filter_map(|line| line.strip_prefix("missing "));
        Ok(missing.map(lacked).collect())
    }

    /// What the volume holds.
    pub(in super::super) async fn inspect(&self) -> Result<Inspection, Loss> {
        let told = self.ask(&["inspect"]).await?;
        let entries = number(&told, "entries").ok_or_else(|| self.odd("inspect", &told))?;
        let another = value(&told, "run").filter(|run| *run != self.run);
        let ownership = match another {
            _ if told.lines().any(|line| line == "ours") => Ownership::Ours,
            Some(run) => Ownership::OtherRun(run.to_owned()),
            None if entries == 0 => Ownership::Empty,
            None => Ownership::Foreign,
        };
        Ok(Inspection {
            ownership,
            entries,
            bytes: 0,
            examples: names(&told),
        })
    }

    /// Deletes everything that this run wrote; how many entries of the root went.
    pub(in super::super) async fn wipe(&self) -> Result<u64, Loss> {
        let told = self.freed(&["wipe"]).await?;
        match number(&told, "wiped") {
            Some(count) => Ok(count),
            // Wiped before, and heard of now: nothing is left.
            None if number(&told, "foreign") == Some(0) => Ok(0),
            None => Err(self.refused("wipe", &told)),
        }
    }

    /// Takes the mark off, with all that is ours but the tree.
    pub(in super::super) async fn finish(&self) -> Result<(), Loss> {
        let told = self.freed(&["finish"]).await?;
        if told.trim() == "finished" {
            Ok(())
        } else {
            Err(self.odd("finish", &told))
        }
    }

    /// Empties the volume, which is ours or becomes it, and lets a tar wait for what comes.
    pub(super) async fn begin(&self, session: &str) -> Result<(), Loss> {
        self.open("begin", session).await
    }

    /// Lets another tar wait for what comes to the volume as it is.
    pub(super) async fn again(&self, session: &str) -> Result<(), Loss> {
        self.open("again", session).await
    }

    async fn open(&self, deed: &str, session: &str) -> Result<(), Loss> {
        let told = self.freed(&[deed, session]).await?;
        if told.trim() == "open" {
            Ok(())
        } else {
            Err(self.refused(deed, &told))
        }
    }

    /// Does a deed once no tar of an earlier try is left.
    async fn freed(&self, words: &[&str]) -> Result<String, Loss> {
        let begun = Instant::now();
        loop {
            let told = self.ask(words).await?;
            if told.trim() != "busy" {
                return Ok(told);
            }
            if begun.elapsed() > FREED {
                return Err(Loss::Passing(anyhow!(
                    "{}: the tar of an earlier try does not come to its end within {} s",
                    self.shell.object,
                    FREED.as_secs()
                )));
            }
        }
    }

    /// Pours what comes, piece by piece; `tell` hears how much is there. What was there last of it is given away before
    /// the next is waited for.
    pub(super) async fn pour(
        &self,
        session: &str,
        mut pieces: Receiver<Vec<u8>>,
        tell: impl Fn(u64),
    ) -> Result<u64, Loss> {
        let mut there = 0;
        let mut piece = Vec::new();
        loop {
            let more = loop {
                match timeout(self.stays, pieces.recv()).await {
                    Ok(more) => break more,
                    Err(_) if self.ask(&["stay", session]).await?.is_empty() => {}
                    Err(_) => return Err(self.gone()),
                }
            };
            let over = more.is_none();
            piece.extend(more.unwrap_or_default());
            if piece.len() >= self.piece || (over && !piece.is_empty()) {
                for piece in piece.chunks(self.piece) {
                    self.append(session, there, piece).await?;
                    there += piece.len() as u64;
                    tell(there);
                }
                piece.clear();
            }
            if over {
                return Ok(there);
            }
        }
    }

    /// One piece, which comes after so many bytes.
    async fn append(&self, session: &str, first: u64, piece: &[u8]) -> Result<(), Loss> {
        let count = piece.len() as u64;
        let sum = hexadecimal(&Sha256::digest(piece));
        let mut losses = 0;
        let begun = Instant::now();
        loop {
            let nonce = format!("{:08x}", fastrand::u32(..));
            let (first_word, count_word) = (first.to_string(), count.to_string());
            let words = ["append", session, &first_word, &count_word, &sum, &nonce];
            let said = (self.shell.run)(self.command(&words), piece.to_vec(), ANSWER).await;
            let why = match said {
                Ok(said) => match whole(&said.out).map(String::from_utf8_lossy) {
                    Some(told) => match self.appended(&told, first, count)? {
                        Appended::There => return Ok(()),
                        Appended::Pouring if begun.elapsed() < POURED => {
                            sleep(self.shell.pause).await;
                            continue;
                        }
                        Appended::Pouring => {
                            return Err(Loss::Passing(anyhow!(
                                "{}: its tar takes nothing for {} s",
                                self.shell.object,
                                POURED.as_secs()
                            )));
                        }
                        Appended::Over => return Err(self.over(session).await),
                        Appended::Not => "it did not arrive as it was sent".to_owned(),
                    },
                    None => complained(&said.complaint),
                },
                Err(error) if may_pass(&error) => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            losses += 1;
            if losses == LOSSES {
                return Err(Loss::Passing(anyhow!(
                    "{}: a piece did not arrive in {LOSSES} tries: {why}",
                    self.shell.object
                )));
            }
            sleep(self.shell.pause).await;
        }
    }

    fn appended(&self, told: &str, first: u64, count: u64) -> Result<Appended, Loss> {
        if !self.obeyed(told)? {
            return Ok(Appended::Not);
        }
        if told.lines().any(|line| line == "gone") {
            return Err(self.gone());
        }
        let over = told.lines().any(|line| line == "over");
        match number(told, "at") {
            // The tar may have ended with the last piece, of which nothing was heard.
            Some(at) if at == first + count => Ok(Appended::There),
            _ if over => Ok(Appended::Over),
            Some(at) if at == first && told.lines().any(|line| line == "pouring") => {
                Ok(Appended::Pouring)
            }
            Some(at) if at == first => Ok(Appended::Not),
            _ => Err(self.odd("append", told)),
        }
    }

    fn gone(&self) -> Loss {
        let object = &self.shell.object;
        Loss::Passing(anyhow!(
            "{object}: what was begun there is gone: another client took over, or the pod is another one"
        ))
    }

    /// Waits until all is unpacked and synced; what could not be kept.
    pub(super) async fn close(&self, session: &str) -> Result<Vec<Finding>, Loss> {
        self.ask(&["close", session]).await?;
        let begun = Instant::now();
        loop {
            let told = self.ask(&["ended", session, "0"]).await?;
            if told.lines().next() == Some("gone") {
                return Err(self.odd("ended", &told));
            }
            if number(&told, "status").is_some() {
                return self.ended(session, told).await;
            }
            if begun.elapsed() > SYNCED {
                return Err(Loss::Passing(anyhow!(
                    "{}: what was unpacked is not on the disk within {} min",
                    self.shell.object,
                    SYNCED.as_secs() / 60
                )));
            }
            sleep(self.shell.pause / 2).await;
        }
    }

    /// Why a tar ended that was to unpack more.
    async fn over(&self, session: &str) -> Loss {
        let told = match self.ask(&["ended", session, "0"]).await {
            Ok(told) => told,
            Err(loss) => return loss,
        };
        match self.ended(session, told).await {
            Err(loss) => loss,
            Ok(_) => self.odd("append", "over"),
        }
    }

    /// How a tar ended, with all that it complained of.
    async fn ended(&self, session: &str, mut told: String) -> Result<Vec<Finding>, Loss> {
        let mut complaints = String::new();
        let status = loop {
            let numbers = ["status", "told", "size"].map(|key| number(&told, key));
            let [Some(status), Some(there), Some(size)] = numbers else {
                return Err(self.odd("ended", &told));
            };
            let text = told.splitn(4, '\n').nth(3).unwrap_or_default();
            complaints.push_str(text.strip_suffix('\n').unwrap_or(text));
            if there >= size {
                break status;
            }
            if size > MOST_COMPLAINTS {
                let why = format!(
                    "{}: the `tar` that fills the volume ended with status {status}, and complained of more than can be told",
                    self.shell.object
                );
                let lines: Vec<_> = complaints.lines().map(str::to_owned).collect();
                let failure = Failure::new(Kind::Error, why).with_evidence(shown(&lines));
                return Err(Loss::Never(failure.into()));
            }
            told = self.ask(&["ended", session, &there.to_string()]).await?;
        };
        let complaints: Vec<_> = complaints.lines().map(str::to_owned).collect();
        self.unpacked(status, &complaints)
    }

    /// What a tar complained of; a failure, if that is more than what the target cannot keep.
    pub(super) fn unpacked(
        &self,
        status: u64,
        complaints: &[String],
    ) -> Result<Vec<Finding>, Loss> {
        let mut findings: Vec<Finding> = Vec::new();
        let mut others = Vec::new();
        for line in complaints {
            match unkept(line) {
                Some(what) => {
                    let examples = entry_of(line).into_iter();
                    match findings.iter_mut().find(|found| found.what == what) {
                        Some(found) => {
                            found.count += 1;
                            let room = EXAMPLES.saturating_sub(found.examples.len());
                            found.examples.extend(examples.take(room));
                        }
                        None => findings.push(Finding {
                            what,
                            why: format!("the target's `{line}`"),
                            count: 1,
                            examples: examples.collect(),
                        }),
                    }
                }
                None if says_nothing(line) => {}
                None => others.push(line.clone()),
            }
        }
        // That one ended well is not believed: it may have left out what it only warned of.
        if others.is_empty() && (status == 0 || !findings.is_empty()) {
            return Ok(findings);
        }
        let why = format!(
            "{}: the `tar` that fills the volume ended with status {status}",
            self.shell.object
        );
        if !others.is_empty() && others.iter().all(|line| came_short(line)) {
            return Err(Loss::Passing(anyhow!("{why}: {}", others.join("; "))));
        }
        let failure = Failure::new(Kind::Error, why).with_evidence(shown(&others));
        Err(Loss::Never(failure.into()))
    }

    /// The volume is not ours, or something of it cannot be deleted.
    fn refused(&self, deed: &str, told: &str) -> Loss {
        match number(told, "foreign") {
            Some(entries) => Loss::from(ControlError::Fault(Fault::Foreign {
                entries,
                examples: names(told),
            })),
            None => self.odd(deed, told),
        }
    }

    fn odd(&self, deed: &str, told: &str) -> Loss {
        let object = &self.shell.object;
        let told = shown(&[told.replace('\n', "; ")]).concat();
        Loss::Passing(anyhow!("{object}: `{deed}` was answered by `{told}`"))
    }
}

/// What became of a piece.
enum Appended {
    There,
    Pouring,
    Over,
    Not,
}

fn value<'a>(told: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = told.lines();
    lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

fn number(told: &str, key: &str) -> Option<u64> {
    value(told, key)?.trim().parse().ok()
}

/// The first names in the root.
fn names(told: &str) -> Vec<TreePath> {
    let names = told.lines().filter_map(|line| line.strip_prefix("name "));
    names.filter_map(TreePath::new).collect()
}

/// What was complained of, without what only says that a deed goes on.
fn complained(said: &str) -> String {
    let lines: Vec<_> = said.lines().filter(|line| *line != "alive").collect();
    lines.join("\n")
}

/// Whether a line says that a tar was not given all, as when nobody came for long.
fn came_short(line: &str) -> bool {
    let known = [
        "Unexpected EOF",
        "short read",
        "This does not look like a tar archive",
        "Error is not recoverable",
    ];
    known.iter().any(|known| line.contains(known))
}
