//! A volume is told as a tar: what comes is counted and digested here, as it is there.
use std::time::Duration;

use anyhow::anyhow;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{LOSSES, READ, SLOWEST, Shell, hexadecimal, lacked, may_pass, shown};
use crate::{
    engine::{Failure, Kind},
    steps::movers::{limit::Share, retry::Loss},
    transfer::{
        ControlError, Fault, Side,
        archive::{self, Dialect, Origin, Read, Tree},
    },
};

/// So many pieces of a stream wait to be read.
const AHEAD: usize = 8;
/// What tars say of sockets, which they leave out.
const SOCKET: &str = ": socket ignored";

/// What is said of a stream, behind the word that nobody else can know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    end: bool,
    status: Option<u32>,
    length: Option<u64>,
    sha256: Option<String>,
    gnu: bool,
    /// Bytes that its files take.
    pub(super) used: Option<u64>,
    /// Programs that the image lacks.
    pub(super) missing: Vec<String>,
    /// An owner or a time that the tar cuts off.
    pub(super) cut: Option<String>,
    /// How looking at all owners ended, for a tar that cuts some off.
    owners: Option<u32>,
    /// Whether the volume is mounted there.
    pub(super) mounted: bool,
    /// What is mounted within the volume, and hides a part of it.
    pub(super) mount: Option<String>,
    complaints: Vec<String>,
}

/// A stream that came whole.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) dialect: Dialect,
    /// Sockets that were left out.
    pub(super) sockets: u64,
    /// Whether something was written to while it was read.
    pub(super) changed: bool,
}

/// How fast a stream may come.
pub(super) enum Pace<'a> {
    Free,
    Shared(&'a mut Share),
}

impl Marks {
    /// What the tar knows.
    pub(super) fn dialect(&self) -> Dialect {
        if self.gnu {
            Dialect::Gnu
        } else {
            Dialect::Plain
        }
    }

    /// Whether what came is what was digested there.
    fn is_all(&self, sum: &Sha256) -> bool {
        let found = hexadecimal(&sum.clone().finalize());
        self.sha256.as_ref() == Some(&found)
    }

    /// Whether all owners were looked at, but for those of files that went meanwhile.
    fn tells_owners(&self) -> bool {
        let only_went = || {
            let mut complaints = self.complaints.iter();
            !self.complaints.is_empty() && complaints.all(|line| went(line))
        };
        self.owners == Some(0) || (self.owners.is_some() && only_went())
    }

    pub(super) fn of(nonce: &str, said: &str) -> Self {
        let mut this = Self::default();
        for line in said.lines() {
            let Some(mark) = line.strip_prefix(nonce) else {
                this.complaints.push(line.to_owned());
                continue;
            };
            match mark.trim().split_once(' ') {
                None if mark.trim() == "begin" => this.complaints.clear(),
                None => this.end |= mark.trim() == "end",
                Some(("status", status)) => this.status = status.parse().ok(),
                Some(("length", length)) => this.length = length.parse().ok(),
                Some(("sha256", sha256)) => this.sha256 = Some(sha256.to_owned()),
                Some(("tar", dialect)) => this.gnu = dialect == "gnu",
                Some(("used", kib)) => this.used = kib.parse::<u64>().ok().map(|kib| kib << 10),
                Some((what @ ("owner" | "time"), value)) => {
                    this.cut = Some(format!("{what} {value}"));
                }
                Some(("owners", status)) => this.owners = status.parse().ok(),
                Some(("mounted", _)) => this.mounted = true,
                Some(("mount", point)) => this.mount = Some(point.to_owned()),
                Some(("missing", word)) => this.missing.push(lacked(word)),
                Some(_) => {}
            }
        }
        this
    }
}

/// A word that no file's name can have guessed.
fn nonce() -> String {
    format!("kubectl-migrate-{:016x}", fastrand::u64(..))
}

impl Shell {
    pub(super) fn reading(&self, words: &[&str]) -> Vec<String> {
        let begin = [&self.root[..], self.folder.as_deref().unwrap_or("-")];
        Self::command(READ, "read", &[&begin[..], words].concat())
    }

    /// What the image has.
    pub(super) async fn look(&self) -> Result<Marks, Loss> {
        self.asked("look").await
    }

    /// The same, and how much is on the volume.
    pub(super) async fn size(&self) -> Result<Marks, Loss> {
        self.asked("size").await
    }

