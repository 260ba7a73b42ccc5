//! A volume is told as a tar: what comes is counted and digested here, as it is there.
use anyhow::anyhow;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::spawn_blocking,
    time::sleep,
};

use super::{LOSSES, READ, Shell, hexadecimal, may_pass, shown};
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
    /// An owner that the tar cuts off.
    pub(super) owner: Option<String>,
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

    pub(super) fn of(nonce: &str, said: &str) -> Self {
        let mut this = Self::default();
        for line in said.lines() {
            let Some(mark) = line.strip_prefix(nonce) else {
                this.complaints.push(line.to_owned());
                continue;
            };
            match mark.trim().split_once(' ') {
                None => this.end |= mark.trim() == "end",
                Some(("status", status)) => this.status = status.parse().ok(),
                Some(("length", length)) => this.length = length.parse().ok(),
                Some(("sha256", sha256)) => this.sha256 = Some(sha256.to_owned()),
                Some(("tar", dialect)) => this.gnu = dialect == "gnu",
                Some(("used", kib)) => this.used = kib.parse::<u64>().ok().map(|kib| kib << 10),
                Some(("owner", owner)) => this.owner = Some(owner.to_owned()),
                Some(("missing", program)) => this.missing.push(format!("`{program}`")),
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
    fn reading(&self, words: &[&str]) -> Vec<String> {
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
            let (said, ()) =
                tokio::join!(looking, async { while nothing.recv().await.is_some() {} });
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
            let taking = async {
                while let Some(piece) = pieces.recv().await {
                    sum.update(&piece);
                    received += piece.len() as u64;
                    if let Pace::Shared(share) = &mut pace
                        && let Some(rate) = share.now()
                    {
                        let seconds = piece.len() as f64 / rate as f64;
                        sleep(std::time::Duration::from_secs_f64(seconds)).await;
                    }
                    if to.send(piece).await.is_err() {
                        pieces.close();
                        return false;
                    }
                }
                true
            };
            let (said, taken) = tokio::join!(telling, taking);
            if !taken {
                return Ok(None);
            }
            let why = match said {
                Ok(said) => {
                    let marks = Marks::of(&nonce, &said);
                    if let Some(all) = marks.length
                        && marks.end
                        && received >= all
                    {
                        return self.came(&marks, received, &sum).map(Some);
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

    /// Why nothing that this tar tells may be believed, where there are owners that it cuts off.
    pub(super) fn cuts_owners(&self, marks: &Marks) -> Option<Loss> {
        let owner = marks.owner.as_ref()?;
        let why = format!(
            "{}: the owner {owner} is more than its `tar` can tell: name an image with GNU tar with --mover-image",
            self.object
        );
        Some(Loss::Never(Failure::new(Kind::Blocked, why).into()))
    }

    /// All bytes are here, if they are what was digested there.
    fn came(&self, marks: &Marks, received: u64, sum: &Sha256) -> Result<Told, Loss> {
        let found = hexadecimal(&sum.clone().finalize());
        let object = &self.object;
        if marks.length != Some(received) || marks.sha256.as_ref() != Some(&found) {
            return Err(Loss::Passing(anyhow!(
                "{object}: what came of its tar is not what its `sha256sum` read: it was changed on the way, or by somebody while it was read"
            )));
        }
        if let Some(loss) = self.cuts_owners(marks) {
            return Err(loss);
        }
        let mut complaints = marks.complaints.iter();
        if complaints.any(|line| line.contains("xattr") && !line.ends_with(SOCKET)) {
            let why =
                format!("{object}: the `tar` of its volume cannot read all extended attributes");
            let failure = Failure::new(Kind::Blocked, why);
            let failure = failure.with_evidence(shown(&marks.complaints));
            return Err(Loss::Never(failure.into()));
        }
        let sockets = marks.complaints.iter();
        let sockets = sockets.filter(|line| line.ends_with(SOCKET)).count() as u64;
        let dialect = marks.dialect();
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

/// Whether a line says no more than that a file went or changed while it was read.
fn went(line: &str) -> bool {
    let known = [
        "No such file or directory",
        "short read",
        "error exit delayed",
        SOCKET,
    ];
    known.iter().any(|known| line.contains(known))
}
