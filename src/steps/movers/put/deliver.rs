//! The client's half of `put.sh`: it knows how each answer has to look, and believes nothing else.
use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};

use super::executable::{Opened, hexadecimal};
use crate::adapters::kube::{KubeError, Said};

/// Runs a deed with its arguments and its input; it may say so many bytes.
pub(super) type Run<'a> = dyn Fn(Vec<String>, Vec<u8>, usize) -> BoxFuture<'a, Result<Said, KubeError>>
    + Send
    + Sync
    + 'a;
/// Hears how many bytes are there.
type Tell<'a> = dyn Fn(u64) + Send + Sync + 'a;

/// So much goes with one command: what a broken connection costs, and how often a waiting pod hears of us.
pub(super) const PIECE: u64 = 4 << 20;
/// An answer may be lost so often in a row.
const LOSSES: u32 = 6;
/// Between a loss and the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// An executable that arrives with another digest is sent anew so often.
const SENDINGS: u32 = 3;
/// More than any answer but a piece read back.
const ANSWER: usize = 16 << 10;
/// Of what a stranger says, so much is shown.
const SHOWN: usize = 300;
/// The mark at the end of each answer.
const END: &[u8] = b"end\n";

/// How an executable came to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) checked_by: CheckedBy,
}

/// What told the digest of what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckedBy {
    /// The image's own `sha256sum`.
    Tool,
    /// We, who read all of it back.
    ReadBack,
    /// A client that started it before.
    Before,
}

impl fmt::Display for CheckedBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tool => "the image's sha256sum",
            Self::ReadBack => "reading it back",
            Self::Before => "an earlier run",
        })
    }
}

/// Why an executable is not where it should be.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum Undelivered {
    /// The image lacks programs.
    #[error("the image lacks {}", .programs.join(", "))]
    Missing { programs: Vec<String> },
    /// Answers are cut off, again and again.
    #[error("`{deed}` was cut off {LOSSES} times{}", complained(.complaint))]
    CutOff { deed: String, complaint: String },
    /// What arrived was not what was sent.
    #[error("it arrived {SENDINGS} times with another digest than it was sent with")]
    Changed,
    /// It cannot be run as long as somebody has it open to write.
    #[error("a command that was cut off still holds it open there")]
    Held,
    /// It does not say of itself what it is.
    #[error("it does not run there as what it is: it said `{said}`")]
    CannotRun { said: String },
    /// The pod had become another executable before.
    #[error("another client started another executable in it; give the command again")]
    Other,
    /// The executable cannot be read here.
    #[error("it cannot be read here")]
    Unreadable(#[source] std::io::Error),
    /// The cluster does not let us.
    #[error(transparent)]
    Kube(KubeError),
}

fn complained(complaint: &str) -> String {
    match complaint {
        "" => String::new(),
        complaint => format!("; the last time it complained: {complaint}"),
    }
}

impl Undelivered {
    /// Whether the pod, or the way to it, may have gone.
    pub(in super::super) fn is_passing(&self) -> bool {
        match self {
            Self::CutOff { .. } | Self::Held | Self::Other => true,
            Self::Kube(error) => may_pass(error),
            _ => false,
        }
    }
}

/// Whether the same command may come through another time.
pub(in super::super) fn may_pass(error: &KubeError) -> bool {
    error.is_passing()
        || error.is_not_found()
        || matches!(error, KubeError::TimedOut { .. } | KubeError::Other { .. })
}

impl fmt::Display for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.length as f64 / f64::from(1 << 20);
        write!(formatter, "sha256:{} ({mib:.1} MiB)", self.sha256)
    }
}

impl Opened {
    /// What it says of itself when it is whole, runs, and is of this version.
    fn proof(&self) -> String {
        let Self { length, sha256, .. } = self;
        let version = env!("CARGO_PKG_VERSION");
        format!("kubectl-migrate v{version}\nexecutable sha256:{sha256}, {length} bytes\n")
    }

    /// A name that says which executable it is, and at which try it was sent.
    fn name(&self) -> String {
        format!("part.{}.{:08x}", self.sha256, fastrand::u32(..))
    }

