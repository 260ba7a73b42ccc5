//! The client's end of a control connection, over any stream: a TCP connection, or a port-forward.
use super::activity::Activity;
use super::archive::{Access, Archive, Lender, Objects};
use super::fault::Fault;
use super::frame::{self, FrameError, GREETING, Sort};
use super::keys::ClientKeys;
use super::protocol::{Command, Reply, Request};
use super::recollection::Reading;
use super::report::{
    Excuse, Finding, Inspection, MoverInfo, Progress, Reach, RoundKind, RoundSummary, Verification,
};
use super::side::Side;
use super::tls;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A mover that works tells of it four times a second: one that says nothing for so long is not there any more.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Why a mover cannot be controlled, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The keys are not usable.
    #[error("TLS refuses the keys of this run")]
    Keys(#[source] rustls::Error),
    /// The connection broke, or one end does not accept the other's certificate.
    #[error("the connection to the {side} mover broke; give the command again to go on")]
    Connection {
        /// The mover.
        side: Side,
        /// What was seen.
        source: io::Error,
    },
    /// The two do not understand each other.
    #[error("the {side} mover and this client do not understand each other")]
    Protocol {
        /// The mover.
        side: Side,
        /// Why.
        source: FrameError,
    },
    /// The mover says nothing any more.
    #[error("the {side} mover said nothing for {} s; look at its pod, then give the command again", SILENCE.as_secs())]
    Silent {
        /// The mover.
        side: Side,
    },
    /// The mover answered something else than was asked for.
    #[error("the {side} mover answered what was not asked for; use the same version on both ends")]
    Unexpected {
        /// The mover.
        side: Side,
    },
    /// The mover could not do it.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A control connection to one mover. Dropping it stops what the mover does for it, at a safe point.
pub struct Control<S> {
    stream: TlsStream<S>,
    side: Side,
    fence: u64,
    info: MoverInfo,
    /// Whether an answer was lost: what comes now may be the end of it.
    lost: bool,
    /// Who has other credentials for a bucket than those that were given.
    lender: Option<Lender>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Control<S> {
    /// Connects to the mover of this side and takes it over from any older connection. `fence` is the fencing number of
    /// the caller's Lease.
    pub async fn connect(
        stream: S,
        keys: &ClientKeys,
        side: Side,
        fence: u64,
    ) -> Result<Self, ControlError> {
        let config = tls::client_to_mover(keys, side).map_err(ControlError::Keys)?;
        let connecting = TlsConnector::from(config).connect(tls::any_name(), stream);
        let stream = timeout(SILENCE, connecting)
            .await
            .map_err(|_| ControlError::Silent { side })?;
        let mut stream = stream.map_err(|source| ControlError::Connection { side, source })?;
        greet(&mut stream, side).await?;
        let info = MoverInfo {
            version: String::new(),
            side,
            run: String::new(),
            uid: 0,
            gid: 0,
            capabilities: Vec::new(),
            shape: super::report::Shape::Directory,
            room: super::report::Room::default(),
        };
        let mut this = Self {
            stream,
            side,
            fence,
            info,
            lost: false,
            lender: None,
        };
        match this.ask(Command::Attach, &mut |_| {}).await? {
            Reply::Attached(info) => this.info = info,
            _ => return Err(this.unexpected()),
        }
        Ok(this)
    }

    /// What the mover said of itself when it was connected to.
    #[must_use]
    pub fn info(&self) -> &MoverInfo {
        &self.info
    }

    /// Uses a newer fencing number from now on: a Lease that was renewed by another holder and won back has one.
    pub fn set_fence(&mut self, fence: u64) {
        self.fence = fence;
    }

    /// Lets this mover ask here for other credentials, when a bucket no longer takes those that it was given. Without, it
    /// ends with that.
    pub fn lend(&mut self, lender: Lender) {
        self.lender = Some(lender);
    }

    /// Lets this mover dial the other at `host:port`, with so many connections for contents
    /// ([`super::mover::DEFAULT_CONNECTIONS`]). Older connections between the two are dropped.
    pub async fn reach(
        &mut self,
        address: &str,
        connections: usize,
    ) -> Result<Reach, ControlError> {
        let command = Command::Reach {
            address: address.to_owned(),
            connections,
        };
        match self.ask(command, &mut |_| {}).await? {
            Reply::Reach(reach) => Ok(reach),
            _ => Err(self.unexpected()),
        }
    }

    /// Lets the target's mover take connections to the other that the client makes, of the group that this says. Older
    /// connections between the two are dropped when the first of them comes.
    pub(crate) async fn expect(&mut self) -> Result<u64, ControlError> {
        match self.ask(Command::Expect, &mut |_| {}).await? {
            Reply::Expected { group } => Ok(group),
            _ => Err(self.unexpected()),
        }
    }

    /// Waits until so many connections of this group are ready.
    pub(crate) async fn joined(
        &mut self,
        group: u64,
        connections: usize,
    ) -> Result<Reach, ControlError> {
        let command = Command::Joined { group, connections };
        match self.ask(command, &mut |_| {}).await? {
            Reply::Reach(reach) => Ok(reach),
            _ => Err(self.unexpected()),
        }
    }

    /// What the mover's volume holds, and whose it is.
    pub async fn inspect(&mut self, run: &str) -> Result<Inspection, ControlError> {
        match self
            .ask(
                Command::Inspect {
                    run: run.to_owned(),
                },
                &mut |_| {},
            )
            .await?
        {
            Reply::Inspected(inspection) => Ok(inspection),
            _ => Err(self.unexpected()),
        }
    }

    /// Copies, to the target's mover. For devices `began` says that a round of this run wrote there before; directories
    /// carry a mark of their own.
    pub async fn round(
        &mut self,
        run: &str,
        kind: RoundKind,
        began: bool,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<RoundSummary, ControlError> {
        match self
            .ask(
                Command::Round {
                    run: run.to_owned(),
                    kind,
                    began,
                },
                on_progress,
            )
            .await?
        {
            Reply::Round(summary) => Ok(summary),
            _ => Err(self.unexpected()),
        }
    }

    /// Compares everything on both sides, from the target's mover. `excused` are the sorts of the rounds' findings: such
    /// differences come back as findings. `reading` says whether what either mover has read before is read again.
    pub async fn verify(
        &mut self,
        run: &str,
        excused: &[Excuse],
        reading: Reading,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verification, ControlError> {
        let command = Command::Verify {
            run: run.to_owned(),
            excused: excused.to_vec(),
            reading,
        };
        match self.ask(command, on_progress).await? {
            Reply::Verified(verification) => Ok(verification),
            _ => Err(self.unexpected()),
        }
    }

    /// Removes the working directory from the target. After it no further round of this run is accepted.
    pub async fn finish(&mut self, run: &str) -> Result<(), ControlError> {
        match self
            .ask(
                Command::Finish {
                    run: run.to_owned(),
                },
                &mut |_| {},
            )
            .await?
        {
            Reply::Finished => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    /// Deletes everything that this run wrote to the target; says how many entries. Of a device the first and the last
    /// MiB are zeroed, so that nothing is found on it.
    pub async fn wipe(
        &mut self,
        run: &str,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<u64, ControlError> {
        match self
            .ask(
                Command::Wipe {
                    run: run.to_owned(),
                },
                on_progress,
            )
            .await?
        {
            Reply::Wiped { deleted } => Ok(deleted),
            _ => Err(self.unexpected()),
        }
    }

    /// Limits how many bytes of contents this mover sends a second, from now on and for what is under way; none lifts
    /// it. It holds until it is said anew, also for the next client.
    pub async fn limit(&mut self, bytes_per_second: Option<u64>) -> Result<(), ControlError> {
        match self
            .ask(Command::Limit { bytes_per_second }, &mut |_| {})
            .await?
        {
            Reply::Limited => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    /// Makes an archive of this mover's volume in a bucket, and its index. What an earlier try with the same mark has
    /// sent is not sent again. `frozen` says that nobody should write meanwhile: then a file that changes is an error.
    pub async fn archive(
        &mut self,
        run: &str,
        access: &Access,
        objects: &Objects,
        mark: &str,
        frozen: bool,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Archive, ControlError> {
        let command = Command::Archive {
            run: run.to_owned(),
            access: access.clone(),
            objects: objects.clone(),
            mark: mark.to_owned(),
            frozen,
        };
        match self.ask(command, on_progress).await? {
            Reply::Archived(archive) => Ok(archive),
            _ => Err(self.unexpected()),
        }
    }

    /// Reads an archive out of the bucket, and compares every file with its index and both with what was made.
    pub async fn read_back(
        &mut self,
        run: &str,
        access: &Access,
        objects: &Objects,
        archive: &Archive,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), ControlError> {
        let command = Command::ReadBack {
            run: run.to_owned(),
            access: access.clone(),
            objects: objects.clone(),
            archive: archive.clone(),
        };
        match self.ask(command, on_progress).await? {
            Reply::ReadBack => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    /// Fills the target's volume from an archive; what it cannot keep.
    pub async fn extract(
        &mut self,
        run: &str,
        access: &Access,
        objects: &Objects,
        archive: &Archive,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Vec<Finding>, ControlError> {
        let command = Command::Extract {
            run: run.to_owned(),
            access: access.clone(),
            objects: objects.clone(),
            archive: archive.clone(),
        };
        match self.ask(command, on_progress).await? {
            Reply::Extracted { findings } => Ok(findings),
            _ => Err(self.unexpected()),
        }
    }

    /// Reads the target's volume back, and compares it with an archive's index, but for what it could not keep.
    pub async fn compare(
        &mut self,
        run: &str,
        access: &Access,
        objects: &Objects,
        archive: &Archive,
        excused: &[Excuse],
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verification, ControlError> {
        let command = Command::Compare {
            run: run.to_owned(),
            access: access.clone(),
            objects: objects.clone(),
            archive: archive.clone(),
            excused: excused.to_vec(),
        };
        match self.ask(command, on_progress).await? {
            Reply::Verified(verification) => Ok(verification),
            _ => Err(self.unexpected()),
        }
    }

    /// Whether this mover can read an object of so many bytes in a bucket; why not.
    pub async fn probe(
        &mut self,
        run: &str,
        access: &Access,
        key: &str,
        size: u64,
    ) -> Result<Reach, ControlError> {
        let command = Command::Probe {
            run: run.to_owned(),
            access: access.clone(),
            key: key.to_owned(),
            size,
        };
        match self.ask(command, &mut |_| {}).await? {
            Reply::Reach(reach) => Ok(reach),
            _ => Err(self.unexpected()),
        }
    }

    /// Reads all of this mover's volume from its disk, and puts what it is into a bucket, for the other to compare
    /// itself with.
    pub async fn index(
        &mut self,
        run: &str,
        access: &Access,
        objects: &Objects,
        mark: &str,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Archive, ControlError> {
        let command = Command::Index {
            run: run.to_owned(),
            access: access.clone(),
            objects: objects.clone(),
            mark: mark.to_owned(),
        };
        match self.ask(command, on_progress).await? {
            Reply::Archived(archive) => Ok(archive),
            _ => Err(self.unexpected()),
        }
    }

    /// What the mover's workers have been at since it began.
    pub async fn activity(&mut self) -> Result<Activity, ControlError> {
        match self.ask(Command::Activity, &mut |_| {}).await? {
            Reply::Activity(activity) => Ok(activity),
            _ => Err(self.unexpected()),
        }
    }

    /// Ends the mover.
    pub async fn stop(mut self) -> Result<(), ControlError> {
        match self.ask(Command::Stop, &mut |_| {}).await? {
            Reply::Stopping => Ok(()),
            _ => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> ControlError {
        ControlError::Unexpected { side: self.side }
    }

    /// A connection on which an answer was lost gives none any more.
    async fn ask(
        &mut self,
        command: Command,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Reply, ControlError> {
        let side = self.side;
        if self.lost {
            return Err(ControlError::Silent { side });
        }
        let answer = self.exchange(command, on_progress).await;
        self.lost = matches!(
            answer,
            Err(ControlError::Silent { .. } | ControlError::Connection { .. })
        );
        answer
    }

    async fn exchange(
        &mut self,
        command: Command,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Reply, ControlError> {
        self.send(command).await?;
        loop {
            match self.receive().await? {
                Reply::Alive => {}
                Reply::Progress(progress) => on_progress(progress),
                Reply::AccessWanted => {
                    let access = match &self.lender {
                        Some(lender) => lender.access().await,
                        None => None,
                    };
                    self.send(Command::Access { access }).await?;
                }
                Reply::Refused(fault) => return Err(fault.into()),
                reply => return Ok(reply),
            }
        }
    }

    async fn send(&mut self, command: Command) -> Result<(), ControlError> {
        let side = self.side;
        let mut out = Vec::new();
        let request = Request {
            fence: self.fence,
            command,
        };
        frame::put(&mut out, &request).map_err(|source| ControlError::Protocol { side, source })?;
        within(side, async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        })
        .await
    }

    async fn receive(&mut self) -> Result<Reply, ControlError> {
        let side = self.side;
        let protocol = |source| ControlError::Protocol { side, source };
        let mut header = [0; 4];
        within(side, self.stream.read_exact(&mut header)).await?;
        let Sort::Message(length) = frame::sort(header).map_err(protocol)? else {
            return Err(protocol(FrameError::Sort));
        };
        let mut body = vec![0; length];
        within(side, self.stream.read_exact(&mut body)).await?;
        match postcard::take_from_bytes(&body) {
            Ok((reply, [])) => Ok(reply),
            Ok(_) => Err(protocol(FrameError::Message(
                postcard::Error::DeserializeBadEncoding,
            ))),
            Err(error) => Err(protocol(FrameError::Message(error))),
        }
    }
}

async fn within<T>(side: Side, io: impl Future<Output = io::Result<T>>) -> Result<T, ControlError> {
    let result = timeout(SILENCE, io)
        .await
        .map_err(|_| ControlError::Silent { side })?;
    result.map_err(|source| ControlError::Connection { side, source })
}

async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    side: Side,
) -> Result<(), ControlError> {
    let protocol = |source| ControlError::Protocol { side, source };
    within(side, async {
        stream.write_all(&frame::greeting()).await?;
        stream.flush().await
    })
    .await?;
    let mut fixed = [0; GREETING];
    within(side, stream.read_exact(&mut fixed)).await?;
    let (version, length) = frame::read_greeting(&fixed).map_err(protocol)?;
    let mut text = vec![0; length];
    within(side, stream.read_exact(&mut text)).await?;
    frame::check_greeting(version, &text).map_err(protocol)?;
    Ok(())
}