    async fn asked(&self, deed: &str) -> Result<Marks, Loss> {
        let mut why = String::new();
        for tried in 0..LOSSES {
            if tried > 0 {
                sleep(self.pause).await;
            }
            let nonce = nonce();
            let command = self.reading(&[deed, &nonce]);
            let (sender, mut nothing) = channel(1);
            let looking = (self.listen)(command, sender);
            let looking = async {
                let nothing = async { while nothing.recv().await.is_some() {} };
                tokio::join!(looking, nothing).0
            };
            let Ok(said) = timeout(self.still, looking).await else {
                return Err(self.hangs());
            };
            match said {
                Ok(said) => {
                    let marks = Marks::of(&nonce, &said);
                    if marks.end {
                        return Ok(marks);
                    }
                    why = shown(&marks.complaints).join("; ");
                }
                Err(error) if may_pass(&error) => why = error.to_string(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Loss::Passing(anyhow!(
            "{}: what is asked of the volume was cut off {LOSSES} times: {why}",
            self.object
        )))
    }

    /// Gives away all bytes of the volume's tar, in order. None when nobody took them. Whoever reads them hears of their
    /// end only when they are known to be all that there were.
    pub(super) async fn tell(
        &self,
        deed: &str,
        to: Sender<Vec<u8>>,
        mut pace: Pace<'_>,
    ) -> Result<Option<Told>, Loss> {
        let (mut received, mut losses) = (0_u64, 0);
        let mut sum = Sha256::new();
        loop {
            let (nonce, first) = (nonce(), (received + 1).to_string());
            let command = self.reading(&[deed, &nonce, &first]);
            let before = received;
            let (sender, mut pieces) = channel::<Vec<u8>>(1);
            let telling = (self.listen)(command, sender);
            // What was there before is read again, and nothing comes of it.
            let skips = Duration::from_secs(received / SLOWEST);
            let taking = async {
                loop {
                    let came = timeout(self.still + skips, pieces.recv()).await;
                    let Some(piece) = came.map_err(|_| Some(self.hangs()))? else {
                        return Ok(());
                    };
                    sum.update(&piece);
                    received += piece.len() as u64;
                    if let Pace::Shared(share) = &mut pace
                        && let Some(rate) = share.now()
                    {
                        let seconds = piece.len() as f64 / rate as f64;
                        sleep(Duration::from_secs_f64(seconds)).await;
                    }
                    // Nobody takes more: that is not to wait for what hangs.
                    to.send(piece).await.map_err(|_| None)?;
                }
            };
            let telling = async { Ok::<_, Option<Loss>>(telling.await) };
            let said = match tokio::try_join!(telling, taking) {
                Ok((said, ())) => said,
                Err(None) => return Ok(None),
                Err(Some(loss)) => return Err(loss),
            };
            let why = match said {
                Ok(said) => {
                    let marks = Marks::of(&nonce, &said);
                    // Some count in 32 bits: only the digest says that it is all.
                    let wraps = marks.dialect() == Dialect::Plain && received > before;
                    let is_there = |all| received >= all && !wraps;
                    if marks.end && (marks.is_all(&sum) || marks.length.is_some_and(is_there)) {
                        return self.came(&marks, &sum).map(Some);
                    }
                    shown(&marks.complaints).join("; ")
                }
                Err(error) if may_pass(&error) => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            losses = if received > before { 0 } else { losses + 1 };
            if losses == LOSSES {
                return Err(Loss::Passing(anyhow!(
                    "{}: the tar of its volume was cut off {LOSSES} times after {received} bytes: {why}",
                    self.object
                )));
            }
            sleep(self.pause).await;
        }
    }

    /// Why nothing that this tar tells may be believed: there is something that it cuts off, or it does not see all of the
    /// volume.
    pub(super) fn hides(&self, marks: &Marks) -> Option<Loss> {
        let object = &self.object;
        let why = if let Some(point) = &marks.mount {
            format!(
                "{object}: {point} is mounted within the volume, and hides what is under it: let spec.freeze.mode be `scale`, so that a pod of its own reads it"
            )
        } else if let Some(cut) = &marks.cut {
            format!(
                "{object}: the {cut} is more than its `tar` can tell: name an image with GNU tar with --mover-image"
            )
        } else if !marks.gnu && !marks.tells_owners() {
            format!(
                "{object}: its `find` and `stat` do not tell all owners, of which its `tar` cuts some off: let it run as one who may read everything, or name an image with GNU tar with --mover-image"
            )
        } else {
            return None;
        };
        let failure = Failure::new(Kind::Blocked, why).with_evidence(shown(&marks.complaints));
        Some(Loss::Never(failure.into()))
    }

    /// All bytes are here, if they are what was digested there.
    fn came(&self, marks: &Marks, sum: &Sha256) -> Result<Told, Loss> {
        let object = &self.object;
        if !marks.is_all(sum) {
            return Err(Loss::Passing(anyhow!(
                "{object}: what came of its tar is not what its `sha256sum` read: it was changed on the way, or by somebody while it was read"
            )));
        }
        if let Some(loss) = self.hides(marks) {
            return Err(loss);
        }
        let dialect = marks.dialect();
        // That it ended well is not believed: it may have left out what it only warned of.
        let odd = |line: &str| match (marks.status, dialect) {
            (Some(0), Dialect::Plain) => !went(line),
            (Some(0), Dialect::Gnu) => true,
            _ => of_attributes(line),
        };
        let mut complaints = marks.complaints.iter();
        if complaints.any(|line| !is_harmless(line) && odd(line)) {
            let why = if marks.complaints.iter().any(|line| of_attributes(line)) {
                "cannot read all extended attributes"
            } else {
                "warns of what it may have left out"
            };
            let why = format!("{object}: the `tar` of its volume {why}");
            let failure = Failure::new(Kind::Blocked, why);
            let failure = failure.with_evidence(shown(&marks.complaints));
            return Err(Loss::Never(failure.into()));
        }
        let sockets = marks.complaints.iter();
        let sockets = sockets.filter(|line| line.ends_with(SOCKET)).count() as u64;
        let changed = match (marks.status, dialect) {
            (Some(0), _) => false,
            // GNU tar says so of what was written to, and nothing else.
            (Some(1), Dialect::Gnu) => true,
            // Of others that is not known: what is needed of it is compared later.
            (Some(1), Dialect::Plain) if marks.complaints.iter().all(|line| went(line)) => true,
            (status, _) => {
                let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
                let why = format!(
                    "{object}: the `tar` of its volume ended with status {status}: not everything can be read there by whom it runs as"
                );
                let failure = Failure::new(Kind::Blocked, why);
                let failure = failure.with_evidence(shown(&marks.complaints));
                return Err(Loss::Never(failure.into()));
            }
        };
        Ok(Told {
            dialect,
            sockets,
            changed,
        })
    }

    /// Reads all of the volume; `each` hears how far it has come.
    pub(super) async fn read(
        &self,
        side: Side,
        run: &str,
        mut each: impl FnMut(Read) + Send + 'static,
    ) -> Result<(Tree, Told), Loss> {
        let (sender, receiver) = channel(AHEAD);
        let (object, run) = (self.object.clone(), run.to_owned());
        let reading = spawn_blocking(move || {
            let origin = Origin {
                object: &object,
                side,
                run: &run,
            };
            archive::read(origin, &mut next(receiver), &mut each)
        });
        let (told, tree) = tokio::join!(self.tell("check", sender, Pace::Free), reading);
        let told = told?;
        let tree = tree.map_err(|error| Loss::Never(error.into()))?;
        let tree = tree.map_err(refused)?;
        let told = told.ok_or_else(|| self.unread())?;
        Ok((tree, told))
    }

    /// Somebody is there, but nothing comes of what is asked.
    fn hangs(&self) -> Loss {
        Loss::Passing(anyhow!(
            "{}: nothing came of its volume for {} s: its disk, or what serves it, hangs",
            self.object,
            self.still.as_secs()
        ))
    }

    /// Nobody read on, and nothing was found wrong.
    pub(super) fn unread(&self) -> Loss {
        Loss::Passing(anyhow!("{}: its tar was not read to its end", self.object))
    }
}

/// What a reader that waits is given.
pub(super) fn next(
    mut pieces: Receiver<Vec<u8>>,
) -> impl FnMut() -> Result<Option<Vec<u8>>, Fault> {
    move || Ok(pieces.blocking_recv())
}

/// What a reader found wrong. Whether it came so or became so on the way is not known before all was digested, so that it
/// is read again some times.
pub(super) fn refused(fault: Fault) -> Loss {
    match fault {
        Fault::Damaged { .. } => Loss::Passing(ControlError::Fault(fault).into()),
        fault => ControlError::Fault(fault).into(),
    }
}

/// Whether a line says of a library, before a program begins, that it is not there.
pub(super) fn of_a_library(line: &str) -> bool {
    line.starts_with("ERROR: ld.so: ") && line.ends_with(": ignored.")
}

/// Whether a line says of a socket that it is left out, or that there can be no attributes, as FUSE does.
fn is_harmless(line: &str) -> bool {
    line.ends_with(SOCKET)
        || of_a_library(line)
        || (of_attributes(line)
            && line.contains("listxattr")
            && line.ends_with(": Operation not supported"))
}

/// Whether a line says that an attribute was not read; the name of a file may say anything.
pub(super) fn of_attributes(line: &str) -> bool {
    let mut parts = line.rsplit(": ");
    let (last, before) = (parts.next(), parts.next());
    last.is_some_and(|last| last.starts_with("XATTR "))
        || before.is_some_and(|before| before.starts_with("Cannot ") && before.contains("xattr"))
}

/// Whether a line says no more than that a file went or changed while it was read.
pub(super) fn went(line: &str) -> bool {
    let known = [
        "No such file or directory",
        "short read",
        "error exit delayed",
        SOCKET,
    ];
    // What fsck finds is nobody's, and not everybody's to see.
    let begin = [
        "tar: ./lost+found",
        "find: ./lost+found",
        "find: './lost+found'",
    ];
    known.iter().any(|known| line.contains(known))
        || begin.iter().any(|begin| {
            line.strip_prefix(begin)
                .is_some_and(|rest| rest == ": Permission denied")
        })
        || line == "tar: can't open './lost+found': Permission denied"
}