    fn is_named(&self, name: &str) -> bool {
        name.strip_prefix("part.")
            .and_then(|rest| rest.strip_prefix(&self.sha256))
            .is_some_and(|rest| rest.starts_with('.'))
    }
}

/// An answer without its mark; none when that is missing, so that it was cut off.
pub(in super::super) fn whole(out: &[u8]) -> Option<&[u8]> {
    let body = out.strip_suffix(END)?;
    (body.is_empty() || body.ends_with(b"\n")).then_some(body)
}

/// Does a deed that may be done again, until its answer is whole.
async fn ask(run: &Run<'_>, words: &[&str], most: usize) -> Result<Vec<u8>, Undelivered> {
    let mut complaint = String::new();
    for tried in 0..LOSSES {
        if tried > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let given = words.iter().map(|word| (*word).to_owned()).collect();
        match run(given, Vec::new(), most).await {
            Ok(said) => match whole(&said.out) {
                Some(body) => return Ok(body.to_vec()),
                None => complaint = said.complaint,
            },
            Err(error) if may_pass(&error) && tried + 1 < LOSSES => complaint = error.to_string(),
            Err(error) => return Err(Undelivered::Kube(error)),
        }
    }
    Err(Undelivered::CutOff {
        deed: words.first().copied().unwrap_or_default().to_owned(),
        complaint,
    })
}

async fn ask_text(run: &Run<'_>, words: &[&str]) -> Result<String, Undelivered> {
    let answer = ask(run, words, ANSWER).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends an executable to a pod in pieces of this size, has it checked there, and lets the pod become it.
pub(super) async fn deliver(
    executable: &Opened,
    size: u64,
    run: &Run<'_>,
    tell: &Tell<'_>,
) -> Result<Delivered, Undelivered> {
    let checked_by = look(executable, run).await?;
    if checked_by == CheckedBy::Before {
        return Ok(Delivered { checked_by });
    }
    let mut last = Undelivered::Changed;
    for _ in 0..SENDINGS {
        let name = executable.name();
        send(executable, &name, size, run, tell).await?;
        let arrived = match checked_by {
            CheckedBy::Tool => digest(&name, run).await?,
            _ => read_back(executable, &name, size, run).await?,
        };
        if arrived.as_deref() != Some(executable.sha256.as_str()) {
            continue;
        }
        let said = ask_text(run, &["prove", &name]).await?;
        if said.contains("ext file busy") {
            last = Undelivered::Held;
            continue;
        }
        // Somebody may have ended it, or there was no memory for it: it is asked once more.
        let said = if said == executable.proof() {
            said
        } else {
            ask_text(run, &["prove", &name]).await?
        };
        if said != executable.proof() {
            return Err(Undelivered::CannotRun { said: short(&said) });
        }
        return start(executable, &name, run)
            .await
            .map(|()| Delivered { checked_by });
    }
    Err(last)
}

/// What a stranger said, as one line that can be shown.
fn short(said: &str) -> String {
    let said = said.trim().replace('\n', "; ");
    let shown = said.chars().filter(|letter| !letter.is_control());
    shown.take(SHOWN).collect()
}

/// Whether a pod runs this very executable, by its own word.
pub(super) async fn runs(executable: &Opened, run: &Run<'_>) -> Result<bool, Undelivered> {
    let told = ask_text(run, &["look"]).await?;
    let started = told.lines().find_map(|line| line.strip_prefix("started "));
    match started {
        Some(name) if executable.is_named(name) => {
            Ok(ask_text(run, &["prove", name]).await? == executable.proof())
        }
        _ => Ok(false),
    }
}

/// Whether the image has what is needed, and by what the digest will be told.
async fn look(executable: &Opened, run: &Run<'_>) -> Result<CheckedBy, Undelivered> {
    let told = ask_text(run, &["look"]).await?;
    let mut programs = Vec::new();
    let mut checked_by = CheckedBy::ReadBack;
    for line in told.lines() {
        match line.split_once(' ') {
            Some(("missing", program)) => programs.push(format!("`{program}`")),
            Some(("digests", _)) => checked_by = CheckedBy::Tool,
            Some(("started", name)) if executable.is_named(name) => {
                return Ok(CheckedBy::Before);
            }
            Some(("started", _)) => return Err(Undelivered::Other),
            _ => {}
        }
    }
    if programs.is_empty() {
        Ok(checked_by)
    } else {
        Err(Undelivered::Missing { programs })
    }
}

/// Sends all pieces to a new file. One that was cut off goes on at the byte that the pod tells.
async fn send(
    executable: &Opened,
    name: &str,
    size: u64,
    run: &Run<'_>,
    tell: &Tell<'_>,
) -> Result<(), Undelivered> {
    ask(run, &["begin", name], ANSWER).await?;
    let (mut there, mut losses) = (0, 0);
    tell(there);
    while there < executable.length {
        let piece = executable.piece(there, size).await;
        let piece = piece.map_err(Undelivered::Unreadable)?;
        let count = piece.len() as u64;
        let words = vec!["append".to_owned(), name.to_owned(), count.to_string()];
        let complaint = match run(words, piece, ANSWER).await {
            Ok(said) => said.complaint,
            Err(error) if may_pass(&error) => error.to_string(),
            Err(error) => return Err(Undelivered::Kube(error)),
        };
        // What it said of its end counts for nothing; the file's length does.
        let now = length(name, run).await?;
        losses = if now > there { 0 } else { losses + 1 };
        if losses == LOSSES {
            let deed = "append".to_owned();
            return Err(Undelivered::CutOff { deed, complaint });
        }
        if now > there + count {
            // From a command that was thought lost: the digest will tell.
            return Ok(());
        }
        if losses > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        there = now;
        tell(there);
    }
    Ok(())
}

async fn length(name: &str, run: &Run<'_>) -> Result<u64, Undelivered> {
    let told = ask_text(run, &["length", name]).await?;
    let number = told
        .trim()
        .strip_prefix("length ")
        .and_then(|number| number.trim().parse().ok());
    // A file that was there and cannot be counted: its pod is not what it was.
    number.ok_or_else(|| Undelivered::CutOff {
        deed: "length".to_owned(),
        complaint: told.trim().to_owned(),
    })
}

/// The digest as the image's own tool tells it.
async fn digest(name: &str, run: &Run<'_>) -> Result<Option<String>, Undelivered> {
    let told = ask_text(run, &["digest", name]).await?;
    let digest = told.split_whitespace().next().unwrap_or_default();
    Ok((digest.len() == 64).then(|| digest.to_owned()))
}

/// The digest of what is there, read back piece by piece; none where it has another length.
async fn read_back(
    executable: &Opened,
    name: &str,
    size: u64,
    run: &Run<'_>,
) -> Result<Option<String>, Undelivered> {
    if length(name, run).await? != executable.length {
        return Ok(None);
    }
    let mut digest = Sha256::new();
    let mut first = 0;
    while first < executable.length {
        let count = size.min(executable.length - first);
        digest.update(read(name, first, count, run).await?);
        first += count;
    }
    Ok(Some(hexadecimal(&digest.finalize())))
}

/// So many bytes of what is there, from here on.
async fn read(name: &str, first: u64, count: u64, run: &Run<'_>) -> Result<Vec<u8>, Undelivered> {
    // For the script, the first byte is number 1.
    let (from, many) = ((first + 1).to_string(), count.to_string());
    let words = ["read", name, &from, &many];
    let length = usize::try_from(count).unwrap_or(usize::MAX);
    for _ in 0..LOSSES {
        let mut answer = ask(run, &words, length.saturating_add(ANSWER)).await?;
        // With the line end that divides it from the mark. A stream can also lose what is in its middle.
        if answer.len() == length + 1 {
            answer.truncate(length);
            return Ok(answer);
        }
    }
    Err(Undelivered::CutOff {
        deed: words[0].to_owned(),
        complaint: String::new(),
    })
}

/// Lets the pod become the executable. What was started first is what counts.
async fn start(executable: &Opened, name: &str, run: &Run<'_>) -> Result<(), Undelivered> {
    let told = ask_text(run, &["start", name]).await?;
    match told.trim().strip_prefix("started ") {
        Some(name) if executable.is_named(name) => Ok(()),
        Some(_) => Err(Undelivered::Other),
        None => Err(Undelivered::CutOff {
            deed: "start".to_owned(),
            complaint: told.trim().to_owned(),
        }),
    }
}
